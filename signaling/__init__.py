"""Real time: rooms and messages. Knows no database, no page, no patient record."""
