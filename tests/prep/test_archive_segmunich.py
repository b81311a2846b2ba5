"""SegMunich against tifffile and Pillow, in both forms of its images."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from seamo.errors import ArchiveError
from seamo.store.reader import open_store
from seamo.testing.world import World
from seamo_prep.archives import segmunich
from tests.prep.archive_checks import built_twice, paths_match, read_all, rows_of
from tests.prep.demo_stores import build_quietly

# The author's order (SpectralGPT issue 31), and the values of the SpectralGPT loader with their ids, typed again here.
ORDER = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
IDS = {0: 0, 21: 1, 22: 2, 23: 3, 31: 4, 5: 5, 32: 6, 33: 7, 41: 8, 13: 9, 14: 10, 11: 11, 12: 12}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("segmunich")
    segmunich.demo(root, World(seed=3), "tiny")
    return root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "raw"))


def image(root: Path, stem: str = "00001", folder: str = "train") -> Path:
    return root / "TUM_128" / folder / "img" / f"{stem}.tif"


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    paths_match(clean, [
        r"TUM_128/dataset/(train|test)\.txt",
        r"TUM_128/(train|test)/img/[^/]+\.tif",
        r"TUM_128/(train|test)/label/[^/]+\.tif",
    ])  # fmt: skip
    for path in clean.rglob("img/*.tif"):
        found = tifffile.imread(path)
        assert (found.shape, found.dtype) == ((128, 128, 10), np.float32)
        label = Image.open(path.parent.parent / "label" / path.name)
        assert (label.mode, label.size) == ("P", (128, 128))
        assert set(np.unique(np.asarray(label))) <= set(IDS)


def test_pixels_and_labels_are_those_of_other_readers(clean: Path) -> None:
    samples = read_all("segmunich", clean)
    files = sorted(clean.rglob("img/*.tif"))
    assert len(samples) == len(files) == 13
    for path in files:
        sample = samples[f"{path.parent.parent.name}/{path.stem}"]
        expected = tifffile.imread(path)
        for position, name in enumerate(ORDER):
            np.testing.assert_array_equal(sample.layers["s2"][0, position], expected[:, :, position], err_msg=name)
        published = np.asarray(Image.open(path.parent.parent / "label" / path.name))
        np.testing.assert_array_equal(sample.label, np.vectorize(IDS.get)(published))
    assert len({int(i) for one in samples.values() for i in np.unique(one.label)}) >= 8


def test_builds_in_both_layouts(clean: Path, tmp_path: Path) -> None:
    store = built_twice("segmunich", clean, tmp_path)
    assert list(store.spec.layer("s2").bands) == ORDER
    assert len(store.spec.label_space().names) == 13
    # The published second list is the test split; val comes out of train.
    assert store.meta.counts.splits == {"train": 6, "val": 3, "test": 4}


def test_an_image_stored_a_page_a_row_is_the_same_image(root: Path) -> None:
    before = read_all("segmunich", root)["train/00001"]
    pixels = tifffile.imread(image(root))
    tifffile.imwrite(image(root), pixels)  # without hints: 128 pages of 128 x 10
    with tifffile.TiffFile(image(root)) as file:
        assert (len(file.pages), file.pages[0].shape) == (128, (128, 10))
    np.testing.assert_array_equal(read_all("segmunich", root)["train/00001"].layers["s2"], before.layers["s2"])


def test_a_folder_called_val_is_the_test_split(root: Path) -> None:
    (root / "TUM_128/test").rename(root / "TUM_128/val")
    (root / "TUM_128/dataset/test.txt").rename(root / "TUM_128/dataset/val.txt")
    rows = rows_of("segmunich", root)
    assert dict(zip(rows["key"], rows["split"], strict=True))["val/00010"] == "test"
    assert set(rows["split"]) == {"train", "test"}
    shutil.copytree(root / "TUM_128/val", root / "TUM_128/test")
    with pytest.raises(ArchiveError, match="holds test and val"):
        rows_of("segmunich", root)


@pytest.mark.parametrize("dtype", ["float64", "uint16"])
def test_another_type_is_taken_and_recorded(root: Path, dtype: str, tmp_path: Path) -> None:
    for path in root.rglob("img/*.tif"):
        tifffile.imwrite(path, tifffile.imread(path).astype(dtype), planarconfig="contig", metadata=None)
    store = open_store(build_quietly("segmunich", root, tmp_path / "stores").path)
    ledger = (store.path / "ledger.json").read_text()
    assert f"images are {dtype}; the store holds float32" in ledger
    sample = store[store.row("train/00001")]
    np.testing.assert_array_equal(sample.layers["s2"][0], tifffile.imread(image(root)).transpose(2, 0, 1))


def test_mixed_types_and_values_that_do_not_fit_are_refused(root: Path) -> None:
    pixels = tifffile.imread(image(root, "00002"))
    tifffile.imwrite(image(root, "00002"), pixels.astype("float64"), planarconfig="contig", metadata=None)
    with pytest.raises(ArchiveError, match=r"00002\.tif: dtype float64 where the first image has float32"):
        read_all("segmunich", root)
    for path in root.rglob("img/*.tif"):
        tifffile.imwrite(path, np.full((128, 128, 10), 2**24 + 1, "int32"), planarconfig="contig", metadata=None)
    with pytest.raises(ArchiveError, match="values of dtype int32 do not fit float32"):
        read_all("segmunich", root)


def test_a_label_value_that_is_no_class(root: Path) -> None:
    path = root / "TUM_128/train/label/00001.tif"
    values = np.array(Image.open(path))
    values[3, 4] = 7
    Image.fromarray(values).save(path)
    with pytest.raises(ArchiveError, match=r"label/00001\.tif: mask holds 7, which is no class.*: 0, 5, 11, 12"):
        read_all("segmunich", root)


def test_lists_decide_which_tiles_there_are(root: Path, tmp_path: Path) -> None:
    lists = root / "TUM_128/dataset"
    (lists / "train.txt").write_text("00001.tif\n00002\n00099\n")
    (lists / "test.txt").unlink()
    rows = rows_of("segmunich", root)
    assert list(rows["key"]) == ["test/00010", "test/00011", "test/00012", "test/00013", "train/00001", "train/00002"]
    ledger = dict(rows.attrs["ledger"])
    assert ledger["TUM_128/train/img/00099.tif"] == "in dataset/train.txt, but not there"
    assert ledger["TUM_128/train/img/00003.tif"] == "not in dataset/train.txt"
    assert ledger["TUM_128/dataset/test.txt"] == "not there; every tile of its folder is taken"
    (root / "SYNTHETIC.json").unlink()  # as if it were the published archive, of which a tile is missing
    store = open_store(build_quietly("segmunich", root, tmp_path / "stores").path)
    assert store.meta.subset == "6 of 7 listed tiles"
    (lists / "train.txt").write_text("00001\n00001\n")
    with pytest.raises(ArchiveError, match="names 00001 twice"):
        rows_of("segmunich", root)


BAD = {
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "cut short|cannot be decoded"),
    "no TIFF": (lambda p: p.write_bytes(b"nothing"), "not a TIFF"),
    "nine bands": (
        lambda p: tifffile.imwrite(p, np.zeros((128, 128, 9), "f4"), planarconfig="contig", metadata=None),
        "9 bands instead of 10",
    ),
    "small": (
        lambda p: tifffile.imwrite(p, np.zeros((64, 128, 10), "f4"), planarconfig="contig", metadata=None),
        "64 x 128 pixels instead of 128 x 128",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_images_name_themselves(root: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(image(root, "00003"))
    with pytest.raises(ArchiveError, match=message) as caught:
        read_all("segmunich", root)
    assert str(image(root, "00003")) in str(caught.value)


def test_image_and_label_belong_together(root: Path) -> None:
    path = root / "TUM_128/train/label/00002.tif"
    Image.fromarray(np.zeros((128, 127), np.uint8)).save(path)
    with pytest.raises(ArchiveError, match=r"is uint8 \(1, 128, 127\) instead of whole numbers \(1, 128, 128\)"):
        read_all("segmunich", root)
    path.unlink()
    with pytest.raises(ArchiveError, match=re.escape(f"{path}: the file is not there, but its img is")):
        rows_of("segmunich", root)
