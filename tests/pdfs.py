"""Reading our PDFs in tests: their texts, and the rules of PDF/A-3b that can be checked here.

Not a validator of ISO 19005-3: typst checks more while it writes, and veraPDF all of it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from lxml import etree
from pyhanko.pdf_utils.reader import PdfFileReader

_PDFA = "{http://www.aiim.org/pdfa/ns/id/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_TOKEN = re.compile(rb"/(?P<font>f\d+)\s[\d.]+\sTf|(?P<string>\()|(?P<verb>\b(?:TJ|Tj|ET|BDC)\b)")
_INSIDE = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_ONE = re.compile(r"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*$", re.MULTILINE)
_ACTIVE = {"/JavaScript", "/JS", "/Launch", "/XFA", "/Movie", "/Sound", "/RichMedia", "/OpenAction"}


def open_pdf(pdf: bytes) -> PdfFileReader:
    return PdfFileReader(io.BytesIO(pdf))


def pages_of(pdf: bytes) -> list[Any]:
    return [open_pdf(pdf).root["/Pages"]["/Kids"][number] for number in range(count_pages(pdf))]


def count_pages(pdf: bytes) -> int:
    return int(open_pdf(pdf).root["/Pages"]["/Count"])


def text_of(pdf: bytes) -> str:
    """What the pages show, a line for each run of text."""
    lines: list[str] = []
    for page in pages_of(pdf):
        lines += ["".join(run) for run in _runs(page)]
    return "\n".join(lines)


def metadata_of(pdf: bytes) -> etree._Element:
    found = etree.fromstring(open_pdf(pdf).root["/Metadata"].data).find(f".//{_RDF}Description")
    assert found is not None
    return found


def title_of(pdf: bytes) -> str:
    return metadata_of(pdf).findtext(f"{_DC}title/{_RDF}Alt/{_RDF}li") or ""


def attachment_of(pdf: bytes) -> tuple[str, bytes]:
    """The one embedded file: its name and bytes."""
    [name, file] = open_pdf(pdf).root["/Names"]["/EmbeddedFiles"]["/Names"]
    return str(name), file.get_object()["/EF"]["/F"].data


def pdfa_faults(pdf: bytes) -> list[str]:
    """What breaks a rule of PDF/A-3b."""
    reader, faults = open_pdf(pdf), []
    root = reader.root
    metadata = metadata_of(pdf)
    if [metadata.findtext(f"{_PDFA}{name}") for name in ("part", "conformance")] != ["3", "B"]:
        faults.append("XMP does not say PDF/A-3b")
    if reader.encrypted or "/ID" not in reader.trailer_view:
        faults.append("encrypted, or without /ID")
    intents = root["/OutputIntents"]
    if not all(
        intent.get_object()["/DestOutputProfile"].data[36:40] == b"acsp" for intent in intents
    ):
        faults.append("no ICC profile as output intent")
    faults += [f"active content: {name}" for name in sorted(_ACTIVE & set(_names(root)))]
    faults += list(_file_faults(root))
    for page in pages_of(pdf):
        faults += list(_font_faults(page))
        faults += list(_annotation_faults(page))
    if "/AcroForm" in root and root["/AcroForm"].get("/NeedAppearances", False):
        faults.append("a form that needs appearances")
    return faults


def _names(root: Any) -> Iterator[str]:
    """Every key and every name of the objects that the catalogue leads to."""
    left, seen = [root], set[tuple[int, int]]()
    while left:
        one = left.pop()
        reference = getattr(one, "reference", None)
        if reference is not None:
            if (reference.idnum, reference.generation) in seen:
                continue
            seen.add((reference.idnum, reference.generation))
            one = one.get_object()
        if isinstance(one, dict):
            yield from map(str, one)
            left += [one.raw_get(name) for name in one]
        elif isinstance(one, list):
            left += [one.raw_get(index) for index in range(len(one))]
        elif isinstance(one, str):
            yield one


def _file_faults(root: Any) -> Iterator[str]:
    names = root["/Names"]["/EmbeddedFiles"]["/Names"]
    associated = {
        file.reference for file in (root["/AF"].raw_get(i) for i in range(len(root["/AF"])))
    }
    for number in range(1, len(names), 2):
        file = names[number]
        if names.raw_get(number).reference not in associated:
            yield "a file that /AF does not name"
        if not file.get("/AFRelationship") or not file.get("/UF"):
            yield "a file without relationship or name"
        if not file["/EF"]["/F"].get("/Subtype"):
            yield "a file without a media type"


def _font_faults(page: Any) -> Iterator[str]:
    for font in _fonts(page).values():
        descriptor = font["/DescendantFonts"][0]["/FontDescriptor"]
        if not descriptor.keys() & {"/FontFile", "/FontFile2", "/FontFile3"}:
            yield f"{font['/BaseFont']} is not embedded"
        if "/ToUnicode" not in font:
            yield f"{font['/BaseFont']} has no map to Unicode"
    if any(glyph == 0 for run in _glyphs(page) for _font, glyph in run):
        yield "a .notdef is shown"


def _annotation_faults(page: Any) -> Iterator[str]:
    for annotation in page.get("/Annots", []):
        one = annotation.get_object()
        flags = int(one.get("/F", 0))
        if not flags & 4 or flags & 0b100011:
            yield "an annotation that is hidden or not printed"
        left, bottom, right, top = (float(side) for side in one["/Rect"])
        if (left, bottom) != (right, top) and "/AP" not in one:
            yield "an annotation without appearance"


def _runs(page: Any) -> Iterator[list[str]]:
    letters = {name: _letters(font) for name, font in _fonts(page).items()}
    for run in _glyphs(page):
        yield [letters[font].get(glyph, "\ufffd") for font, glyph in run]


def _fonts(page: Any) -> dict[str, Any]:
    fonts = page["/Resources"]["/Font"]
    return {str(name)[1:]: fonts[name] for name in fonts}


def _letters(font: Any) -> dict[int, str]:
    text = font["/ToUnicode"].data.decode("latin-1")
    return {
        int(glyph, 16): bytes.fromhex(letters).decode("utf-16-be")
        for glyph, letters in _ONE.findall(text)
    }


def _glyphs(page: Any) -> Iterator[list[tuple[str, int]]]:
    """The glyphs of each text object, with their fonts."""
    content: bytes = page["/Contents"].data
    font, run, codes, at = "", list[tuple[str, int]](), b"", 0
    while found := _TOKEN.search(content, at):
        at = found.end()
        if found["font"]:
            font = found["font"].decode()
        elif found["string"]:
            end = _end_of_string(content, at)
            codes += _ESCAPE.sub(_unescape, content[at : end - 1])
            at = end
        elif found["verb"] == b"BDC":
            codes = b""  # the words of a tag, which are not shown
        elif found["verb"] == b"ET":
            yield run
            run, codes = [], b""
        else:
            pairs = zip(codes[::2], codes[1::2], strict=True)
            run += [(font, high * 256 + low) for high, low in pairs]
            codes = b""


def _end_of_string(content: bytes, at: int) -> int:
    """Behind the bracket that closes it; balanced ones inside need no escape."""
    depth = 1
    for found in _INSIDE.finditer(content, at):
        depth += {b"(": 1, b")": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    raise ValueError("a string without its end")


def _unescape(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes([int(code, 8)]) if code.isdigit() else _NAMED.get(code, code)
