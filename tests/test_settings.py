"""Settings: one table, three places, and a sentence for every mistake."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from server.errors import CommandFailed
from server.settings import SETTINGS_FILE, Settings, load_settings, save_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ACCANTO_{name.upper()}", raising=False)


def test_environment_wins_over_the_file_and_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_settings(tmp_path, {"port": "9001", "log_level": "DEBUG"})
    monkeypatch.setenv("ACCANTO_PORT", "9002")

    settings = load_settings(tmp_path)

    assert (settings.port, settings.log_level, settings.host) == (9002, "DEBUG", "127.0.0.1")


def test_command_line_wins_over_all_and_none_means_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCANTO_PORT", "9002")

    assert load_settings(tmp_path, port=9003, host=None).port == 9003


def test_data_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCANTO_DATA_DIR", str(tmp_path))

    assert load_settings().data_dir == tmp_path


def test_database_is_sqlite_in_the_folder_unless_named(tmp_path: Path) -> None:
    assert load_settings(tmp_path).database == f"sqlite+aiosqlite:///{tmp_path}/accanto.db"
    assert load_settings(tmp_path, database_url="postgresql+asyncpg://x/y").database.endswith("/y")


def test_unknown_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCANTO_PROT", "9000")

    with pytest.raises(CommandFailed, match="Unknown setting ACCANTO_PROT"):
        load_settings(tmp_path)


def test_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("ACCANTO_PROT=9000\n")

    with pytest.raises(CommandFailed, match="PROT"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "80800"),
        ("port", "porta"),
        ("base_url", "visite.example.it"),
        ("base_url", "ftp://visite.example.it"),
        ("base_url", "https://visite.example.it/percorso"),
        ("base_url", "http://visite.example.it"),
        ("turn_urls", "turn:turn.example.it"),
    ],
)
def test_wrong_value_names_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ACCANTO_{name.upper()}", value)

    with pytest.raises(CommandFailed, match=f"(?i){name}"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("given", "origin", "is_https"),
    [
        ("https://visite.example.it/", "https://visite.example.it", True),
        ("https://visite.example.it:8443", "https://visite.example.it:8443", True),
        ("http://localhost:8080", "http://localhost:8080", False),
        ("http://[::1]:8080", "http://[::1]:8080", False),
    ],
)
def test_base_url_is_an_origin(tmp_path: Path, given: str, origin: str, *, is_https: bool) -> None:
    settings = load_settings(tmp_path, base_url=given)

    assert (settings.base_url, settings.is_https) == (origin, is_https)


def test_secret_is_not_in_the_representation(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, turn_secret="non-lo-dico")

    assert "non-lo-dico" not in repr(settings)


def test_saved_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    save_settings(tmp_path, {"port": "9001"})

    assert stat.S_IMODE((tmp_path / SETTINGS_FILE).stat().st_mode) == 0o600
    assert load_settings(tmp_path).port == 9001


def test_every_setting_explains_itself() -> None:
    assert all(field.description for field in Settings.model_fields.values())
