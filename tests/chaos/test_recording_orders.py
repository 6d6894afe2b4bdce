"""Ten thousand random orders of consent, joining and leaving: no frame is kept outside consent.

Needs no root. ``ACCANTO_CHAOS_ORDERS`` sets another number.
"""

from __future__ import annotations

import os

import pytest

from tests.recordingorders import drive

ORDERS = int(os.environ.get("ACCANTO_CHAOS_ORDERS", "10000"))


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_frame_is_kept_outside_consent_in_any_order() -> None:
    kept = [drive(seed) for seed in range(ORDERS)]

    print(f"{ORDERS} orders, frames kept {sum(kept)}, orders with a frame {sum(map(bool, kept))}")
    assert sum(kept) > ORDERS
