"""Weights from outside, damaged in every way: loaded whole, or refused in our own words; nothing grows, nothing runs.

`make test` tries a few hundred inputs, `make soak` a million; SEAMO_FUZZ sets another number.
"""

import argparse
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from seamo.errors import CheckpointError
from seamo_bench.family import KeyRules
from seamo_bench.weights import load_exact, load_file, open_checkpoint, tensors_at
from seamo_bench.zoo.catalogue import weights_digest

RULES = KeyRules(places=("state_dict", ""))
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


def torch_file(content: object, *, legacy: bool = False) -> bytes:
    sink = io.BytesIO()
    torch.save(content, sink, _use_new_zipfile_serialization=not legacy)
    return sink.getvalue()


@pytest.fixture(scope="module")
def corpus() -> dict[str, bytes]:
    """One small file of every kind that is read."""
    state = net().state_dict()
    whole = {"state_dict": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    return {
        "zip.pth": torch_file(whole),
        "legacy.pth": torch_file({"state_dict": state, "epoch": 3}, legacy=True),
        "plain.safetensors": save(state),
        "converted.safetensors": save(state, metadata={"seamo_backbone": "net"}),
    }


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes: bits, bytes, edge values, cuts, gaps, insertions, copies; headers and ends most of all."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        size = max(1, len(made))
        at = int(rng.integers(size))
        near = int(rng.integers(4))
        at = at % min(size, 600) if near == 0 else max(0, size - 1 - at % 900) if near == 1 else at
        width = int(rng.choice([1, 2, 4, 8]))
        match int(rng.integers(7)):
            case 0 if made:
                made[at] ^= 1 << int(rng.integers(8))
            case 1 if made:
                made[at] = int(rng.integers(256))
            case 2:
                edge = EDGES[int(rng.integers(len(EDGES)))] % (1 << 8 * width)
                made[at : at + width] = edge.to_bytes(width, "little")
            case 3:
                del made[at:]
            case 4:
                del made[at : at + width]
            case 5:
                made[at:at] = rng.bytes(width)
            case _:
                start, length = int(rng.integers(size)), int(rng.integers(1, 64))
                made[at : at + length] = made[start : start + length]
    return bytes(made)


def attack(corpus: dict[str, bytes], folder: Path, count: int, seed: int) -> Counter[tuple[str, str]]:
    """Load mutated files; an exception that is not ours goes through, and its input stays in the folder."""
    rng = np.random.default_rng(seed)
    found: Counter[tuple[str, str]] = Counter()
    names = list(corpus)
    for number in range(count):
        name = names[number % len(names)]
        path = folder / name
        path.write_bytes(mutated(corpus[name], rng))
        network = net()
        before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        try:
            load_file(network, path, rules=RULES, backbone="net")
            found[name, "loaded"] += 1
        except CheckpointError as error:
            named = name in str(error)
            kept = all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
            found[name, "refused" if named and kept else f"{error} (file not named, or network changed)"] += 1
    return found


def test_mutated_files_are_loaded_or_refused(corpus, tmp_path):
    found = attack(corpus, tmp_path, 400, 0)
    assert {outcome for _, outcome in found} == {"loaded", "refused"}, found
    for name in corpus:
        assert found[name, "refused"] > 50


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 41))
def test_a_million_mutated_files_are_loaded_or_refused(seed, corpus, tmp_path):
    found = attack(corpus, tmp_path, int(os.environ.get("SEAMO_FUZZ", "1000000")) // 40, seed)
    assert {outcome for _, outcome in found} == {"loaded", "refused"}, found


def test_the_card_beside_a_converted_file_is_read_with_care(corpus, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(corpus["converted.safetensors"])
    sound = json.dumps({"sha256": weights_digest(path), "source_sha256": "a" * 64}).encode()
    beside = path.with_suffix(".json")
    beside.write_bytes(sound)
    assert weights_digest(path) == "a" * 64
    rng = np.random.default_rng(0)
    odd = [b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"sha256":1,"sha256":2}', sound.replace(b'"aaaa', b'["a", "')]
    outcomes = Counter()
    for data in [*odd, *(mutated(sound, rng) for _ in range(200))]:
        beside.write_bytes(data)
        try:
            outcomes[len(weights_digest(path))] += 1
        except CheckpointError as error:
            outcomes["refused" if "net." in str(error) else str(error)] += 1
    assert set(outcomes) == {64, "refused"}  # a digest, always


def zip_file(members: dict[str, bytes], *, kind: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", kind) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return sink.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def with_flag(data: bytes, local: int, central: int, value: int) -> bytes:
    """A zip whose first member says something else in both of its headers."""
    made, at = bytearray(data), data.index(b"PK\1\2")
    struct.pack_into("<H", made, local, value)
    struct.pack_into("<H", made, at + central, value)
    return bytes(made)


def with_first_name(data: bytes, start: bytes) -> bytes:
    at = data.index(b"PK\1\2") + 46
    return data[:at] + start + data[at + len(start) :]


def overlapping(data: bytes, copies: int) -> bytes:
    """A zip whose list names its first member again and again: few bytes that are read many times."""
    head, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    first = data[head : data.index(b"PK\1\2", head + 4)]
    tail = bytearray(data[end:])
    struct.pack_into("<HHII", tail, 8, copies, copies, len(first) * copies, head)
    return data[:head] + first * copies + bytes(tail)


@pytest.mark.parametrize("kind", ["encrypted", "patched", "method", "compressed", "overlapping", "no name", "nested"])
def test_zips_that_torch_never_writes_are_refused(kind, corpus, tmp_path):
    sound = corpus["zip.pth"]
    data = {
        "encrypted": lambda: with_flag(sound, 6, 8, 1),
        "patched": lambda: with_flag(sound, 6, 8, 0x20),
        "method": lambda: with_flag(sound, 8, 10, 99),
        "compressed": lambda: zip_file(members_of(sound), kind=zipfile.ZIP_DEFLATED),
        "overlapping": lambda: overlapping(sound, 2000),
        "no name": lambda: with_first_name(sound, b"\0"),
        "nested": lambda: zip_file({"archive.pth": sound}),
    }[kind]()
    path = tmp_path / "file.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"file\.pth"):
        tensors_at(open_checkpoint(path), RULES, str(path))


def test_a_pickle_that_holds_itself_or_doubles_is_refused(tmp_path):
    """A dictionary of two of a dictionary of two ...: forty levels are a trillion paths."""
    itself: dict[str, object] = {}
    itself["again"] = itself
    doubled: dict[str, object] = {"w": torch.ones(1)}
    for _ in range(40):
        doubled = {"one": doubled, "two": doubled}
    deep: dict[str, object] = {"w": torch.ones(1)}
    for _ in range(200):
        deep = {"in": deep}
    for content in (itself, doubled):
        path = tmp_path / "file.pth"
        path.write_bytes(torch_file(content))
        with pytest.raises(CheckpointError, match="stands in two places"):
            tensors_at(open_checkpoint(path), RULES, str(path))
    (tmp_path / "deep.pth").write_bytes(torch_file(deep))
    assert list(tensors_at(open_checkpoint(tmp_path / "deep.pth"), RULES)) == ["in/" * 200 + "w"]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda w: w.to(torch.complex64), "complex numbers"),
        (lambda w: (100 * w).to(torch.int8), "integers"),
        (lambda w: w > 0, "truth values"),
        (lambda w: w.to_sparse(), "no plain array"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "no plain array"),
        (lambda w: torch.empty(w.shape, device="meta"), "no plain array"),
        (lambda w: torch.full_like(w, torch.inf), "infinity"),
    ],
)
def test_numbers_of_another_kind_are_refused(change, wanted, tmp_path):
    """torch would drop imaginary parts, or take quantised numbers for weights."""
    state = net().state_dict()
    state["0.weight"] = change(state["0.weight"])
    path = tmp_path / "file.pth"
    path.write_bytes(torch_file(state))
    with pytest.raises(CheckpointError, match=wanted):
        load_file(net(), path, rules=RULES, backbone="net")


def test_names_that_are_no_text_are_names_all_the_same(tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(torch_file({1: torch.ones(2), None: torch.ones(2)}))
    with pytest.raises(CheckpointError, match="no use: 1, None"):
        load_file(net(), path, rules=RULES, backbone="net")
    path.write_bytes(torch_file({1: torch.ones(2), "1": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="one name"):
        load_file(net(), path, rules=RULES, backbone="net")
    path.write_bytes(torch_file({1: 2, 3: 4}))
    with pytest.raises(CheckpointError, match="its entries: 1, 3"):
        load_file(net(), path, rules=RULES, backbone="net")


def test_half_precision_is_loaded():
    state = {key: value.half() if value.is_floating_point() else value for key, value in net().state_dict().items()}
    network = net()
    load_exact(network, state)
    assert torch.equal(network.state_dict()["0.weight"], state["0.weight"].float())


OPEN = """
import resource, sys
from pathlib import Path
from seamo.errors import CheckpointError
from seamo_bench.weights import open_checkpoint
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
for name in sys.argv[1:]:
    before = peak()
    try:
        open_checkpoint(Path(name))
        said = "read"
    except CheckpointError as error:
        said = str(error)
    print(peak() - before, said)
"""


@pytest.mark.soak
def test_promises_of_gigabytes_take_no_memory(corpus, tmp_path):
    """Sizes that a file invents: a deflated part, a tensor, a header and a `bytearray` of many GB."""
    zeros = io.BytesIO()
    with (
        zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("archive/data.pkl", "w", force_zip64=True) as member,
    ):
        for _ in range(256):
            member.write(bytes(2**20))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**33], "data_offsets": [0, 2**35]}}).encode()
    parts = members_of(corpus["zip.pth"])
    (listed,) = (name for name in parts if name.endswith("data.pkl"))
    bombs = {
        "deflated.pth": zeros.getvalue(),
        "tensor.safetensors": struct.pack("<Q", len(header)) + header,
        "header.safetensors": struct.pack("<Q", 2**36) + b"{" + bytes(100),
        "storage.pth": corpus["legacy.pth"].replace(b"K6", b"\x8a\x05" + (2**33).to_bytes(5, "little")),
        "bytes.pth": legacy_file(pickled_bytearray(2**33)),
        "bytes-in-zip.pth": zip_file({**parts, listed: pickled_bytearray(2**33)}),
    }
    for name, data in bombs.items():
        assert len(data) < 2**20
        (tmp_path / name).write_bytes(data)
    assert bombs["storage.pth"] != corpus["legacy.pth"]  # 54 numbers of the convolution
    paths = [str(tmp_path / name) for name in bombs]
    done = subprocess.run([sys.executable, "-c", OPEN, *paths], capture_output=True, text=True, check=True)
    for name, line in zip(bombs, done.stdout.splitlines(), strict=True):
        taken, said = line.split(" ", 1)
        assert int(taken) < 64, f"{name} took {taken} MiB"
        assert name in said


def pickled_bytearray(size: int) -> bytes:
    """A pickle that asks for so many bytes: torch's closed list of globals has `bytearray`."""
    return b"\x80\x02}X\x01\x00\x00\x00acbuiltins\nbytearray\n\x8a\x08" + struct.pack("<q", size) + b"\x85Rs."


def legacy_file(content: bytes) -> bytes:
    """A file as torch wrote it before 1.6: a number, a version, facts of the machine, the content, storages."""
    facts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(one, protocol=2) for one in facts) + content + pickle.dumps([], protocol=2)
