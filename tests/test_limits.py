"""The token bucket: never more than burst plus rate, never less than it owes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from signaling.limits import BURST_MESSAGES, MESSAGES_PER_SECOND, TokenBucket


def test_a_burst_passes_and_the_next_message_does_not() -> None:
    bucket = TokenBucket(100.0)

    taken = [bucket.take(100.0) for _ in range(61)]

    assert taken == [True] * 60 + [False]


def test_the_bucket_refills_at_its_rate_and_no_further_than_the_burst() -> None:
    bucket = TokenBucket(0.0)
    while bucket.take(0.0):
        pass

    assert [bucket.take(0.5) for _ in range(11)] == [True] * 10 + [False]
    assert sum(bucket.take(3600.0) for _ in range(100)) == 60


@settings(deadline=None)
@given(st.lists(st.floats(0, 2), max_size=300))
def test_no_rhythm_gets_more_than_burst_plus_rate(pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(0.0), 0.0, 0

    for pause in pauses:
        now += pause
        taken += bucket.take(now)

    assert taken <= BURST_MESSAGES + now * MESSAGES_PER_SECOND + 1e-6
