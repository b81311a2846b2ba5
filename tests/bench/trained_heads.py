"""Suites whose trained heads are kept, the run that keeps them, and images to apply them to."""

import warnings

import numpy as np
import rasterio
from rasterio.transform import from_origin

from seamo_bench.predict.images import images_of
from seamo_bench.predict.predict import Setting, predict
from seamo_bench.records.record import read_records
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from tests.bench.dense_store import SCENE
from tests.bench.test_run import quiet

FOUR = ("B02", "B03", "B04", "B08")
PIXELS = "{head: linear, frozen: true, epochs: 4, warmup: 0, batch: 8, base_lrs: [0.1], scale_lr: false}"
SINGLE = """
id: single
rows:
  - {store: toy, protocol: linear, params: {steps: 5}, seeds: 1}
  - {store: toy, protocol: logreg}
  - {store: toy, protocol: knn}
  - {store: eurosat, protocol: knn}
  - {stores: [optical, radar], protocol: linear, params: {steps: 5}, seeds: 1}
"""
DENSE = f"""
id: scenes
rows:
  - {{store: scenes, protocol: dense, seeds: 1, params: {PIXELS}}}
"""
CHANGE = DENSE.replace("protocol: dense", "protocol: change").replace("head: linear", "head: linear, flip: false")
DEMO = """
id: demo
rows:
  - {store: toy, protocol: finetune, missing: zero, size: 32}
  - {store: toy, protocol: linear, missing: nearest-wavelength, size: 32, params: {steps: 20, lrs: [0.1]}}
  - {store: toy, protocol: logreg, missing: select-columns, size: 32}
  - {store: scenes, protocol: dense, missing: new-tokenizer, params: {head: author}}
"""


def run(tmp, text, stores, *, backbones, budget="full", **machine):
    """Run a suite into a folder and give its records by protocol and store."""
    tmp.mkdir(parents=True, exist_ok=True)
    (tmp / "suite.yaml").write_text(text)
    results = tmp / "results"
    places = Places(stores, results, tmp)
    cells = make_plan(load_suite(str(tmp / "suite.yaml")), backbones, places, budget)
    for _ in run_plan(cells, places, machine=Machine(**machine), progress=quiet, inner=quiet):
        pass
    found = {}
    for record in read_records(results).records:
        assert record.status != "failed", record.reason
        found[record.facts.protocol.id, "+".join(one.id for one in record.facts.stores)] = record
    return results, found


def write_tiff(path, pixels, bands, *, nodata=None, gsd=10.0, crs="EPSG:32632"):
    """(C, H, W) with its bands as descriptions, at 500 km east, 5,000 km north in UTM 32, or nowhere."""
    place = {"crs": crs, "transform": from_origin(500000, 5000000, gsd, gsd)} if crs else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = rasterio.open(
            path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2],
            dtype=pixels.dtype, nodata=nodata, **place,
        )  # fmt: skip
    with target:
        target.write(pixels)
        for number, name in enumerate(bands):
            target.set_band_description(number + 1, name)
    return path


def in_a_row(store, keys, layer):
    """The tiles of keys side by side, (C, h, n w)."""
    return np.concatenate([store.read_layer(store.row(str(key)), layer)[0] for key in keys], axis=2)


def read(path):
    with rasterio.open(path) as source:
        return source.read()


def path_of(results, record):
    return results / f"{record.key}.json"


def apply(results, record, images, out, *, unit=("dn",), others=(), **options):
    return predict(path_of(results, record), images_of(images, others, units=unit), out, setting=Setting(**options))


def whole_scene(store, name):
    """A scene's pixels (T, C, H, W) put together from its tiles; one date without T."""
    index = store.index[store.index["scene"] == name]
    times = store.spec.num_times("s2")
    out = np.zeros((times, len(FOUR), SCENE, SCENE), dtype=np.uint16)
    for row, y0, x0 in zip(index.index, index["y0"], index["x0"], strict=True):
        tile = store.read_layer(int(row), "s2")
        out[:, :, y0 : y0 + tile.shape[2], x0 : x0 + tile.shape[3]] = tile
    return out[0] if times == 1 else out
