"""Figures for a region: a page of one month and a CSV of the last year. Nobody's data.

What is counted, and what is never said, is :mod:`server.figures`.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves
from server.auth import LOG_READERS, Route
from server.regional.views import send_csv, show_figures

_READ: Final = leaves(Act.FIGURES_READ)
ROUTES: Final = (
    Route("GET", "/figures", show_figures, LOG_READERS, _READ),
    Route("GET", "/figures.csv", send_csv, LOG_READERS, _READ),
)
