"""Finds Chromium, or installs it by whatever way the machine has. Run it to do so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FEATURES_OFF: Final = (
    # What playwright turns off: the last of two such flags counts.
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "TcpPortRandomizationWin",
    "ThirdPartyStoragePartitioning",
    # Pages under the address bar, loaded anew for each window that a test opens.
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
)
FLAGS: Final = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-features=" + ",".join(_FEATURES_OFF),
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    *(("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),
)


def find_chromium() -> str | None:
    """The path of a Chromium that is already here: playwright's own, else the system's."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    if own.exists():
        return str(own)
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def require_chromium() -> str:
    """The path of Chromium.

    :raises RuntimeError: says what to install.
    """
    path = find_chromium()
    if path is None:
        raise RuntimeError("Chromium is missing: run 'python tests/browser/chromium.py'")
    return path


def _try(command: Sequence[str]) -> None:
    print("Installing Chromium:", " ".join(command), flush=True)
    subprocess.run(command, check=False, stdout=sys.stderr)


def _install() -> None:
    _try([sys.executable, "-m", "playwright", "install", "chromium"])
    if find_chromium() is None and shutil.which("apt-get"):
        prefix = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
        _try([*prefix, "apt-get", "update", "--quiet"])
        _try([*prefix, "apt-get", "install", "--yes", "--quiet", "chromium"])


if __name__ == "__main__":
    if find_chromium() is None:
        _install()
    print("Chromium:", require_chromium())
