"""The report as PDF/A-3b: what it says, that it says it alike, and what cannot break it.

veraPDF is not in these tests: typst refuses to write what breaks PDF/A-3b or PDF/UA-1, and
``pdfs.pdfa_faults`` reads the result again with another library.
"""

from __future__ import annotations

import asyncio
import io
import resource
import time
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from server.models import ReportKind
from server.report.content import Picture
from server.report.glyphs import readable
from server.report.pdf import CDA_NAME, render_pdf
from server.sealed import NATIONAL_SECTIONS, Section
from tests.pdfs import (
    attachment_of,
    count_pages,
    open_pdf,
    pages_of,
    pdfa_faults,
    text_of,
    title_of,
)
from tests.reports import BASIC, FULL, changed

CDA = "<ClinicalDocument>Σ &lt; 😀</ClinicalDocument>\n".encode()


def joined(text: str) -> str:
    """Without the spaces that a line end or a change of font takes."""
    return "".join(text.split())


def render(**parts: object) -> bytes:
    return render_pdf(changed(**parts), CDA)


def findings(text: str) -> bytes:
    return render(sections={Section.FINDINGS: text})


@pytest.mark.parametrize("content", [BASIC, FULL], ids=["mandatory", "full"])
def test_keeps_the_rules_of_pdfa_3b(content: object) -> None:
    assert pdfa_faults(render_pdf(content, CDA)) == []  # type: ignore[arg-type]


def test_carries_the_cda_as_an_associated_file() -> None:
    pdf = render()

    assert attachment_of(pdf) == (CDA_NAME, CDA)
    file = open_pdf(pdf).root["/AF"][0].get_object()
    assert file["/AFRelationship"] == "/Alternative"
    assert file["/EF"]["/F"]["/Subtype"] == "/text/xml"


def test_says_what_the_law_asks_for() -> None:
    text = joined(text_of(render_pdf(FULL, CDA)))

    for words in (
        "Referto di Televisita", "AOU Careggi", "Presidio Careggi", "Ambulatorio di cardiologia",
        "Bertolucci Rosa", "BRTRSO48C52D612U", "12/03/1948", "PRE-2026-000123", "090A04000000248",
        "dott. Luca Conti", "D (differibile)", "dott.ssa Anna Bianchi", "BNCNNA75T50D612K",
        "televisita (visita a distanza", "20 novembre 2026, ore 10:03",
        "20 novembre 2026, ore 10:24", "Non presenti: caregiver",
        "il collegamento è stato idoneo alla prestazione", "89.01.3 VISITA CARDIOLOGICA",
        "428.0 Insufficienza cardiaca", "Pagina 1 di", "firmato digitalmente",
    ):  # fmt: skip
        assert joined(words) in text, words


def test_has_every_filled_section_in_national_order() -> None:
    text = joined(text_of(render_pdf(FULL, CDA)))
    places = [text.index(f"Testodi{section}.") for section in NATIONAL_SECTIONS]

    assert all(first < second for first, second in pairwise(places))
    assert "Anamnesi" not in text_of(render())


def test_a_later_version_names_the_one_it_replaces() -> None:
    text = joined(
        text_of(render(document={"version": 2, "replaces_id": "f" * 32, "replaces_version": 1}))
    )

    assert joined(f"Versione 2. Sostituisce la versione 1 (documento {'f' * 32})") in text


def test_addendum_annotation_and_obscuring_are_said() -> None:
    addendum = render(document={"kind": ReportKind.ADDENDUM, "replaces_id": "f" * 32})
    annotation = render(document={"is_annotation": True, "is_obscured": True})

    assert joined(f"Integra il documento {'f' * 32}.") in joined(text_of(addendum))
    assert title_of(annotation) == "Annotazione digitale di Televisita"
    assert joined("questo documento è oscurato") in joined(text_of(annotation))


def test_is_italian_titled_and_tagged() -> None:
    root = open_pdf(render()).root

    assert root["/Lang"] == "it-IT"
    assert root["/MarkInfo"]["/Marked"]
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert title_of(render()) == "Referto di Televisita"
    assert tags_of(root["/StructTreeRoot"]) >= {"/H1", "/H2", "/P", "/Figure"}


def tags_of(node: object) -> set[str]:
    children = getattr(node, "get", lambda *_: None)("/K")
    found = {str(node["/S"])} if isinstance(node, dict) and "/S" in node else set[str]()
    listed = children if isinstance(children, list) else [children]
    for child in listed:
        child = child.get_object() if hasattr(child, "get_object") else child
        if isinstance(child, dict):
            found |= tags_of(child)
    return found


def test_same_content_gives_the_same_bytes() -> None:
    assert render_pdf(FULL, CDA) == render_pdf(FULL, CDA)
    assert render_pdf(FULL, CDA) != render_pdf(BASIC, CDA)


@pytest.mark.parametrize(
    "text",
    [
        '#eval("1+1") #read("/etc/passwd") #import "x.typ": *',
        "$x^2$ *grassetto* _corsivo_ `codice` = Titolo - voce + punto / termine: x",
        "@riferimento <etichetta> \\u{41} \\ // commento /* commento */ #[blocco] ~ --- ...",
        "<script>alert(1)</script> <b>b</b> &amp; ]]> \"virgolette\" 'apici'",
    ],
)
def test_never_takes_words_for_markup(text: str) -> None:
    pdf = render(
        sections={Section.FINDINGS: text},
        patient={"family_name": text},
        body={"name": text},
        document={"id": text},
    )

    assert joined(text_of(pdf)).count(joined(text)) >= 4
    assert pdfa_faults(pdf) == []


@pytest.mark.parametrize(
    "text",
    ["Σ αβγ", "Привет Ж", "àèéìòù ș ł ñ ß", "SpO₂ ≥ 97 % → ½ µg °C √ ∞", "😀🫀🇮🇹", "ﬁ Ǆ ″"],
)
def test_shows_letters_signs_and_emoji_as_they_are(text: str) -> None:
    pdf = findings(text)

    assert pdfa_faults(pdf) == []
    assert joined(text) in joined(text_of(pdf))


def test_shows_what_no_font_has_by_its_number() -> None:
    pdf = findings("漢 \U00020000 \ue000 \u202e rovescio")

    assert pdfa_faults(pdf) == []
    assert joined("[U+6F22] [U+20000] [U+E000] [U+202E] rovescio") in joined(text_of(pdf))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\U0001f469\U0001f3fd\u200d\u2695\ufe0f", "\U0001f469\U0001f3fd\u2695\ufe0f"),
        ("\U0001fac0\u0301", "\U0001fac0[U+0301]"),
        ("\u0416\u0301", "\u0416\u0301"),
        ("e\u0301", "é"),
        ("a\0b\x07c\tD", "abc    D"),
    ],
    ids=["joined emoji", "mark on an emoji", "mark on a letter", "composed", "controls"],
)
def test_no_letter_is_lost_to_its_neighbour(text: str, shown: str) -> None:
    assert readable(text) == shown


@settings(max_examples=40)
@given(st.text(min_size=1, max_size=200))
def test_any_text_makes_a_valid_document(text: str) -> None:
    assert pdfa_faults(findings(f"{text}.")) == []


def test_twenty_thousand_characters_go_over_many_pages() -> None:
    sentence = "Il paziente riferisce dispnea da sforzo & <edemi> Σ 😀. "
    text = sentence * (20_000 // len(sentence) + 1)
    pdf = findings(text)

    assert count_pages(pdf) >= 5
    assert joined(text_of(pdf)).count(joined(sentence)) >= 20_000 // len(sentence) * 0.9
    assert pdfa_faults(pdf) == []


def test_a_word_longer_than_a_line_is_broken() -> None:
    pdf = findings("W" * 2_000)

    assert joined(text_of(pdf)).replace("\u200b", "").count("W") >= 2_000
    assert all(line.count("W") <= 60 for line in text_of(pdf).splitlines())
    assert count_pages(pdf) >= 2


def picture(
    form: str, mode: str = "RGB", size: tuple[int, int] = (640, 480), turn: int = 1
) -> bytes:
    image, written = Image.new(mode, size), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(written, form, exif=exif)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        picture("PNG"), picture("PNG", "RGBA"), picture("PNG", "P"), picture("JPEG"),
        picture("JPEG", "CMYK"), picture("JPEG", turn=6), picture("WEBP"),
        picture("JPEG", size=(4000, 3000)),
    ],
    ids=["png", "alpha", "palette", "jpeg", "cmyk", "turned", "webp", "large"],
)  # fmt: skip
def test_takes_pictures_of_every_kind(content: bytes) -> None:
    still = Picture(media_type="image/jpeg", content=content, caption="Lesione", is_clinical=True)
    pdf = render_pdf(msgspec.structs.replace(BASIC, picture=still), CDA)

    assert pdfa_faults(pdf) == []
    images = [
        found for page in pages_of(pdf) for found in page["/Resources"].get("/XObject", {}).values()
    ]
    assert images
    assert joined("Immagine acquisita durante la visita") in joined(text_of(pdf))


async def test_rendering_in_a_thread_leaves_the_loop_free() -> None:
    long = changed(sections={Section.FINDINGS: "Parola Σ dopo parola. " * 10_000})
    longest, is_running = 0.0, True

    async def tick() -> None:
        nonlocal longest
        while is_running:
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - started)

    ticker = asyncio.create_task(tick())
    started = time.perf_counter()
    await asyncio.to_thread(render_pdf, long, CDA)
    took = time.perf_counter() - started
    is_running = False
    await ticker

    assert longest < took / 3


def test_memory_stays_bounded_over_many_documents() -> None:
    peaks = []
    for number in range(60):
        findings(f"Numero {number}. " * 400)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    assert peaks[-1] - peaks[20] < 40_000  # kB
