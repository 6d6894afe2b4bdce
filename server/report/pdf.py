"""The report as PDF/A-3b (ISO 19005-3) with its CDA2 inside, tagged for screen readers (PDF/UA-1).

Pure: the same content gives the same bytes. Nothing touches the disk but the fonts and the layout.
typst gets data as JSON and refuses to write what breaks either standard. It lets go of the
interpreter while it works, so a thread is enough to keep it off the event loop.
"""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import typst
from PIL import Image, ImageOps

from server.report.content import Picture, ReportContent
from server.report.glyphs import FONT_FOLDERS
from server.report.pagewords import describe_pages

CDA_NAME: Final = "cda.xml"
"""Under this name the gateway of the national record looks for the CDA2."""
_LAYOUT: Final = Path(__file__).parent / "layout.typ"
_STANDARDS: Final[list[typst.PDFStandard]] = ["a-3b", "ua-1"]
_LONGEST_SIDE: Final = 2400
"""Pixels that a printed page shows of a picture (A4 at 300 dpi)."""
_TAKEN_AS_IS: Final = {"JPEG": {"RGB", "L"}, "PNG": {"RGB", "RGBA", "L"}}
_ORIENTATION: Final = 0x0112
_JPEG_QUALITY: Final = 90


def render_pdf(content: ReportContent, cda: bytes) -> bytes:
    """The unsigned report. ``cda`` is UTF-8.

    :raises CommandFailed: the fonts are not installed.
    """
    pages = describe_pages(content)
    return typst.compile(
        _LAYOUT,
        root=_LAYOUT.parent,
        format="pdf",
        font_paths=fonts(),
        ignore_system_fonts=True,
        sys_inputs={
            "report": msgspec.json.encode(pages).decode(),
            "cda": cda.decode(),
            "picture": _wrap_picture(content.picture),
        },
        pdf_standards=_STANDARDS,
        timestamp=int(content.document.created_at.timestamp()),
    )


@cache
def fonts() -> typst.Fonts:
    """Those of our documents; none of the system's."""
    return typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=list(FONT_FOLDERS),
    )


def _wrap_picture(picture: Picture) -> str:
    """The picture in an SVG, since typst's inputs are texts; only base64 goes into it."""
    with Image.open(io.BytesIO(picture.content)) as image:
        width, height = image.size
        media_type, content = picture.media_type, picture.content
        is_fit = image.mode in _TAKEN_AS_IS.get(image.format or "", ())
        is_upright = image.getexif().get(_ORIENTATION, 1) == 1
        if is_fit and is_upright and max(width, height) <= _LONGEST_SIDE:
            media_type = Image.MIME[image.format or ""]
        else:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            width, height = upright.size
            written = io.BytesIO()
            upright.save(written, "JPEG", quality=_JPEG_QUALITY)
            media_type, content = "image/jpeg", written.getvalue()
    data = base64.b64encode(content).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<image width="{width}" height="{height}" href="data:{media_type};base64,{data}"/></svg>'
    )
