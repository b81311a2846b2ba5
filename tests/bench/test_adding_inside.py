"""The guides to adding a metric and a tab of the report: their files, put into the folder, are all that is needed."""

import re
import sys

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from seamo_bench.board import report
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import tabs
from seamo_bench.board.tables import to_text
from seamo_bench.predictions import ClassPredictions, Scoring
from seamo_bench.records.examine import verify
from seamo_bench.records.record import read_records
from seamo_bench.scores import measures, metrics
from tests.bench.test_report import HOSTILE, Page, put
from tests.conftest import ROOT


def code_of(page: str, language: str = "python") -> str:
    return re.search(
        rf"^```{language} title=[^\n]*\n(.*?)^```$", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )[1]


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Put a file into a folder of ours, as far as Python can tell."""

    def add(package, name: str, code: str, template: str = "") -> None:
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(code)
        (folder / f"{name}.html").write_text(template)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        metrics.metrics.cache_clear()

    yield add
    metrics.metrics.cache_clear()
    for name in [name for name in sys.modules if name.endswith((".measures.kappa", ".tabs.spread", ".measures.twice"))]:
        del sys.modules[name]


def test_a_metric_is_one_file(added, tmp_path):
    results = tmp_path / "results"
    for seed in range(2):
        put(results, "good-net", 0.9, seed=seed, dataset="world")
    before = read_records(results).records
    added(measures, "kappa", code_of("adding_a_metric.md"))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    scores = (rng.normal(size=(200, 4)) + np.eye(4)[labels]).astype(np.float32)
    predictions = ClassPredictions(np.array([f"k{i:03d}" for i in range(200)]), labels, scores)
    twice = rng.integers(0, 3, 200)
    want = [cohen_kappa_score(np.repeat(labels, n), np.repeat(scores.argmax(axis=1), n)) for n in (1, twice)]
    weights = np.stack([np.ones(200), twice.astype(float)])
    got = metrics.compute("kappa", predictions, Scoring("single-label"), weights)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    # Records from before stay valid, and tables compute what they lack.
    assert all("kappa" not in record.scores for record in before)
    assert [verify(record, results) for record in before] == [(), ()]
    text = to_text(build_table(read_records(results), results, metric_name="kappa", resamples=50))
    assert re.search(r"; Kappa\n +good-net +0\.\d{4} \[-?0\.\d{4}, 0\.\d{4}\]", text)  # no percent


def test_two_files_cannot_claim_one_metric(added):
    added(measures, "twice", code_of("adding_a_metric.md").replace('id="kappa"', 'id="top1"'))
    with pytest.raises(metrics.ProtocolError, match=r"top1.*twice"):
        metrics.metrics()


def test_a_tab_is_a_module_and_its_template(added, tmp_path):
    results = tmp_path / "results"
    for seed in range(2):
        put(results, HOSTILE, 0.6, seed=seed)
    put(results, "once", 0.8)
    report.write_report(results, tmp_path / "before.html", resamples=50)
    assert 'id="spread"' not in (tmp_path / "before.html").read_text()
    added(tabs, "spread", *(code_of("adding_a_report_tab.md", language) for language in ("python", "html")))
    report.write_report(results, tmp_path / "after.html", resamples=50)
    text = (tmp_path / "after.html").read_text()
    order = re.findall(r'<section id="([\w-]+)"', text)
    assert order[order.index("cost") : order.index("cost") + 3] == ["cost", "spread", "classes"]
    assert '<a href="#spread">Spread</a>' in text
    part = text[text.index('<section id="spread"') : text.index('<section id="classes"')]
    records = [record for record in read_records(results).records if record.facts.backbone.id == HOSTILE]
    runs = [100 * record.scores["top1"] for record in records]
    assert len(runs) == 2
    assert [float(cell) for cell in re.findall(r'<td class="num">([\d.]+)</td>', part)] == [
        pytest.approx(min(runs), abs=0.005),
        pytest.approx(max(runs), abs=0.005),
    ]
    assert "once" not in part
    Page(text)  # every tag closes
    assert "<script>alert" not in text
