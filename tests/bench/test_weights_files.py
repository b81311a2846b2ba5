"""Fetching, converting and checking checkpoint files, and the command line around them."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamo.errors import CheckpointError, DownloadError, UsageError
from seamo.licences import ACCEPTED
from seamo_bench.card import BackboneCard
from seamo_bench.cli.weights import app
from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.weights_files import check, convert, fetch_weights

BODY = bytes(range(256)) * 40
SHA = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves BODY, ranges too, and remembers what was asked."""

    asked: list[str | None] = []  # noqa: RUF012 (one server a test)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        Handler.asked.append(wanted)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.asked.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/weights.pth"
    server.shutdown()
    thread.join()
    server.server_close()


def card(url: str, **changes: object) -> BackboneCard:
    base = cards()["satvit-v1"].card
    assert base.weights is not None
    return replace(base, weights=replace(base.weights, urls=(url,), filename="weights.pth", **changes))


def test_a_file_arrives_and_its_hash_is_checked(url: str, tmp_path: Path) -> None:
    path = fetch_weights(card(url, sha256=SHA), tmp_path / "new")
    assert path.read_bytes() == BODY


def test_a_broken_download_goes_on(url: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(BODY[:5000])
    assert fetch_weights(card(url, sha256=SHA), tmp_path).read_bytes() == BODY
    assert Handler.asked == ["bytes=5000-"]


@pytest.mark.parametrize("digits", ["0" * 64, "0" * 8])
def test_wrong_bytes_never_get_the_name(url: str, tmp_path: Path, digits: str) -> None:
    with pytest.raises(DownloadError, match="sha256"):
        fetch_weights(card(url, sha256=digits), tmp_path)
    assert not (tmp_path / "weights.pth").exists()


def test_the_first_digits_of_a_hash_are_enough_where_no_more_is_published(url: str, tmp_path: Path) -> None:
    assert fetch_weights(card(url, sha256=SHA[:8]), tmp_path).is_file()


def test_a_non_commercial_licence_is_accepted_once(url: str, tmp_path: Path) -> None:
    limited = card(url, licence="CC-BY-NC-4.0", noncommercial=True)
    with pytest.raises(UsageError, match=r"CC-BY-NC-4\.0.*--accept CC-BY-NC-4\.0"):
        fetch_weights(limited, tmp_path)
    with pytest.raises(UsageError):
        fetch_weights(limited, tmp_path, accept="yes")
    assert Handler.asked == []
    fetch_weights(limited, tmp_path, accept="CC-BY-NC-4.0", now=datetime(2026, 1, 2, tzinfo=UTC))
    assert json.loads((tmp_path / ACCEPTED).read_text()) == {"CC-BY-NC-4.0": "2026-01-02T00:00:00+00:00"}
    (tmp_path / "weights.pth").unlink()
    fetch_weights(limited, tmp_path)  # not asked again


def test_what_has_no_link_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Google Drive, file 1iWLm7ljQ6tKZiVp47pJUPDe3Un0BUd9o"):
        fetch_weights(cards()["ssl4eo-moco-r18-s2"].card, tmp_path)
    with pytest.raises(CheckpointError, match="quoted only"):
        fetch_weights(cards()["ijepa-vitb"].card, tmp_path)


def test_conversion_writes_a_card_with_source_hash_licence_and_key_map(golden: Path, tmp_path: Path) -> None:
    source = golden / "weights" / "presto" / "default_model.pt"
    path = convert(cards()["presto"], source, tmp_path)
    written = json.loads(path.with_suffix(".json").read_text())
    assert written["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert written["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert written["licence"] == "MIT"
    assert written["key_map"]["encoder.norm.weight"] == "norm.weight"
    assert len(written["dropped"]) == 52
    # The converted file gives the same features as the published one.
    assert check(cards()["presto"], path).fingerprint == check(cards()["presto"], source).fingerprint


def test_conversion_of_a_wrong_file_writes_nothing(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        convert(cards()["presto"], golden / "weights" / "galileo_nano" / "encoder.pt", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_check_says_what_became_of_every_key(golden: Path) -> None:
    shown = CliRunner().invoke(app, ["check", str(golden / "weights" / "presto" / "default_model.pt"), "--json"])
    (row,) = json.loads(shown.stdout)
    assert row["id"] == "presto"
    assert (row["consumed"], row["dropped"], row["initial"]) == (50, 52, [])
    assert row["published_hash"] == "matches"
    assert len(row["fingerprint"]) == 6


def test_list_and_golden_print_one_document(golden: Path) -> None:
    rows = {row["id"]: row for row in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)}
    assert rows["satmae-vitb"]["noncommercial"] is True
    assert rows["satmae-vitb"]["verified_by"] == "golden, manifest"
    assert rows["ijepa-vitb"]["availability"] == "quoted only"
    shown = CliRunner().invoke(app, ["golden", str(golden / "dev" / "presto"), "--json"])
    found = json.loads(shown.stdout)
    assert shown.exit_code == 0
    assert set(found[0]) == {"id", "model", "case", "field", "max_abs", "verdict"}
    assert len({row["id"] for row in found}) == len(found)


def test_golden_says_where_nothing_is(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["golden", str(tmp_path)])
    assert isinstance(shown.exception, UsageError)
