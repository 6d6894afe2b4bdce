"""Every statement of every audited act is broken once, in two ways, on both databases."""

from __future__ import annotations

import random

import pytest

from server.keyring import Keyring
from tests.chaos.record import Figure, Record
from tests.conftest import Cast, MakeVisit
from tests.faults import break_acts
from tests.test_faults import ACTS, still_site
from tests.visitors import Site

__all__ = ["still_site"]

_FIGURES = (
    Figure("wrong", "acts or pages without their entry", 0, is_worst_meant=True),
    Figure("acts", "audited acts", ACTS, is_worst_meant=True, is_least=True),
    Figure("faults", "statements broken"),
)


@pytest.mark.timeout(3_600)
async def test_no_broken_statement_of_any_act_parts_it_from_its_entry(
    still_site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
) -> None:
    record = Record(f"faults-{still_site.database.engine.dialect.name}", _FIGURES)
    for number in record.missing(1):
        found = await break_acts(
            still_site, cast, make_visit, keyring, random.Random(number), share=1
        )
        print(*found.wrong, sep="\n")
        record.add({"wrong": len(found.wrong), "acts": found.acts, "faults": found.faults})

    assert all(
        figure.is_met([one[figure.name] for one in record.load()]) for figure in _FIGURES[:2]
    )
