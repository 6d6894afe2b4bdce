"""What helps to write a note: templates that organisations share, phrases, lists of codes."""
