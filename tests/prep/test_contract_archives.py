"""The contract of archives: held by every archive that is found, broken by every fault that is made here."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seamo.manifest import DatasetSpec, parse_spec
from seamo.sample import Sample
from seamo.testing.archives import check_archive
from seamo.testing.world import World
from seamo_prep.archives import archive_ids, folder, known_specs, load_archive
from seamo_prep.rasters import read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic


@pytest.mark.parametrize("dataset", archive_ids())
def test_every_archive_keeps_the_contract(tmp_path: Path, dataset: str) -> None:
    check_archive(load_archive(dataset), known_specs()[dataset], tmp_path)


def test_the_archive_of_one_s_own_imagery_keeps_the_contract(tmp_path: Path) -> None:
    folder.demo(tmp_path / "first", World(seed=3), "tiny")  # its entry lies beside the images
    check_archive(folder, folder.load_spec(tmp_path / "first"), tmp_path / "second")


# An archive of eight images, and what can be wrong with one --------------------------------------------------

UTM = (10.0, 0.0, 300000.0, 0.0, -10.0, 5000000.0)


def spec(**changes: Any) -> DatasetSpec:
    layer = {
        "id": "s1", "stack": "s1", "sensor": "s1", "product": "GRD", "bands": ["VV", "VH"], "gsd_m": 10.0,
        "dtype": "float32", "unit": "db", "fill": "nan", "size": (8, 8),
    }  # fmt: skip
    entry = {
        "id": "ponds",
        "title": "Ponds",
        "summary": "synthetic, for tests",
        "licence": "none",
        "citation": "none",
        "archives": [{"name": "ponds.zip", "how": "Made here.", "unpacks_to": "ponds", "unverified": "synthetic"}],
        "layers": [layer],
        "task": {"kind": "single-label", "label_space": "own"},
        "label_spaces": {"own": {"classes": [{"name": "land"}, {"name": "pond"}]}},
        "splits": {"official": {"in_archive": True}},
        "default_split": "official",
    }
    return parse_spec({**entry, **changes}, "test")


def index(raw: Raw, _: DatasetSpec) -> pd.DataFrame:
    names = [file.removesuffix(".tif") for file in raw.list_dir("ponds")[1]]
    numbers = [int(name[1:]) for name in names]
    frame = pd.DataFrame(
        {
            "key": names,
            "scene": [f"tile{number // 2}" for number in numbers],
            "y0": 0,
            "x0": [number % 2 * 8 for number in numbers],
            "label": [number % 2 for number in numbers],
            "split": [("train", "train", "val", "test")[number % 4] for number in numbers],
        }
    ).sort_values("key", ignore_index=True)
    frame.attrs["ledger"] = []
    return frame


def read(raw: Raw, rows: pd.DataFrame, _: DatasetSpec) -> Iterator[Sample]:
    for row in rows.to_dict("records"):
        pixels = read_tiff(raw, f"ponds/{row['key']}.tif").pixels[None]
        yield Sample(
            str(row["key"]), {"s1": pixels}, label=int(row["label"]), scene=row["scene"], offset=(0, int(row["x0"]))
        )


def demo(raw: Path, world: World, size: str) -> None:
    del world, size
    (raw / "ponds").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.normal(-15, 1, (2, 8, 8)).astype(np.float32)
        write_tiff(raw / f"ponds/p{number}.tif", pixels, epsg=32633, transform=UTM)
    declare_synthetic(raw, what="synthetic stand-in for ponds")


def framed(change: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
    """An archive whose index is changed, its ledger kept."""

    def changed(raw: Raw, about: DatasetSpec) -> pd.DataFrame:
        frame = index(raw, about)
        made = change(frame)
        made.attrs.setdefault("ledger", [])
        return made

    return {"index": changed}


def sampled(change: Callable[[int, Sample], Sample]) -> dict[str, Any]:
    """An archive whose samples are changed: (position among the rows asked for, sample) -> sample."""

    def changed(raw: Raw, rows: pd.DataFrame, about: DatasetSpec) -> Iterator[Sample]:
        for position, sample in enumerate(read(raw, rows, about)):
            yield change(position, sample)

    return {"read": changed}


def without_ledger(raw: Raw, about: DatasetSpec) -> pd.DataFrame:
    frame = index(raw, about)
    frame.attrs.clear()
    return frame


def looks_at_pixels(raw: Raw, about: DatasetSpec) -> pd.DataFrame:
    frame = index(raw, about)
    for key in frame["key"]:
        read_tiff(raw, f"ponds/{key}.tif")
    return frame


def grows(raw: Raw, about: DatasetSpec) -> pd.DataFrame:
    grows.calls = getattr(grows, "calls", 0) + 1  # type: ignore[attr-defined]
    return index(raw, about).assign(_call=grows.calls)  # type: ignore[attr-defined]


def backwards(raw: Raw, rows: pd.DataFrame, about: DatasetSpec) -> Iterator[Sample]:
    yield from reversed(list(read(raw, rows, about)))


def marks_rows(raw: Raw, rows: pd.DataFrame, about: DatasetSpec) -> Iterator[Sample]:
    yield from read(raw, rows, about)
    rows["_seen"] = True


def leaves_a_note(raw: Raw, rows: pd.DataFrame, about: DatasetSpec) -> Iterator[Sample]:
    (raw.root / "ponds" / "note.txt").write_text("read")
    yield from read(raw, rows, about)


def centred(raw: Raw, rows: pd.DataFrame, about: DatasetSpec) -> Iterator[Sample]:
    """Takes off the mean of the samples that are read together."""
    samples = list(read(raw, rows, about))
    mean = np.mean([sample.layers["s1"] for sample in samples], dtype=np.float32)
    for sample in samples:
        yield replace(sample, layers={"s1": sample.layers["s1"] - mean})


def undeclared(raw: Path, world: World, size: str) -> None:
    demo(raw, world, size)
    (raw / "SYNTHETIC.json").unlink()


def with_layer(sample: Sample, pixels: np.ndarray) -> Sample:
    return replace(sample, layers={"s1": pixels})


FAULTS = [
    ({"demo": undeclared}, "demo writes no SYNTHETIC.json"),
    ({"index": without_ledger}, "index: has no ledger"),
    ({"index": looks_at_pixels}, "index: decodes 8 images for 8 samples"),
    ({"index": grows}, "index: differs when it is made again"),
    (framed(lambda frame: frame.iloc[::-1].reset_index(drop=True)), "index: is not sorted by key"),
    (framed(lambda frame: frame.iloc[1:]), "index: is not numbered"),
    (framed(lambda frame: frame.iloc[:0]), "index: is empty"),
    (framed(lambda frame: pd.concat([frame, frame.iloc[7:]], ignore_index=True)), "index: has a key twice"),
    (framed(lambda frame: frame.assign(key=frame["key"] + ".tif")), r"index: .*key 'p0\.tif' is not parts of"),
    (framed(lambda frame: frame.assign(path="x")), r"index: has columns \['path'\]"),
    (framed(lambda frame: frame.drop(columns="x0")), "index: has one of y0 and x0 alone"),
    (framed(lambda frame: frame.drop(columns="split")), "the index has no column `split`"),
    (framed(lambda frame: frame.assign(split="train")), r"only \['train'\] in the demo"),
    (framed(lambda frame: frame.assign(split=["train", "test"] * 3 + ["dev", ""])), r"there are splits \['dev'\]"),
    (framed(lambda frame: frame.assign(height=16, width=16)), r"has \(8, 8\) pixels, \(16, 16\) in the index"),
    ({"read": backwards}, "read: does not follow the rows"),
    ({"read": marks_rows}, "read: changes the rows"),
    ({"read": leaves_a_note}, "index or read changes the files"),
    ({"read": centred}, "layer s1 differs when it is read by itself"),
    (sampled(lambda position, one: replace(one, label=position % 2)), "label differs when it is read by itself"),
    (sampled(lambda _, one: replace(one, label=0)), "label is 1 in the index and 0 in the sample"),
    (sampled(lambda _, one: replace(one, scene="x")), "scene differs between index and sample"),
    (sampled(lambda _, one: replace(one, offset=(1, 1))), r"is at \(0, 0\) in the index and \(1, 1\) in itself"),
    (sampled(lambda _, one: with_layer(one, one.layers["s1"].astype(np.float64))), "dtype float64 instead of float32"),
    (sampled(lambda _, one: with_layer(one, one.layers["s1"][..., :4])), r"\(8, 4\) pixels instead of \(8, 8\)"),
    (sampled(lambda _, one: replace(one, layers={})), "the sample has no layer"),
]


def test_the_small_archive_keeps_the_contract(tmp_path: Path) -> None:
    check_archive(SimpleNamespace(index=index, read=read, demo=demo), spec(), tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_every_fault_is_seen(tmp_path: Path, fault: dict[str, Any], words: str) -> None:
    archive = SimpleNamespace(**{"index": index, "read": read, "demo": demo, **fault})
    with pytest.raises(AssertionError, match=rf"^ponds.*{words}"):
        check_archive(archive, spec(), tmp_path)  # type: ignore[arg-type]


def test_a_layer_that_no_demo_shows_is_seen(tmp_path: Path) -> None:
    plain = spec()
    second = plain.layers[0].model_copy(update={"id": "s1_b", "stack": "s1_b"})
    about = plain.model_copy(update={"layers": (*plain.layers, second)})
    with pytest.raises(AssertionError, match=r"no sample has the layers \['s1_b'\]"):
        check_archive(SimpleNamespace(index=index, read=read, demo=demo), about, tmp_path)  # type: ignore[arg-type]
