"""Visits as a table, one each: a CSV for people and their spreadsheets, NDJSON for programs."""

from server.sessionexport.table.columns import COLUMNS, Row, columns_of
from server.sessionexport.table.lines import csv_lines, ndjson_lines
from server.sessionexport.table.rows import load_rows

__all__ = ["COLUMNS", "Row", "columns_of", "csv_lines", "load_rows", "ndjson_lines"]
