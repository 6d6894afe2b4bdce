"""Hundreds of reports with texts from anywhere: each a document that the nation takes.

Needs no root. ``ACCANTO_CHAOS_DOCUMENTS`` sets another number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from server.report.cda import render_cda
from server.report.fhir import render_document
from tests.reports import Validator, open_validator
from tests.test_report_cda import strange

DOCUMENTS = int(os.environ.get("ACCANTO_CHAOS_DOCUMENTS", "600"))
TEXTS = st.text(max_size=2000)


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    yield from open_validator()


@pytest.mark.long
@pytest.mark.timeout(0)
@seed(5)
@settings(
    max_examples=DOCUMENTS,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(text=TEXTS, name=st.text(max_size=200), code=st.text(max_size=40))
def test_no_text_breaks_a_document(validator: Validator, text: str, name: str, code: str) -> None:
    content = strange(text, name, code)

    assert validator.errors(render_cda(content)) == []
    Bundle.model_validate_json(render_document(content))
