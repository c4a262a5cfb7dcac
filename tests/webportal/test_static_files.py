"""Static files are collected when something has changed, and not at every start of the portal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.staticfiles.finders import get_finder
from pytest_django.fixtures import Settings

from webportal.config import static_files


@pytest.fixture
def source(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    """The one static file that there is."""
    file = tmp_path / "source" / "page.css"
    file.parent.mkdir()
    file.write_text("body { color: black }")
    settings.STATICFILES_DIRS, settings.STATIC_ROOT = [file.parent], tmp_path / "static"
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    get_finder.cache_clear()  # type: ignore[attr-defined]
    yield file
    get_finder.cache_clear()  # type: ignore[attr-defined]


def test_a_second_start_collects_nothing(source: Path, tmp_path: Path) -> None:
    assert static_files.collect()
    assert (tmp_path / "static" / "staticfiles.json").is_file()
    assert not static_files.collect()


def test_what_has_changed_is_collected_again(source: Path, tmp_path: Path) -> None:
    static_files.collect()
    source.write_text("body { color: white }")
    os.utime(source, ns=(1, 1))
    assert static_files.collect()
    assert len(list((tmp_path / "static").glob("page.*.css"))) == 2, "pages that are open name the one before"
    (source.parent / "more.css").write_text("")
    assert static_files.collect()
    assert not static_files.collect()


def test_what_somebody_else_made_or_removed_is_collected_again(source: Path, tmp_path: Path) -> None:
    static_files.collect()
    manifest = tmp_path / "static" / "staticfiles.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert static_files.collect()
    manifest.unlink()
    assert static_files.collect()
    assert manifest.is_file()
