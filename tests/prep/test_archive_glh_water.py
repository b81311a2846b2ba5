"""GLH-Water against Pillow: tiles, masks, one image at a time, the limit on large pictures."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seamo.errors import ArchiveError
from seamo.testing.world import World
from seamo_prep.archives import glh_water
from tests.prep.archive_checks import built_twice, paths_match, read_all, rows_of, same_samples

STEM = "Optical_000001"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("glh")
    glh_water.demo(root, World(seed=3), "tiny")
    return root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "raw"))


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    paths_match(clean, [r"(train|val|test)/img/\w+\.jpg", r"(train|val|test)/label/\w+\.png"])
    for path in clean.rglob("*.jpg"):
        image = Image.open(path)
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1024, 1024))
        label = Image.open(path.parent.parent / "label" / f"{path.stem}.png")
        assert (label.format, label.mode, label.size) == ("PNG", "L", (1024, 1024))
        assert set(np.unique(np.asarray(label))) == {0, 255}


def test_tiles_are_those_of_another_reader(clean: Path) -> None:
    samples = read_all("glh-water", clean)
    files = sorted(clean.rglob("*.jpg"))
    assert len(samples) == 4 * len(files) == 16
    for path in files:
        image = np.asarray(Image.open(path))
        label = np.asarray(Image.open(path.parent.parent / "label" / f"{path.stem}.png"))
        for y0 in (0, 512):
            for x0 in (0, 512):
                one = samples[f"{path.parent.parent.name}/{path.stem}/y{y0:05d}_x{x0:05d}"]
                expected = image[y0 : y0 + 512, x0 : x0 + 512]
                assert one.layers["rgb"].shape == (1, 3, 512, 512)
                for channel in range(3):
                    np.testing.assert_array_equal(one.layers["rgb"][0, channel], expected[:, :, channel])
                np.testing.assert_array_equal(one.label, label[y0 : y0 + 512, x0 : x0 + 512] // 255)
                assert one.offset == (y0, x0)
                assert one.geo is None


def test_builds_in_both_layouts(clean: Path, tmp_path: Path) -> None:
    store = built_twice("glh-water", clean, tmp_path)
    assert store.meta.counts.splits == {"train": 8, "val": 4, "test": 4}
    assert store.spec.layer("rgb").bands == ("R", "G", "B")


def test_a_published_image_gives_625_tiles(root: Path) -> None:
    (root / "SYNTHETIC.json").unlink()
    rows = rows_of("glh-water", root)
    assert len(rows) == 4 * 25 * 25
    assert rows["y0"].max() == rows["x0"].max() == 12_800 - 512
    with pytest.raises(ArchiveError, match=r"\.jpg: 1024 x 1024 pixels instead of 12800 x 12800.*--relax shape"):
        read_all("glh-water", root)
    assert len(read_all("glh-water", root, "shape")) == 16


def test_each_image_is_opened_once_and_alone(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Image.Image] = []
    most = 0
    real = Image.open

    def watch(source: object, **options: object) -> Image.Image:
        nonlocal most
        opened.append(real(source, **options))
        most = max(most, sum("ImagingCore" in str(type(one._im)) for one in opened))
        return opened[-1]

    monkeypatch.setattr(Image, "open", watch)
    assert len(read_all("glh-water", clean)) == 16
    assert len(opened) == 8  # four images and four masks
    assert most == 1  # when another file is opened, at most the image of this mask is in memory


def test_the_limit_on_large_pictures_is_left_as_it_is(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700_000)  # the demo's images are to this what 12,800 is to Pillow's
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_all("glh-water", clean)) == 16
    assert Image.MAX_IMAGE_PIXELS == 700_000
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(next(clean.rglob("*.jpg"))).close()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400_000)
    with pytest.raises(ArchiveError, match=r"\.jpg: cannot be decoded \(.*decompression bomb"):
        read_all("glh-water", clean)


def test_folders_and_zips_around_the_splits(clean: Path, tmp_path: Path) -> None:
    expected = read_all("glh-water", clean)
    shutil.copytree(clean, tmp_path / "nested/GLH-Water")
    shutil.move(tmp_path / "nested/GLH-Water/SYNTHETIC.json", tmp_path / "nested")
    same_samples(read_all("glh-water", tmp_path / "nested"), expected)
    for split in ("train", "val", "test"):
        shutil.make_archive(str(tmp_path / "zips" / split), "zip", clean, split)
    shutil.copy(clean / "SYNTHETIC.json", tmp_path / "zips")
    same_samples(read_all("glh-water", tmp_path / "zips"), expected)
    shutil.copytree(clean / "val", tmp_path / "nested/val")
    with pytest.raises(ArchiveError, match="the split val is there twice"):
        rows_of("glh-water", tmp_path / "nested")


def test_names_that_keys_cannot_hold(root: Path) -> None:
    for kind, ending in (("img", "jpg"), ("label", "png")):
        (root / f"train/{kind}/{STEM}.{ending}").rename(root / f"train/{kind}/a b.1 (2).{ending}")
    assert "train/a-b-1--2-/y00000_x00512" in read_all("glh-water", root)


def test_masks_in_other_modes(root: Path) -> None:
    path = root / f"train/label/{STEM}.png"
    before = read_all("glh-water", root)
    for mode in ("1", "P", "RGB"):
        Image.open(path).convert(mode).save(path)
        same_samples(read_all("glh-water", root), before)


def test_labels_and_images_belong_together(root: Path) -> None:
    image, label = root / f"train/img/{STEM}.jpg", root / f"train/label/{STEM}.png"
    (root / "train/img/notes.txt").write_text("x")
    (root / "train/label/other.png").write_bytes(label.read_bytes())
    ledger = rows_of("glh-water", root).attrs["ledger"]
    assert ledger == [("train/img/notes.txt", "not a .jpg"), ("train/label/other.png", "without its image")]
    label.unlink()
    with pytest.raises(ArchiveError, match=rf"label/{STEM}\.png: the file is not there, but its image is"):
        rows_of("glh-water", root)
    shutil.rmtree(root / "train/label")  # labels that were not brought at all
    assert read_all("glh-water", root)[f"train/{STEM}/y00000_x00000"].label is None
    assert image.is_file()


def change_mask(root: Path, value: int) -> None:
    path = root / f"train/label/{STEM}.png"
    pixels = np.array(Image.open(path))
    pixels[600, 600] = value
    Image.fromarray(pixels).save(path)


BAD = {
    "mask of 0 and 1": (lambda r: change_mask(r, 1), rf"{STEM}\.png: mask holds 1, which is no class"),
    "grey image": (
        lambda r: Image.open(r / f"train/img/{STEM}.jpg").convert("L").save(r / f"train/img/{STEM}.jpg"),
        "mode L instead of RGB",
    ),
    "cut image": (
        lambda r: (r / f"train/img/{STEM}.jpg").write_bytes((r / f"train/img/{STEM}.jpg").read_bytes()[:9000]),
        rf"{STEM}\.jpg: cannot be decoded",
    ),
    "cut mask": (
        lambda r: (r / f"train/label/{STEM}.png").write_bytes((r / f"train/label/{STEM}.png").read_bytes()[:900]),
        rf"{STEM}\.png: cannot be decoded",
    ),
    "another format": (
        lambda r: Image.open(r / f"train/label/{STEM}.png").save(r / f"train/img/{STEM}.jpg", format="PNG"),
        rf"{STEM}\.jpg: cannot be decoded",
    ),
    "small mask": (
        lambda r: Image.new("L", (512, 1024)).save(r / f"train/label/{STEM}.png"),
        "1024 x 512 pixels instead of 1024 x 1024",
    ),
    "nothing": (lambda r: [shutil.rmtree(r / split) for split in ("train", "val", "test")], "no images in train/img"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_archives_name_what_is_wrong(root: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(root)
    with pytest.raises(ArchiveError, match=message):
        read_all("glh-water", root)
