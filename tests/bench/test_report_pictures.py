"""The report as it looks: pictures with 0, 6, 76 and 2,500 records, and what axe-core finds in it.

    pytest tests/bench/test_report_pictures.py --basetemp=pictures       # or SEAMO_PICTURES=folder
    SEAMO_AXE=axe.min.js pytest tests/bench/test_report_pictures.py -k axe

axe-core is not part of the project: without SEAMO_AXE the newest release is fetched by npm into a temporary folder.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from seamo_bench.board.report import write_report
from tests.bench.browser import PROGRAM, browser
from tests.bench.test_report import put
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here (chromium, google-chrome)")
MODELS = {
    "good-net": 0.9,
    "resnet18": 0.88,
    "seamo-demo-pretrain-statistics": 0.8,
    "seamo-demo-pretrain-statistics-random": 0.7,
    "croma-base": 0.86,
    "dofa-base": 0.6,
}
COLUMNS = ({"dataset": "eurosat"}, {"dataset": "world"}, {"dataset": "world", "kind": "segmentation"})
OPEN = "document.querySelectorAll('section:not([hidden]) details').forEach((one) => (one.open = true))"
SIZES = [0, *(pytest.param(count, marks=pytest.mark.soak) for count in (6, 76, 2500))]


def fill(folder: Path, count: int) -> None:
    """Synthetic records: of toys, or of 17 models over 30 columns (`perf/records.py`)."""
    folder.mkdir()
    if count == 2500:
        sys.path.insert(0, str(ROOT / "perf"))
        try:
            from records import invent

            invent(folder, records=2500, columns=30, samples=60)
        finally:
            sys.path.remove(str(ROOT / "perf"))
        return
    runs = [(name, right, seed, column) for seed in range(3) for column in COLUMNS for name, right in MODELS.items()]
    runs += [("image-statistics", 0.5, 0, column) for column in COLUMNS]
    for name, right, seed, column in runs[: min(count, 57)]:
        put(folder, name, right, seed=seed, floor="image statistics" if name == "image-statistics" else "", **column)
    for number in range(count - 57):
        put(folder, f"blind-{number}", 0, status="impossible")
    assert len(list(folder.glob("*.json"))) == count


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """Count -> the page of that many records, made when it is first asked for."""
    made: dict[int, Path] = {}

    def get(count: int) -> Path:
        if count not in made:
            folder = tmp_path_factory.mktemp("boards") / f"records-{count}"
            fill(folder, count)
            made[count] = folder / "report.html"
            began = time.monotonic()
            write_report(folder, made[count], resamples=1000 if count == 2500 else 100)
            assert time.monotonic() - began < 60
        return made[count]

    return get


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    with browser(profile) as one:
        yield one
    shutil.rmtree(profile, ignore_errors=True)


def tabs(page) -> list[str]:
    return page.js("[...document.querySelectorAll('main > section')].map((one) => one.id)")


def show(page, name: str) -> None:
    page.js(f"go({{ tab: {name!r} }}, false)")


@pytest.mark.parametrize("count", SIZES)
def test_pictures_of_every_tab_wide_and_narrow_light_and_dark(boards, window, tmp_path, count):
    path = boards(count)
    assert path.stat().st_size < 15e6
    folder = Path(os.environ.get("SEAMO_PICTURES", tmp_path)) / f"records-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    opened: list[float] = []
    for width in (1400, 390):
        for scheme in ("light", "dark"):
            window.size(width, 900)
            window.media(scheme=scheme)
            began = time.monotonic()
            window.open(path)
            window.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            opened.append(time.monotonic() - began)
            for name in tabs(window) or [""]:
                show(window, name)
                assert window.js("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                window.size(width, max(900, min(3000, window.js("document.documentElement.scrollHeight"))))
                picture = folder / f"{name or 'empty'}-{width}-{scheme}.png"
                window.picture(picture)
                assert picture.stat().st_size > 5000
                window.size(width, 900)
            assert not [one for one in window.events if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert min(opened) < 3  # the best of four: others may be at work here, too
    if count:
        assert window.js("document.documentElement.scrollHeight") < 17_640


def axe_source(folder: Path) -> str:
    """The text of axe-core; a test without it is skipped, with the reason in the summary."""
    if given := os.environ.get("SEAMO_AXE"):
        return Path(given).read_text(encoding="utf-8")
    if shutil.which("npm") is None:
        pytest.skip("axe-core is not there: set SEAMO_AXE to an axe.min.js, or install npm")
    done = subprocess.run(["npm", "pack", "axe-core"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch axe-core: {done.stderr.strip()[-200:]}")
    (packed,) = folder.glob("axe-core-*.tgz")
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode("utf-8")


@pytest.mark.soak
def test_axe_finds_nothing_serious(boards, window, tmp_path):
    """Every tab, folds open, in both themes and both widths, and the origin of a score."""
    source = axe_source(tmp_path)
    found = {}
    for count in (0, 76):
        for width in (1400, 390):
            for scheme in ("light", "dark"):
                window.size(width, 900)
                window.media(scheme=scheme)
                window.open(boards(count))
                window.js(source)
                for name in [*tabs(window), "drawer"] if count else [""]:
                    if name == "drawer":
                        show(window, "overview")
                        window.js("document.querySelector('#overview a.why').click()")
                    else:
                        show(window, name)
                        window.js(OPEN)
                    told = window.js("axe.run().then((one) => JSON.stringify(one.violations))")
                    for one in json.loads(told):
                        if one["impact"] in ("serious", "critical"):
                            nodes = [node["html"][:160] for node in one["nodes"][:3]]
                            found[one["id"], name] = (scheme, width, one["help"], nodes)
                    window.js("document.getElementById('drawer').close?.()")
    assert not found
