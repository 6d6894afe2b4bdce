"""No figure of fewer than five people, said or worked out. Pure.

Every table is a partition of the same visits. Groups that are too small are put together, so that
each that is shown has at least five and nothing is left to be worked out from a total; one small
group takes the next smallest with it. A part of a group that is too small (or whose rest is) is
withheld together with parts of other groups, so that the sum over all, which another table says,
does not give it away. Time is cut in one way only, into whole months.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LEAST: Final = 5
"""The fewest people of whom a figure is said."""
_FEWEST_HIDDEN: Final = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Of ``count`` visits of a group ``good`` were so and the rest was not."""

    count: int
    good: int

    @property
    def is_safe(self) -> bool:
        return all(number == 0 or number >= LEAST for number in (self.good, self.count - self.good))


def find_small(counts: Mapping[str, int]) -> frozenset[str] | None:
    """Which groups are shown as one; ``None`` when not even all together may be shown."""
    sizes = {key: count for key, count in counts.items() if count}
    if sum(sizes.values()) < LEAST:
        return None
    small = {key for key, count in sizes.items() if count < LEAST}
    others = sorted(sizes.keys() - small, key=lambda key: (sizes[key], key))
    while small and (len(small) < _FEWEST_HIDDEN or sum(sizes[key] for key in small) < LEAST):
        if not others:
            break
        small.add(others.pop(0))
    return frozenset(small)


def find_withheld(parts: Sequence[Part], unsaid: Collection[int] = ()) -> frozenset[int]:
    """Of which groups the part is withheld, by their places; ``unsaid`` are in any case."""
    hidden = {place for place, part in enumerate(parts) if not part.is_safe or place in unsaid}
    shown = [place for place in range(len(parts)) if place not in hidden]
    shown.sort(key=lambda place: (min(parts[place].good, _rest(parts[place])), place))
    while hidden and shown and not _is_covered([parts[place] for place in hidden]):
        hidden.add(shown.pop(0))
    return frozenset(hidden)


def _rest(part: Part) -> int:
    return part.count - part.good


def _is_covered(parts: Sequence[Part]) -> bool:
    """Whether somebody who knows the sums of withheld parts cannot say of one that it is below
    five, even if each of the others is one."""
    enough = LEAST + len(parts) - 1
    sums = (sum(part.good for part in parts), sum(_rest(part) for part in parts))
    return len(parts) >= _FEWEST_HIDDEN and all(number >= enough for number in sums)
