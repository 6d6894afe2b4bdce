"""The summary of a proof as a tagged PDF (PDF/UA-1). typst lets go of the interpreter while it
works: a thread is enough to keep it off the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import typst

from server.report.pdf import fonts

_LAYOUT: Final = Path(__file__).parent / "layout.typ"
_STANDARDS: Final[list[typst.PDFStandard]] = ["a-2b", "ua-1"]


def render_proof(content: Mapping[str, Any], now: datetime) -> bytes:
    """``content`` of :func:`server.sessionexport.proof.words.describe_proof`."""
    return typst.compile(
        _LAYOUT,
        root=_LAYOUT.parent,
        format="pdf",
        font_paths=fonts(),
        ignore_system_fonts=True,
        sys_inputs={"proof": msgspec.json.encode(content).decode()},
        pdf_standards=_STANDARDS,
        timestamp=int(now.timestamp()),
    )
