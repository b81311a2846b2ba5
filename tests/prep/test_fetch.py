"""Fetching by manifest entry; the downloads themselves are tested in tests/seamo/test_download.py."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamo.errors import DownloadError, UsageError
from seamo.licences import ACCEPTED
from seamo.manifest import DatasetSpec, parse_spec, shipped_manifest
from seamo_prep.cli.program import app
from seamo_prep.fetch import fetch, items


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "images.zip").write_bytes(b"images" * 1000)
    (folder / "train.txt").write_bytes(b"a\nb\n")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def toy(base: str, **archive: object) -> DatasetSpec:
    images = {
        "name": "images.zip",
        "urls": [f"{base}/images.zip"],
        "bytes": 6000,
        "md5": hashlib.md5(b"images" * 1000).hexdigest(),  # noqa: S324 - the published kind of hash
        "part": "images",
    }
    entry = {
        "id": "toy",
        "title": "Toy",
        "summary": "A toy.",
        "homepage": "https://example.org/toy",
        "licence": "none",
        "citation": "none",
        "task": {"kind": "none"},
        "layers": [],
        "archives": [{**images, **archive}, {"name": "login.zip", "how": "Log in at example.org.", "part": "extra"}],
        "splits": {"official": {"files": [{"split": "train", "file": "train.txt", "urls": [f"{base}/train.txt"]}]}},
    }
    return parse_spec(entry, "test")


def test_fetch_brings_files_and_lists_and_tells_what_a_person_must_get(mirror: str, tmp_path: Path) -> None:
    left = fetch(toy(mirror), tmp_path / "raw")
    assert (tmp_path / "raw" / "images.zip").read_bytes() == b"images" * 1000
    assert (tmp_path / "raw" / "train.txt").read_bytes() == b"a\nb\n"
    assert [(item.file.name, item.how) for item in left] == [("login.zip", "Log in at example.org.")]


def test_only_some_parts(mirror: str, tmp_path: Path) -> None:
    fetch(toy(mirror), tmp_path / "raw", only=("splits",))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["train.txt"]
    with pytest.raises(UsageError, match=r"'image'.*extra, images, splits"):
        items(toy(mirror), only=("image",))


def test_a_licence_is_accepted_once_before_the_first_byte(mirror: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    spec = toy(mirror).model_copy(update={"accept": "CC-BY-NC-4.0"})
    for given in ("", "yes", "CC-BY-4.0"):
        with pytest.raises(UsageError, match=r"toy: .*CC-BY-NC-4\.0.*example\.org/toy.*--accept CC-BY-NC-4\.0"):
            fetch(spec, raw, accept=given)
        assert not list(raw.iterdir())
    assert [item.file.name for item in fetch(spec, raw, only=("extra",))] == ["login.zip"]  # brings nothing itself
    fetch(spec, raw, only=("splits",), accept="CC-BY-NC-4.0", now=datetime(2026, 1, 2, tzinfo=UTC))
    assert json.loads((raw / ACCEPTED).read_text()) == {"CC-BY-NC-4.0": "2026-01-02T00:00:00+00:00"}
    fetch(spec, raw)  # remembered
    assert (raw / "images.zip").exists()


def test_the_command_shows_the_licence_and_asks(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["fetch", "oscd", "--to", str(tmp_path), "--dry-run"])
    assert "attribution: OSCD by R. Caye Daudt et al." in shown.stderr
    assert "redistribution: unknown (" in shown.stderr
    asked = CliRunner().invoke(app, ["fetch", "oscd", "--to", str(tmp_path)])
    assert "--accept CC-BY-NC-SA" in str(asked.exception)
    assert not list(tmp_path.iterdir())


def test_one_bad_file_does_not_stop_the_others(mirror: str, tmp_path: Path) -> None:
    spec = toy(mirror, md5="0" * 32)
    with pytest.raises(DownloadError, match="its md5 is"):
        fetch(spec, tmp_path / "raw")
    assert (tmp_path / "raw" / "train.txt").exists()
    assert not (tmp_path / "raw" / "images.zip").exists()


def test_too_little_room_is_said_before_the_first_byte(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="are free"):
        fetch(toy(mirror, bytes=10**18), tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())


def names(spec: DatasetSpec, *only: str) -> list[str]:
    return [item.file.name for item in items(spec, only)]


def test_one_of_several_equal_archives_is_fetched_unless_named(mirror: str, tmp_path: Path) -> None:
    spec = toy(mirror)
    copy = spec.archives[0].model_copy(update={"name": "copy.zip", "part": "mirror", "same_as": "images.zip"})
    spec = spec.model_copy(update={"archives": (*spec.archives, copy)})
    assert names(spec) == ["images.zip", "login.zip", "train.txt"]
    assert names(spec, "copy.zip") == ["copy.zip"]
    assert names(spec, "mirror", "splits") == ["copy.zip", "train.txt"]
    assert names(spec, "images", "mirror") == ["images.zip"]
    assert names(spec, "images", "copy.zip") == ["images.zip", "copy.zip"]
    within = spec.model_copy(update={"archives": (*spec.archives[:2], copy.model_copy(update={"part": "images"}))})
    assert names(within, "images") == ["images.zip"]
    fetch(spec, tmp_path / "raw")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["images.zip", "train.txt"]


def test_shipped_data_sets_fetch_each_sample_once() -> None:
    assert "EuroSAT_MS.zip" not in names(shipped_manifest()["eurosat"])
    assert "EuroSATallBands.zip" in names(shipped_manifest()["eurosat"])
    assert names(shipped_manifest()["eurosat"], "EuroSAT_MS.zip") == ["EuroSAT_MS.zip"]


@pytest.mark.parametrize("dataset_id", sorted(shipped_manifest()))
def test_every_shipped_file_has_a_link_or_an_instruction(dataset_id: str) -> None:
    for item in items(shipped_manifest()[dataset_id]):
        assert item.file.urls or item.how, item.file.name
        for url in item.file.urls:
            assert url.startswith(("https://", "http://"))
