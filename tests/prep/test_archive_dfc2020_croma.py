"""CROMA's torch file: read as torch reads it, and nothing in it is executed."""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from seamo.errors import ArchiveError
from seamo.testing.world import World
from seamo_prep import torchfile
from seamo_prep.archives import load_archive
from seamo_prep.torchfile import open_tensors
from seamo_prep.verify import verify
from tests.prep.published import built, read_samples

ID = "dfc2020-croma"
FILE = "DFC_preprocessed.pt"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("croma")
    load_archive(ID).demo(root, World(seed=5), "tiny")
    return root


def test_demo_has_the_published_tensors(demo: Path) -> None:
    assert {path.name for path in demo.iterdir()} == {"SYNTHETIC.json", FILE}
    found = torch.load(demo / FILE, weights_only=True)
    assert {name: (tuple(one.shape), one.dtype) for name, one in found.items()} == {
        "train_images": ((27, 14, 96, 96), torch.uint8),
        "train_labels": ((27, 96, 96), torch.int64),
        "validation_images": ((9, 14, 96, 96), torch.uint8),
        "validation_labels": ((9, 96, 96), torch.int64),
    }


def test_pixels_and_labels_are_those_that_torch_reads(demo: Path) -> None:
    tensors = torch.load(demo / FILE, weights_only=True)
    found = read_samples(ID, demo)
    assert len(found) == 36
    for sample in found:
        prefix, number = sample.key.split("/")
        image = tensors[f"{prefix}_images"][int(number)].numpy()
        np.testing.assert_array_equal(sample.layers["s2"][0], image[:12])
        np.testing.assert_array_equal(sample.layers["s1"][0], image[12:])
        np.testing.assert_array_equal(sample.label, tensors[f"{prefix}_labels"][int(number)])
        at = int(number)
        assert sample.scene == f"{prefix}/patch_{at // 9:04d}"
        assert sample.offset == (80 * (at % 9 // 3), 80 * (at % 3))


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_builds_with_patches_in_one_split(demo: Path, tmp_path: Path, layout: str) -> None:
    store = built(ID, demo, tmp_path, layout=layout)
    assert store.meta.counts.splits == {"train": 18, "val": 9, "test": 9}
    table = store.read_index(["split", "scene"])
    assert (table.groupby("scene")["split"].nunique() == 1).all()
    assert [one for one in verify(store, deep=True, leaks=False, say=lambda _: None) if one.severity == "error"] == []


def save(path: Path, **change: torch.Tensor) -> dict[str, torch.Tensor]:
    """Written by torch itself."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for prefix, count in (("train", 18), ("validation", 9)):
        shape = (count, 14, 96, 96)
        tensors[f"{prefix}_images"] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        tensors[f"{prefix}_labels"] = torch.randint(0, 8, (count, 96, 96), generator=generator)
    tensors |= change
    torch.save(tensors, path)
    return tensors


def test_files_of_torch_itself(tmp_path: Path) -> None:
    base = torch.arange(2 * 14 * 7 * 5, dtype=torch.float64).reshape(2, 7, 5, 14)
    views = {"moved": base.permute(0, 3, 1, 2), "part": base[1:, 2:, ::2], "half": base.half(), "empty": base[:0],
             "int8": base.to(torch.int8), "scalar": torch.tensor(3.5), "flag": torch.tensor([True, False])}  # fmt: skip
    torch.save(views, tmp_path / "x.pt")
    found = open_tensors(tmp_path / "x.pt")
    assert found.keys() == views.keys()
    for name, tensor in views.items():
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())
        assert not found[name].flags.writeable


def test_the_order_of_crops_is_seen_or_left_open(tmp_path: Path, demo: Path) -> None:
    save(tmp_path / FILE)  # noise: no crop shares anything with the next
    assert {sample.scene for sample in read_samples(ID, tmp_path)} == {""}
    tensors = torch.load(demo / FILE, weights_only=True)
    by_columns = {name: one.unflatten(0, (-1, 3, 3)).transpose(1, 2).flatten(0, 2) for name, one in tensors.items()}
    torch.save({name: one.contiguous() for name, one in by_columns.items()}, tmp_path / FILE)
    found = {sample.key: sample for sample in read_samples(ID, tmp_path)}
    assert found["train/00001"].offset == (80, 0)
    assert found["train/00010"].scene == "train/patch_0001"


def test_labels(tmp_path: Path) -> None:
    labels = torch.zeros((18, 96, 96), dtype=torch.int16)
    labels[0, 0, :3] = torch.tensor([7, -1, 255])
    save(tmp_path / FILE, train_labels=labels)
    assert read_samples(ID, tmp_path)[0].label[0, :4].tolist() == [7, 255, 255, 0]
    labels[0, 0, 0] = 8
    save(tmp_path / FILE, train_labels=labels)
    with pytest.raises(ArchiveError, match=r"train/00000: label 8 is no class"):
        read_samples(ID, tmp_path)


def test_shapes_and_types(tmp_path: Path) -> None:
    tensors = save(tmp_path / FILE, train_images=torch.zeros((18, 13, 96, 96), dtype=torch.uint8))
    with pytest.raises(ArchiveError, match=r"train_images is \(18, 13, 96, 96\)"):
        read_samples(ID, tmp_path)
    save(tmp_path / FILE, train_images=torch.zeros((18, 14, 96, 96)))
    with pytest.raises(ArchiveError, match=r"dtype float32 instead of uint8"):
        read_samples(ID, tmp_path)
    assert read_samples(ID, tmp_path, "dtype")[0].layers["s2"].dtype == np.uint8
    del tensors["train_labels"]
    torch.save(tensors, tmp_path / FILE)
    with pytest.raises(ArchiveError, match="has no tensors train_images and train_labels"):
        read_samples(ID, tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(ArchiveError, match=f"no {re.escape(FILE)}"):
        read_samples(ID, tmp_path)


class Evil:
    """Unpickling one writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def with_pickle(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("DFC_preprocessed/data.pkl", data)
        file.writestr("DFC_preprocessed/data/0", bytes(1000))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_malicious_pickle_is_refused_by_name_and_does_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "touched"
    with_pickle(tmp_path / FILE, pickle.dumps({"train_images": Evil(target)}, protocol=protocol))
    pickle.loads(pickle.dumps(Evil(target), protocol=protocol))  # noqa: S301 - to see that it would
    assert target.exists()
    target.unlink()
    with pytest.raises(ArchiveError, match=r"which is not (opened|followed)"):
        open_tensors(tmp_path / FILE)
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "asks for os.system"),
        (b"cbuiltins\neval\n.", "asks for builtins.eval"),
        (b"ctorch.storage\n_load_from_bytes\n.", "asks for torch.storage._load_from_bytes"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n}b.", "holds BUILD"),
        (b"(ios\nsystem\n.", "holds INST"),
        (b"\x80\x02r\xff\xff\xff\xff.", "holds LONG_BINPUT"),
        (b"\x80\x02\x82\x01.", "holds EXT1"),
        (b"\x80\x02]q\x00.", "holds EMPTY_LIST"),
        (b"\x80\x02(X\x01\x00\x00\x00aNNNNtQ.", "no storage"),
        (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "does not hold a dictionary of tensors"),
        (b"\x80\x02K\x01.", "does not hold a dictionary of tensors"),
        (b"\x80\x02}", "damaged pickle"),
        (b"", "damaged pickle"),
    ],
)
def test_pickles_that_are_no_dictionary_of_tensors(tmp_path: Path, data: bytes, why: str) -> None:
    with_pickle(tmp_path / FILE, data)
    with pytest.raises(ArchiveError, match=re.escape(why)):
        open_tensors(tmp_path / FILE)


def test_tensors_that_reach_beyond_their_storage(tmp_path: Path) -> None:
    torchfile.write_tensors(tmp_path / FILE, {"a": np.arange(12, dtype=np.uint8).reshape(3, 4)})
    assert open_tensors(tmp_path / FILE)["a"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with zipfile.ZipFile(tmp_path / FILE) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = next(one for one in members if one.endswith("data/0"))
    with zipfile.ZipFile(tmp_path / FILE, "w") as file:
        for one, data in members.items():
            file.writestr(one, data[:11] if one == name else data)
    with pytest.raises(ArchiveError, match="needs 12 numbers, its storage has 11"):
        open_tensors(tmp_path / FILE)
    with zipfile.ZipFile(tmp_path / FILE, "w", zipfile.ZIP_DEFLATED) as file:
        for one, data in members.items():
            file.writestr(one, data)
    with pytest.raises(ArchiveError, match="compressed"):
        open_tensors(tmp_path / FILE)
    del members[name]
    with zipfile.ZipFile(tmp_path / FILE, "w") as file:
        for one, data in members.items():
            file.writestr(one, data)
    with pytest.raises(ArchiveError, match="not there"):
        open_tensors(tmp_path / FILE)


def test_a_file_that_is_cut_short_or_old(tmp_path: Path) -> None:
    save(tmp_path / FILE)
    data = (tmp_path / FILE).read_bytes()
    for keep in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / FILE).write_bytes(data[:keep])
        with pytest.raises(ArchiveError, match="is not a zip, or cut short"):
            open_tensors(tmp_path / FILE)
    torch.save({"a": torch.zeros(2)}, tmp_path / FILE, _use_new_zipfile_serialization=False)
    with pytest.raises(ArchiveError, match="is not a zip"):
        open_tensors(tmp_path / FILE)
