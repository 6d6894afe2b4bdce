"""The voice of a synthetic patient as Opus packets of 20 ms.

Words are spoken by ``espeak-ng`` where it is installed; elsewhere a hum stands for them, one tone
for each syllable, and who sends it should write the words, too. Loads the media library.
"""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av

RATE: Final = 48_000
PACKET_SECONDS: Final = 0.02
PACKET_SAMPLES: Final = RATE // 50
_BITS_PER_SECOND: Final = 32_000
_WITHIN_SECONDS: Final = 10.0
_SYLLABLE_LETTERS: Final = 2.6
_SYLLABLE_SECONDS: Final = 0.19
_VOWEL_PART: Final = 0.8
_LOUDNESS: Final = 6000.0
_PITCHES: Final = (196.0, 220.0, 208.0, 233.0, 185.0)
_HARMONICS: Final = ((1, 0.6), (2, 0.3), (3, 0.1))
_MOST_SYLLABLES: Final = 60


@dataclass(frozen=True, slots=True)
class Speech:
    """``has_words``: it can be understood."""

    packets: tuple[bytes, ...]
    has_words: bool


def speak(text: str) -> Speech:
    """The words as sound. Takes some tenths of a second: not for an event loop."""
    spoken = _say_with_espeak(text)
    if spoken is not None:
        return Speech(tuple(_encode(spoken)), has_words=True)
    return Speech(tuple(_encode(_hum(text))), has_words=False)


def make_silence() -> bytes:
    """One packet in which nobody speaks."""
    return list(_encode(array("h", bytes(2 * 10 * PACKET_SAMPLES))))[-1]


def _say_with_espeak(text: str) -> array[int] | None:
    """Samples at :data:`RATE`; None where there is no such program, or it fails."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    try:
        made = subprocess.run(  # noqa: S603 - the words go over standard input
            [program, "-v", "it", "--stdin", "--stdout"],
            input=text.encode(),
            capture_output=True,
            timeout=_WITHIN_SECONDS,
            check=True,
        ).stdout
        with wave.open(io.BytesIO(made)) as sound:
            rate = sound.getframerate()
            samples = array("h", sound.readframes(len(made)))
    except (subprocess.SubprocessError, OSError, EOFError, wave.Error):
        return None
    return _resample(samples, rate)


def _resample(samples: array[int], rate: int) -> array[int]:
    last = len(samples) - 1
    return array(
        "h", (samples[min(last, at * rate // RATE)] for at in range(len(samples) * RATE // rate))
    )


def _hum(text: str) -> array[int]:
    letters = sum(character.isalpha() for character in text)
    syllables = max(1, min(_MOST_SYLLABLES, round(letters / _SYLLABLE_LETTERS)))
    samples = array("h")
    for number in range(syllables):
        samples.extend(_syllable(_PITCHES[number % len(_PITCHES)]))
    return samples


def _syllable(pitch: float) -> Iterator[int]:
    count = int(RATE * _SYLLABLE_SECONDS)
    sounding = int(count * _VOWEL_PART)
    for at in range(count):
        swell = math.sin(math.pi * at / sounding) if at < sounding else 0.0
        turn = 2 * math.pi * pitch * at / RATE
        yield int(_LOUDNESS * swell * sum(part * math.sin(n * turn) for n, part in _HARMONICS))


def _encode(samples: array[int]) -> Iterator[bytes]:
    codec: av.AudioCodecContext = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = RATE, "mono", "s16"
    codec.bit_rate = _BITS_PER_SECOND
    codec.options = {"application": "voip", "frame_duration": "20"}
    samples.extend([0] * (-len(samples) % PACKET_SAMPLES))
    for at in range(0, len(samples), PACKET_SAMPLES):
        frame = av.AudioFrame(format="s16", layout="mono", samples=PACKET_SAMPLES)
        frame.planes[0].update(samples[at : at + PACKET_SAMPLES].tobytes())
        frame.sample_rate, frame.pts = RATE, at
        yield from map(bytes, codec.encode(frame))
    yield from map(bytes, codec.encode(None))
