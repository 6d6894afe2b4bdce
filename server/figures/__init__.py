"""Figures of one organisation and month, for a region and for whoever runs the service.

``tables``: what is counted, ``guard``: what is not said, ``load``: from where. The pages are
``server.regional``; Prometheus reads them in ``server.metrics``.
"""

from server.figures.guard import LEAST
from server.figures.kept import FIGURES, KeptFigures
from server.figures.load import load_released, load_tables
from server.figures.month import Month, last_settled, month_of, parse_month
from server.figures.tables import (
    LONG_WAIT_MINUTES,
    LONGEST_DAYS,
    NONE,
    OTHER,
    RATINGS,
    Row,
    Table,
    TableName,
)

__all__ = [
    "FIGURES",
    "LEAST",
    "LONGEST_DAYS",
    "LONG_WAIT_MINUTES",
    "NONE",
    "OTHER",
    "RATINGS",
    "KeptFigures",
    "Month",
    "Row",
    "Table",
    "TableName",
    "last_settled",
    "load_released",
    "load_tables",
    "month_of",
    "parse_month",
]
