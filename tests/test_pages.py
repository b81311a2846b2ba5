"""Every fenced block of every page runs, or says above itself why not; guides run here, on small synthetic stores.

Pages with tests of their own: tutorials (`test_tutorials.py`), own data (`test_guide_own_data.py`), a team's day
(`test_team.py`), why two numbers differ (`test_why_planted.py`), the label audit (`test_audit.py`), the store's format
(`test_doctests.py`), testing (`test_testing_page.py`).
"""

import re
import shutil
import sys
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.bands import S2_L2A
from seamo_bench.board.report import tabs
from seamo_bench.scores import measures, metrics
from seamo_bench.zoo import catalogue
from tests.conftest import ROOT
from tests.pages import MAINS, NOT_RUN, blocks_of, called, run_guide, work_in

PAGES = sorted((ROOT / "docs").rglob("*.md")) + [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "changes/README.md",
        "examples/README.md",
    )
]
ELSEWHERE = {"audit.md", "guide-own-data.md", "guide-team.md", "store.md", "testing.md", "why.md"}
# Page -> what of the world below it works with, and how many commands and pieces of Python run at least.
GUIDES = {
    "README.md": ("stores runs", 1),
    "docs/adding_a_backbone.md": ("stores", 3),
    "docs/adding_a_dataset.md": ("", 4),
    "docs/adding_a_metric.md": ("results", 1),
    "docs/adding_a_protocol.md": ("stores", 3),
    "docs/adding_a_report_tab.md": ("results", 1),
    "docs/buckets.md": ("bucket stores", 9),
    "docs/contested.md": ("", 6),
    "docs/coverage.md": ("stores", 2),
    "docs/exchange.md": ("stores", 5),
    "docs/expectations.md": ("stores runs", 2),
    "docs/guide-benchmark.md": ("stores results runs", 11),
    "docs/guide-cluster.md": ("bucket stores", 2),
    "docs/guide-prepare.md": ("raw", 15),
    "docs/guide-pretrain.md": ("stores region", 8),
    "docs/overlap.md": ("", 8),
    "docs/referee.md": ("stores", 4),
    "docs/report.md": ("stores results", 2),
    "docs/reference/python.md": ("stores", 5),
    "docs/roots.md": ("stores tar", 6),
    "docs/seasons.md": ("", 9),
    "docs/spatial.md": ("", 3),
    "docs/synthetic-world.md": ("", 3),
    "docs/use.md": ("stores runs", 6),
}
DATA = ("eurosat", "eurosat-sar", "bigearthnet-v1", "ssl4eo-s12", "segmunich", "glh-water", "s1s2-water-s2")
# What makes a pretraining of a page small enough for a test; what the page itself sets comes later, and wins.
SMALL = "--device cpu --set optimiser.batch=4 " + " ".join(
    f"--set stage{one}.epochs=1 --set stage{one}.warmup_epochs=0" for one in (1, 2)
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    text = page.read_text("utf-8")
    blocks = blocks_of(text)
    assert 2 * len(blocks) == len(re.findall(r"^\s*```", text, re.MULTILINE)), "a fence that no test sees"
    for block in blocks:
        assert not block.reason or block.reason in NOT_RUN
        if block.kind == "text" and page.name != "cli.md":  # nothing that one would paste
            first = [line.split()[0] for line in block.text.splitlines() if line.strip()]
            assert not {"$", "python", "make", "pip", *MAINS} & set(first), block.text
    runs = [block for block in blocks if block.kind in ("sh", "console", "python") and not block.file]
    if any(not block.reason for block in runs):
        tutorial = page.name.startswith("tutorial-")
        assert [tutorial, page.name in ELSEWHERE, name_of(page) in GUIDES].count(True) == 1


def test_what_is_not_run_is_little_and_every_reason_is_needed() -> None:
    why = Counter(
        block.reason for page in PAGES if page.parent.name != "datasets" for block in blocks_of(page.read_text("utf-8"))
    )
    run = why.pop("")
    assert set(why) == set(NOT_RUN)
    assert sum(why.values()) <= 32
    assert run > 6 * sum(why.values())


def write_tile(path: Path, bands: list[str], low: float, high: float, dtype: str) -> None:
    """A GeoTIFF of noise with named bands, 10 m, in UTM."""
    pixels = np.random.default_rng(0).uniform(low, high, (len(bands), 160, 160)).astype(dtype)
    transform = rasterio.Affine(10, 0, 500000, 0, -10, 5300000)
    with rasterio.open(
        path, "w", driver="GTiff", width=160, height=160, count=len(bands), dtype=dtype, crs=32632, transform=transform
    ) as file:
        file.write(pixels)
        file.descriptions = bands


def prepare(place: Path, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the examples of the pages name beside stores and runs: images, packages, another team's store."""
    optical, radar = [name for name in S2_L2A if name != "B10"], ["VV", "VH"]
    write_tile(place / "tile.tif", optical, 300, 3000, "uint16")
    write_tile(place / "munich.tif", optical, 300, 3000, "uint16")
    write_tile(place / "five.tif", [""] * 5, 300, 3000, "uint16")
    write_tile(place / "radar.tif", radar, -20, -5, "float32")
    if "region" in needs:
        for command in (
            "seamo-prep demo theirs --only ssl4eo-s12 --seed 8",
            "seamo-prep build ssl4eo-s12 --raw theirs --store others",
        ):
            assert called(command, monkeypatch) == 0
        shutil.copytree(next((place / "others/ssl4eo-s12").glob("*/store.json")).parent, place / "stores/our-region")
    if "tar" in needs:
        source = next((place / "stores/eurosat").glob("*/store.json")).parent
        assert called(f"seamo-prep copy {source} stores --layout webdataset", monkeypatch) == 0
    if "raw" in needs:
        for one in ("bigearthnet-v1", "ssl4eo-s12"):
            assert called(f"seamo-prep build {one} --raw raw --store stores", monkeypatch) == 0
    # The packages of `examples/` as `pip install` leaves them; files in folders of ours, as far as Python can tell.
    info = place / "examples/mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = tomllib.loads((ROOT / "examples/pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{one} = {where}\n" for one, where in names.items())
        for group, names in points.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(place / "examples")
    catalogue.cards.cache_clear()
    for package in (measures, tabs):
        folder = place / "benchmarks" / Path(*package.__name__.split("."))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    metrics.metrics.cache_clear()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RAW, stores, a run, results: what a reader of a guide has."""
    place = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        commands = [
            f"seamo-prep demo raw --size tiny --only {','.join(DATA)}",
            *(f"seamo-prep build {one} --raw raw --store stores" for one in DATA),
            f"seamo pretrain seamo-tiny {SMALL} --store stores/ssl4eo-s12 --out runs/one",
            "seamo-bench run first --stores stores --results results",
            "seamo-bench run dense.yaml --stores stores --results results",
        ]
        (place / "dense.yaml").write_text(
            "id: maps\ntitle: Maps\nbackbones: [runs/one@pretrain]\nrows:\n  - {store: segmunich, protocol: dense, "
            "missing: select-columns, seeds: 1, params: {head: linear, frozen: true, epochs: 1, warmup: 0, "
            "base_lrs: [1.0e-3]}}\n"
        )
        for command in commands:
            assert called(command, patch) == 0, command
    (place / "results").rename(place / "kept")
    shutil.copytree(place / "runs/one", place / "runs/seamo-base-seed0")
    return place


@pytest.mark.soak
@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_runs_as_it_stands(
    page: str,
    world: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    needs, least = GUIDES[page]
    place = tmp_path / "place"
    place.mkdir()
    work_in(place, monkeypatch)
    for name in {"raw", "stores", "runs", "results"} & set(needs.split()):
        shutil.copytree(world / ("kept" if name == "results" else name), place / name)
    bucket = request.getfixturevalue("bucket") if "bucket" in needs else "s3://our-bucket"
    if "bucket" in needs:
        for store in ("eurosat", "eurosat-sar", "bigearthnet-v1", "ssl4eo-s12"):
            assert called(f"seamo-prep copy stores/{store} {bucket}/stores", monkeypatch) == 0
    prepare(place, needs, monkeypatch)

    def record(match: re.Match[str]) -> str:
        """What stands for a shortened key: for `predict` a record of maps."""
        wanted = "dense" if "predict" in match.string else ""
        return next(str(one) for one in sorted(Path("results").glob("*.json")) if wanted in one.read_text("utf-8"))

    def real(text: str) -> str:
        text = re.sub(r"\w+/(?:[0-9a-f]+\.\.\.|RECORD)\.json", record, text)
        # On a busy machine longer than the page waits.
        text = text.replace("sleep 20", "until grep -q . runs/stopped/curves.csv; do sleep 1; done")
        return re.sub(r"(seamo pretrain [\w-]+)", rf"\1 {SMALL}", text).replace("s3://our-bucket", bucket)

    Path("credentials").write_text("[team]\naws_access_key_id = never-used\naws_secret_access_key = never-used\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(place / "credentials"))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "keeper")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "keeper@example.org")
    blocks = blocks_of((ROOT / page).read_text("utf-8"))
    try:
        assert run_guide(blocks, monkeypatch, capfd, real) >= least
    finally:
        catalogue.cards.cache_clear()
        metrics.metrics.cache_clear()
        for name in [one for one in sys.modules if one.partition(".")[0] in ("my_models", "lakes_package")]:
            del sys.modules[name]
