"""`perf/`: what tables say of a result follows from its numbers."""

from pathlib import Path
from types import ModuleType

import pytest

PERF = Path(__file__).resolve().parents[1] / "perf"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    import tables

    return tables


def row(name: str, rates: list[float], **more: object) -> dict:
    return {"name": name, "title": name, "ours": name in ("zarr", "wds"), "rates": rates, "cpu_ms": [1.0] * len(rates),
            "stored_mb": 3.5, "first_batch_s": 0.1, "peak_mb": 500, "loads": [], **more}  # fmt: skip


ROWS = [
    row("zarr", [100.0, 300.0, 200.0]),
    row("wds", [400.0, 400.0, 400.0]),
    row("litdata", [50.0, 100.0, 200.0]),
    row("webdataset", [90.0, 90.0, 90.0]),
    row("zarr-python", [999.0, 999.0, 999.0]),  # not one of those whose best is the mark
]


def test_ours_is_held_against_the_best_of_the_others_round_by_round(tables: ModuleType) -> None:
    assert tables.ratio(ROWS, "zarr") == 2.0  # litdata's median is the largest: 2, 3 and 1 times
    assert tables.ratio(ROWS, "wds") == 4.0
    frugal = [
        row("zarr", [1.0], cpu_ms=[2.0]),
        row("mds", [1.0], cpu_ms=[9.0, 8.0, 7.0]),
        row("litdata", [1.0], cpu_ms=[10.0]),
    ]
    assert tables.cpu_ratio(frugal, "zarr") == 4.0


def test_a_page_shows_every_reader_and_what_was_not_cold(tables: ModuleType) -> None:
    cold = [row("zarr", [10.0], still_cached=[0.0]), row("litdata", [20.0], still_cached=[0.4])]
    document = {
        "command": "python perf/suite.py", "machine": "a machine", "load_after": 1.0,
        "native": True, "versions": {"numpy": "2", "litdata": None}, "missing": ["MosaicML streaming"],
        "peers_crop": "torch", "corpus": {"locations": 4, "batch": 2, "rounds": 3, "decoded_mb": 5.3},
        "groups": [{"name": "decode-2", "rows": ROWS}, {"name": "decode-2-cold", "rows": cold}],
        "limits_ms": {"memcpy": [1.0, 2.0, 4.0]}, "crops_cpu_ms": {"torch": [5.0]},
        "growth": [{"samples": 4, "build_s": [1.0], "build_cpu_s": [0.4], "read_s": [0.1], "read_cpu_s": [0.02]}],
    }  # fmt: skip
    text = tables.page(document)
    assert "Not installed: MosaicML streaming." in text
    assert "| **zarr** | 200 (100-300) |" in text
    assert "| litdata (not cold: the page cache kept it) | 20 (20-20) |" in text
    assert "| memcpy | 2.00 (1.00-4.00) | 500 |" in text
    assert "| 4 | 1.00 | 100.0 | 0.10 | 5.0 |" in text
