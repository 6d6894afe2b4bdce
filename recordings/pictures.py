"""Makes a picture new from its pixels, in a process of its own: ``python -m recordings.pictures``.

What a stranger sends goes into a decoder here and nowhere else: with little memory and little
time, and with nothing to reach. The new picture has the pixels and nothing besides: no EXIF, no
place, no thumbnail, no second file behind the end. It is turned upright, and its colours are sRGB.

Standard input: the picture. Standard output: one line of JSON (:class:`Made` or :class:`Refused`),
after ``Made`` the new picture. ``recordings.picturehost`` is the other side.
"""

from __future__ import annotations

import io
import resource
import sys
from typing import Final

import msgspec
from PIL import Image, ImageCms, ImageOps

from recordings.picturewords import MOST_PIXELS, Made, PictureProblem, Refused

_LONGEST_SIDE: Final = 30_000
_MEMORY_BYTES: Final = 1024**3
_CPU_SECONDS: Final = 60
_JPEG_QUALITY: Final = 92
_FORMATS: Final = ("JPEG", "PNG")


def make_anew(original: bytes) -> tuple[Made, bytes]:
    """The picture from its pixels: JPEG stays JPEG, PNG stays PNG.

    :raises PictureRefused: names what is wrong.
    """
    try:
        with Image.open(io.BytesIO(original), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS or max(width, height) > _LONGEST_SIDE:
                raise PictureRefused(PictureProblem.TOO_MANY_PIXELS)
            is_png = image.format == "PNG"
            image.load()
            upright = _to_screen_colours(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise PictureRefused(PictureProblem.DAMAGED) from error
    clean = Image.new(upright.mode, upright.size)
    clean.paste(upright)
    output = io.BytesIO()
    if is_png:
        clean.save(output, "PNG")
    else:
        clean.save(output, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    made = Made(
        media_type="image/png" if is_png else "image/jpeg", width=clean.width, height=clean.height
    )
    return made, output.getvalue()


class PictureRefused(Exception):
    def __init__(self, problem: PictureProblem) -> None:
        super().__init__(problem)
        self.problem = problem


def _to_screen_colours(image: Image.Image) -> Image.Image:
    """Eight bits a colour. Phones write wide colours: without their profile skin turns pale."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = image.point(lambda value: value / 256).convert("L")
    elif image.mode not in {"L", "RGB", "RGBA", "CMYK"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if profile and image.mode != "L":
        image = _to_srgb(image, profile)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """As it is when the profile is of no use."""
    mode = "RGB" if image.mode == "CMYK" else image.mode
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        turned = ImageCms.profileToProfile(
            image, found, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return turned or image


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    Image.MAX_IMAGE_PIXELS = None  # ours is lower, and asked before a pixel is read
    try:
        made, content = make_anew(sys.stdin.buffer.read())
        answer = msgspec.json.encode(made) + b"\n" + content
    except PictureRefused as refusal:
        answer = msgspec.json.encode(Refused(problem=refusal.problem)) + b"\n"
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()
