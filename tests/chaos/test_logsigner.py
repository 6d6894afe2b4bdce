"""The signer killed before every single line of its writing. Needs no root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_logsigner import check_kills, folder

__all__ = ["folder"]


@pytest.mark.long
@pytest.mark.timeout(0)
def test_signer_that_is_killed_anywhere_has_signed_one_history(folder: Path) -> None:
    check_kills(folder, every=1)
