"""CSV: the mapping of rows, and files of outcomes."""
