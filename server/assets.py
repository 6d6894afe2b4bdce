"""Static files: ours and those of the npm packages, read once, compressed once, served for ever.

The address carries a hash of all of them, so a browser may keep each for a year and a new version
of the platform never meets an old script.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from server.errors import CommandFailed, NotFound

_ROOT: Final = Path(__file__).parent.parent
_OURS: Final = _ROOT / "static"
_PACKAGES: Final = _ROOT / "node_modules" / "bootstrap-italia" / "dist"
_TITILLIUM: Final = "fonts/Titillium_Web/titillium-web-v10-latin-ext_latin"
_FROM_PACKAGES: Final = {
    "css/bootstrap-italia.min.css": "css/bootstrap-italia.min.css",
    "fonts/titillium-400.woff2": f"{_TITILLIUM}-regular.woff2",
    "fonts/titillium-600.woff2": f"{_TITILLIUM}-600.woff2",
}
_FONT_FACE: Final = re.compile(rb"@font-face\s*\{[^}]*\}")
"""The package's style sheet carries fonts of a video player inside it; ours are the two above."""
_SUFFIXES: Final = frozenset({".js", ".css", ".svg", ".woff2", ".png", ".webmanifest", ".ico"})
_TYPES: Final = {".js": "text/javascript", ".woff2": "font/woff2"}
_COMPRESSED: Final = frozenset({".js", ".css", ".svg", ".webmanifest"})


@dataclass(frozen=True, slots=True)
class Asset:
    """One file in memory; ``compressed`` is empty for what does not shrink."""

    content_type: str
    body: bytes
    compressed: bytes


class Assets:
    """All static files by name."""

    def __init__(self) -> None:
        files = {
            path.relative_to(_OURS).as_posix(): path
            for path in sorted(_OURS.rglob("*"))
            if path.suffix in _SUFFIXES
        } | {name: _PACKAGES / source for name, source in _FROM_PACKAGES.items()}
        try:
            self._assets = {name: _read(path) for name, path in files.items()}
        except FileNotFoundError as error:
            raise CommandFailed("The front-end packages are missing: run 'make setup'") from error
        digest = hashlib.sha256()
        for name in sorted(self._assets):
            digest.update(name.encode() + self._assets[name].body)
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of a file.

        :raises KeyError: there is no such file: a template names something that is not served.
        """
        if name not in self._assets:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        """``GET /static/{version}/{name}``: kept for a year under our own version only. While
        nodes are renewed the page of another one may ask here for files that are not ours."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise NotFound
        is_ours = request.match_info["version"] == self.version
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if is_ours else "no-store",
            "Vary": "Accept-Encoding",
        }
        body = asset.body
        if asset.compressed and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = asset.compressed
        return web.Response(body=body, content_type=asset.content_type, headers=headers)


@cache
def load_assets() -> Assets:
    """All static files, read once in a process.

    :raises CommandFailed: the front-end packages are missing.
    """
    return Assets()


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    if path.is_relative_to(_PACKAGES) and path.suffix == ".css":
        body = _FONT_FACE.sub(b"", body)
    content_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    compressed = gzip.compress(body, 9, mtime=0) if path.suffix in _COMPRESSED else b""
    return Asset(content_type or "application/octet-stream", body, compressed)
