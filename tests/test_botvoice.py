"""What a synthetic patient says arrives at the clinician as it was spoken: by espeak-ng where it
is installed, as a hum elsewhere."""

from __future__ import annotations

import asyncio
import math
import shutil
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import av

from recordings.bothost import BotHost
from recordings.botvoice import PACKET_SAMPLES, RATE, speak
from recordings.script import StepAct
from server.db import Database
from server.keyring import Keyring
from server.models import Visit
from tests.botclinician import Clinician
from tests.test_bot import (
    clinician,
    host,
    loopback,
    orders_of,
    site,
    template,
    visit,
    when_admitted,
)
from tests.visitors import Site

__all__ = ["clinician", "host", "loopback", "site", "template", "visit"]

WORDS: Final = "Buongiorno dottore, oggi le caviglie sono un po' gonfie."
OTHERS: Final = "Sono Norma Ventura, nata il ventitré aprile del cinquantuno."
PAUSE_PACKETS: Final = 100
ALIKE, UNLIKE = 0.7, 0.6
"""The same sound has 1.0 before it travels; other words have 0.42, a hum beside words 0.36."""


async def test_she_is_heard_with_the_voice_of_this_machine(
    site: Site, database: Database, keyring: Keyring, visit: Visit, host: BotHost,
    clinician: Clinician,
) -> None:  # fmt: skip
    spoken, others = [await asyncio.to_thread(speak, words) for words in (WORDS, OTHERS)]
    say = when_admitted(StepAct.SAY, 1, text=WORDS)
    await host.start("anna", await orders_of(site, database, keyring, visit, say))
    await clinician.wait(lambda page: page.told)
    clinician.admit()
    enough = len(spoken.packets) + 3 * PAUSE_PACKETS
    await clinician.wait(lambda page: page.sees("audio") > enough)

    heard = loudness(clinician.frames["audio"])
    assert spoken.has_words == bool(shutil.which("espeak-ng"))
    assert likeness(loudness(decode(spoken.packets)), heard) > ALIKE
    assert likeness(loudness(decode(others.packets)), heard) < UNLIKE
    assert (WORDS in clinician.heard) == (not spoken.has_words), "who cannot speak writes"


def decode(packets: Iterable[bytes]) -> list[av.AudioFrame]:
    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate = RATE
    return [frame for packet in packets for frame in codec.decode(av.Packet(packet))]


def loudness(frames: Iterable[av.AudioFrame]) -> list[float]:
    """Of each 20 ms."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    samples = array("h")
    for frame in frames:
        for part in resampler.resample(frame):
            samples.frombytes(bytes(part.planes[0])[: 2 * part.samples])
    cuts = pairwise(range(0, len(samples) + 1, PACKET_SAMPLES))
    return [math.hypot(*samples[start:end]) for start, end in cuts]


def likeness(wanted: Sequence[float], heard: Sequence[float]) -> float:
    """The best correlation over all moments at which it may have begun; 1 is the same."""
    places = range(len(heard) - len(wanted) + 1)
    return max(_correlate(wanted, heard[at : at + len(wanted)]) for at in places)


def _correlate(one: Sequence[float], other: Sequence[float]) -> float:
    first, second = _centred(one), _centred(other)
    size = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / size if size else 0.0


def _centred(values: Sequence[float]) -> list[float]:
    mean = sum(values) / len(values)
    return [value - mean for value in values]
