"""Pretraining on the real samples: it runs, learns and reaches a report. Nothing is claimed from so few."""

import csv
import datetime
import json
import sys

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine

from seamo.pretrain.logs import read_curves
from seamo.pretrain.loop import pretrain
from seamo.pretrain.recipe import load_recipe
from seamo.store.reader import open_store
from seamo.use.inputs import load_pretrained
from seamo.use.pooled import Reading, embed_store
from seamo_bench.cli import main
from tests.prep.demo_stores import build_quietly

S2_BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
SMALL = ["machine.threads=1", "model.dim=64", "model.depth=2", "model.heads=4"]


def bench(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["seamo-bench", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main()
    done = capsys.readouterr()
    assert stopped.value.code == 0, done.err
    return done.out


@pytest.mark.soak
def test_stage_one_on_the_real_pairs_reaches_the_report(samples, tmp_path, monkeypatch, capsys):
    pairs = 0
    for folder in (samples / "bigearthnet_v1", samples / "bigearthnet_v1_configilm"):
        for row in csv.DictReader((folder / "index.csv").open()):
            patches = {"BigEarthNet-v1.0": row["s2_name"], "BigEarthNet-S1-v1.0": row["s1_name"]}
            if not all(name and (folder / top / name).is_dir() for top, name in patches.items()):
                continue  # one of the two is not among the samples
            pairs += 1
            for top, name in patches.items():
                (tmp_path / "raw" / top).mkdir(parents=True, exist_ok=True)
                (tmp_path / "raw" / top / name).symlink_to(folder / top / name)
    assert pairs == 36
    store = open_store(build_quietly("bigearthnet-v1", tmp_path / "raw", tmp_path / "stores").path)
    assert store.title == "BigEarthNet-MM v1.0 subset (36 of 590,326)"
    assert len(store.rows("train")) == 24

    changes = ["data.stacks={s2: s2, s1: s1}", "stage1={epochs: 30, warmup_epochs: 3}"]
    changes += ["stage2={epochs: 0, warmup_epochs: 0}", "optimiser={batch: 12, base_lr: 0.03}", "machine.threads=1"]
    run = tmp_path / "run"
    pretrain(load_recipe("seamo-tiny", changes), store, run)
    loss = read_curves(run)["loss"]
    assert len(loss) == 60  # 24 places / 12, 30 times
    # Means of an epoch, because crops and masks differ from batch to batch.
    assert np.mean(loss[-4:]) < 0.8 * np.mean(loss[:2])

    suite = tmp_path / "real.yaml"
    backbones = [str(run), f"{run}@random:0", "image-statistics"]
    rows = [{"store": "bigearthnet-v1", "protocol": "knn"}, {"store": "bigearthnet-v1", "protocol": "logreg"}]
    suite.write_text(yaml.safe_dump({"id": "real", "backbones": backbones, "rows": rows}))
    where = ("--stores", tmp_path / "stores", "--results", tmp_path / "out", "--threads", 1)
    written = json.loads(bench(monkeypatch, capsys, "run", suite, *where, "--json"))
    assert {row["status"] for row in written} == {"ok"}
    bench(monkeypatch, capsys, "report", tmp_path / "out", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    # Both floors are beside it, the subset is named, and it is said that the test places' data set was pretrained on.
    for text in (store.title, "floor: image statistics", "floor: random init", "run-random", "seen-in-pretraining"):
        assert text in page


def test_stage_two_on_the_real_place_of_two_dates(samples, tmp_path):
    store = open_store(
        build_quietly("ssl4eo-s12", samples / "ssl4eo_s12", tmp_path / "stores", relax=("seasons",)).path
    )
    assert "subset (1 of" in store.title
    changes = ["data.split=all", "optimiser.batch=1", *SMALL]
    changes += ["stage1={epochs: 2, warmup_epochs: 0}", "stage2={epochs: 3, warmup_epochs: 0}"]
    run = tmp_path / "run"
    pretrain(load_recipe("seamo-tiny", changes), store, run)
    curves = read_curves(run)
    assert curves["stage"] == [1, 1, 2, 2, 2]
    assert np.isfinite(curves["loss"]).all()
    # Two of the four dates are there: they count, the others do not. 2 images in stage 1, 4 in stage 2.
    assert curves["images"] == [2, 2, 4, 4, 4]
    assert curves["s2_t1"][-1] > 0
    assert [curves[f"{sensor}_t{t}"][-1] for sensor in ("s2", "s1") for t in (2, 3)] == [0.0] * 4


def clearest_dates(series, year):
    """Position of the clearest Sentinel-2 date of each quarter from September on, where one is mostly clear."""
    days = series["s2_dates"].astype("datetime64[D]")
    found = []
    for month in (9, 12, 15, 18):
        first = np.datetime64(datetime.date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1))
        inside = np.flatnonzero((days >= first) & (days < first + 91))
        best = inside[np.argmax(series["clear_frac"][inside])] if len(inside) else -1
        if best >= 0 and series["clear_frac"][best] > 0.9:
            found.append(int(best))
    return found


def write_folder(samples, raw):
    """One's own imagery from the two real series: four dates a place, each with the nearest radar image."""
    raw.mkdir()
    place = {"sensor": "s2", "product": "L2A", "bands": S2_BANDS, "gsd_m": 10, "dtype": "uint16", "unit": "dn"}
    radar = {"sensor": "s1", "product": "GRD", "bands": ["VV", "VH"], "gsd_m": 20, "dtype": "float32", "unit": "db"}
    entry = {
        "title": "Two real series", "summary": "real Sentinel-1/2 series of two places", "licence": "MIT",
        "citation": "README of the samples",
        "layers": [
            {"id": "s2", "stack": "s2", "fill": 65535, "size": [64, 64], "times": 4, **place},
            {"id": "s1", "stack": "s1", "fill": "nan", "size": [32, 32], "times": 4, **radar},
        ],
        "task": {"kind": "none"}, "expected": {"samples": 2},
    }  # fmt: skip
    (raw / "seamo.yaml").write_text(yaml.safe_dump({"datasets": {"two-series": entry}}))
    columns = [f"{name}.{slot}" for slot in range(4) for name in ("s2", "s2.date", "s1", "s1.date")]
    rows, gaps = [], []
    for file in sorted((samples / "timeseries_s1s2").glob("*.npz")):
        with np.load(file) as stored:
            series = {name: stored[name] for name in stored.files}
        assert series["s2_bands"].tolist() == S2_BANDS
        years = range(2016, 2024)
        chosen = max((clearest_dates(series, year) for year in years), key=len)
        assert len(chosen) == 4, file.name
        radar_days = series["s1_dates"].astype("datetime64[s]")
        row = {"key": file.stem}
        west, _, _, north = series["bounds"].tolist()
        for slot, i in enumerate(chosen):
            day = series["s2_dates"][i].astype("datetime64[s]")
            j = int(np.argmin(np.abs(radar_days - day)))
            gaps.append(abs(radar_days[j] - day))
            for name, pixels, gsd in (("s2", series["s2"][i], 10.0), ("s1", series["s1"][j], 20.0)):
                path = raw / f"{file.stem}_{name}_{slot}.tif"
                profile = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype}
                size = {"height": pixels.shape[1], "width": pixels.shape[2]}
                place = Affine(gsd, 0, west, 0, -gsd, north)
                with rasterio.open(path, "w", crs=f"EPSG:{series['epsg']}", transform=place, **profile, **size) as out:
                    out.write(pixels)
                row[f"{name}.{slot}"] = path.name
            row[f"s2.date.{slot}"], row[f"s1.date.{slot}"] = str(day), str(radar_days[j])
        rows.append(row)
    with (raw / "samples.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["key", *columns])
        writer.writeheader()
        writer.writerows(rows)
    return max(gaps)


@pytest.mark.soak
def test_stage_two_on_the_two_real_series(samples, tmp_path):
    gap = write_folder(samples, tmp_path / "raw")
    assert gap <= np.timedelta64(4, "D")  # Sentinel-1A and B came by every six days or oftener
    store = open_store(build_quietly("folder", tmp_path / "raw", tmp_path / "stores").path)
    assert len(store) == 2
    changes = [
        "data={stacks: {s2: s2, s1: s1}, split: all, statistics: {s2: store, s1: store}}",
        f"model.bands={{s2: [{', '.join(S2_BANDS)}], s1: [VV, VH]}}",
        "stage1={epochs: 5, warmup_epochs: 0}",
        "stage2={epochs: 100, warmup_epochs: 5}",
        "optimiser={batch: 2, base_lr: 0.2}",
        *SMALL,
    ]
    run = tmp_path / "run"
    pretrain(load_recipe("seamo-tiny", changes), store, run)
    curves = read_curves(run)
    assert curves["images"] == [4] * 5 + [16] * 100  # 2 places, 2 sensors, 1 then 4 dates
    second = curves["loss"][5:]
    assert np.mean(second[-5:]) < 0.9 * np.mean(second[:3])
    embed_store(load_pretrained(run, device="cpu"), store, Reading(), tmp_path / "features.npz")
    features = np.load(tmp_path / "features.npz")["features"]
    assert features.shape == (2, 4, 64)
    assert np.isfinite(features).all()
