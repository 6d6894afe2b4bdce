"""What the cameras and microphones of the browser tests give: a plain colour, a tone."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path
from typing import Final

_WIDTH, _HEIGHT, _FRAMES = 320, 240, 10
_SAMPLE_RATE: Final = 48_000
_YUV: Final = {"red": (81, 90, 240), "green": (145, 54, 34), "blue": (41, 240, 110)}


def make_devices(folder: Path, colour: str, tone_hz: int) -> tuple[str, str]:
    """The flags of a camera and a microphone, whose files are in ``folder``."""
    video, sound = folder / f"{colour}.y4m", folder / f"{tone_hz}.wav"
    if not video.exists():
        _write_video(video, colour)
    if not sound.exists():
        _write_tone(sound, tone_hz)
    return (
        f"--use-file-for-fake-video-capture={video}",
        f"--use-file-for-fake-audio-capture={sound}",
    )


def _write_video(path: Path, colour: str) -> None:
    y, u, v = _YUV[colour]
    header = f"YUV4MPEG2 W{_WIDTH} H{_HEIGHT} F20:1 Ip A1:1 C420jpeg\n".encode()
    quarter = _WIDTH * _HEIGHT // 4
    frame = b"FRAME\n" + bytes([y]) * (4 * quarter) + bytes([u]) * quarter + bytes([v]) * quarter
    path.write_bytes(header + frame * _FRAMES)


def _write_tone(path: Path, hertz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_SAMPLE_RATE)
        file.writeframes(
            b"".join(
                struct.pack("<h", int(12_000 * math.sin(2 * math.pi * hertz * n / _SAMPLE_RATE)))
                for n in range(_SAMPLE_RATE)
            )
        )
