"""What is published about a file is checked, whichever kind it is: of weights, of archives, of split lists."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seamo.download import RemoteFile, mismatch
from seamo.errors import CheckpointError, DownloadError
from seamo.manifest import DatasetSpec, parse_spec
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.weights import Coverage
from seamo_bench.zoo.catalogue import Found, cards, weights_digest, weights_path
from seamo_bench.zoo.weights_files import convert, fetch_weights
from seamo_prep.fetch import fetch

RIGHT, WRONG = b"the published file", b"THE published file"  # of one length
SHA256, MD5 = hashlib.sha256(RIGHT).hexdigest(), hashlib.md5(RIGHT).hexdigest()  # noqa: S324 - a published kind
KINDS = {
    "sha256": {"sha256": SHA256},
    "first digits of the sha256": {"sha256": SHA256[:8]},
    "md5": {"md5": MD5},
    "size": {"bytes": len(RIGHT)},
}


def card(kind: str, *, urls: tuple[str, ...] = ()) -> BackboneCard:
    weights = Weights(urls, "net.pt", "MIT", how="Ask.", **KINDS[kind])  # type: ignore[arg-type]
    return replace(cards()["resnet18-in1k"].card, weights=weights)


def wrong(kind: str) -> bytes:
    return WRONG + b"!" if kind == "size" else WRONG


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_held_to_what_is_published(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(RIGHT)
    assert weights_path(card(kind), path) == path
    path.write_bytes(wrong(kind))
    words = {"size": "bytes instead of", "md5": "its md5 is not"}.get(kind, "its sha256 begins with")
    with pytest.raises(CheckpointError, match=rf"net\.pt are not the published file: .*{words}"):
        weights_path(card(kind), path)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_checked_where_the_others_are_right(tmp_path: Path, kind: str) -> None:
    """Sums that fit do not excuse one that does not, as where a page was mended in part."""
    path = tmp_path / "net.pt"
    path.write_bytes(RIGHT)
    right = card("sha256").weights
    assert right is not None
    whole = replace(right, sha256=SHA256, md5=MD5, bytes=len(RIGHT))
    odd = {"sha256": "0" * 64, "first digits of the sha256": "0" * 8, "md5": "0" * 32, "size": 3}[kind]
    field = {"size": "bytes", "first digits of the sha256": "sha256"}.get(kind, kind)
    assert weights_path(replace(card("md5"), weights=whole), path) == path
    with pytest.raises(CheckpointError, match="are not the published file"):
        weights_path(replace(card("md5"), weights=replace(whole, **{field: odd})), path)


def test_a_converted_file_is_held_to_the_sha256_of_its_source(tmp_path: Path) -> None:
    path, beside = tmp_path / "resnet18-in1k.safetensors", tmp_path / "resnet18-in1k.json"
    path.write_bytes(b"tensors")
    made = {"sha256": hashlib.sha256(b"tensors").hexdigest()}
    beside.write_text(json.dumps({**made, "source_sha256": SHA256}))
    assert weights_path(card("sha256"), tmp_path / "net.pt") == path
    assert weights_digest(path) == SHA256
    beside.write_text(json.dumps({**made, "source_sha256": hashlib.sha256(WRONG).hexdigest()}))
    with pytest.raises(CheckpointError, match="are not the published file"):
        weights_path(card("sha256"), tmp_path / "net.pt")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_published_file_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Of a converted file nobody can see the md5 or the size of its source any more."""
    fits = Coverage({"w": "w"}, (), ()), {"w": torch.zeros(1)}  # another training of the same network
    monkeypatch.setattr("seamo_bench.zoo.weights_files.coverage_of", lambda *_: fits)
    found, source = Found(card(kind), "seamo_bench.backbones.resnet_imagenet"), tmp_path / "net.pt"
    source.write_bytes(wrong(kind))
    with pytest.raises(CheckpointError, match="are not the published file"):
        convert(found, source, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    source.write_bytes(RIGHT)
    assert weights_path(card(kind), convert(found, source, tmp_path / "made")).name == "resnet18-in1k.safetensors"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address, and the folder that it shows."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_arrive_wrong_are_not_kept(tmp_path: Path, mirror: tuple[str, Path], kind: str) -> None:
    base, shown = mirror
    (shown / "net.pt").write_bytes(wrong(kind))
    with pytest.raises(DownloadError):
        fetch_weights(card(kind, urls=(f"{base}/net.pt",)), tmp_path / "weights")
    assert not (tmp_path / "weights" / "net.pt").exists()
    (shown / "net.pt").write_bytes(RIGHT)
    got = fetch_weights(card(kind, urls=(f"{base}/net.pt",)), tmp_path / "weights")
    assert got.read_bytes() == RIGHT


def spec(base: str, archive: dict[str, object], listed: dict[str, object]) -> DatasetSpec:
    entry = {
        "id": "toy",
        "title": "Toy",
        "summary": "A toy.",
        "licence": "none",
        "citation": "none",
        "task": {"kind": "none"},
        "layers": [],
        "archives": [{"name": "images.zip", "urls": [f"{base}/images.zip"], **archive}],
        "splits": {
            "official": {"files": [{"split": "train", "file": "train.txt", "urls": [f"{base}/train.txt"], **listed}]}
        },
    }
    return parse_spec(entry, "test")


@pytest.mark.parametrize(
    ("what", "kind"),  # of lists no size is published
    [
        ("images.zip", "sha256"),
        ("images.zip", "md5"),
        ("images.zip", "size"),
        ("train.txt", "sha256"),
        ("train.txt", "md5"),
    ],
)
def test_an_archive_and_a_list_are_held_to_what_is_published(
    tmp_path: Path, mirror: tuple[str, Path], what: str, kind: str
) -> None:
    base, shown = mirror
    for name in ("images.zip", "train.txt"):
        (shown / name).write_bytes(RIGHT)
    about = spec(base, KINDS[kind] if what == "images.zip" else {}, KINDS[kind] if what == "train.txt" else {})
    (shown / what).write_bytes(wrong(kind))
    with pytest.raises(DownloadError, match=what):
        fetch(about, tmp_path / "raw")
    assert not (tmp_path / "raw" / what).exists()
    for left in (tmp_path / "raw").iterdir():
        left.unlink()
    (shown / what).write_bytes(RIGHT)
    fetch(about, tmp_path / "raw")
    assert (tmp_path / "raw" / what).read_bytes() == RIGHT
    (tmp_path / "raw" / what).write_bytes(wrong(kind))  # as it may lie there from before
    with pytest.raises(DownloadError, match="is there already, but"):
        fetch(about, tmp_path / "raw")


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_every_hash_of_a_download_is_checked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(RIGHT)
    known = RemoteFile("a", (), len(RIGHT), md5=MD5, sha256=SHA256)
    assert mismatch(path, known) == ""
    assert kind in mismatch(path, replace(known, **{kind: "0" * len(KINDS[kind][kind])}))  # type: ignore[arg-type]
