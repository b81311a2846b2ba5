"""The data path beside others, on one corpus: `make perf` (some minutes) and `make perf-full`.

python perf/suite.py [--full] [--name NAME] [--locations 96] [--rounds 3] [--readers zarr,wds,litdata] [--scratch DIR]
python perf/suite.py --table [FILE]      # writes the tables and the plot of docs/performance.md from a result, by
                                         # default the newest of perf/results, and measures nothing

The corpus (`corpus.py`) are deflated GeoTIFFs of synthetic locations, as SSL4EO-S12 v1.0 is published; every reader
(`readers.py`) keeps it as it recommends. Each reads in a process of its own, started once; then rounds alternate, after
one that warms and does not count. Measured are batches as stored (`decode`), batches that are cropped, resized and
normalised (`full`, `crop.py`), with one worker and with two, warm and from the disk; what no reader can beat
(`limits.py`); and what 1, 4, 16 and 64 times as many samples cost. Readers whose package is missing are named.

Results go to perf/results/<date>-<name>.json with the machine, the versions, the load and the command.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import RESULTS, facts, keep

PACKAGES = ("seamo", "numpy", "torch", "numcodecs", "zarr", "tensorstore", "webdataset", "rasterio", "litdata",
            "mosaicml-streaming", "deflate")  # fmt: skip
SHORT = ("zarr", "wds", "litdata", "mds", "webdataset", "tensorstore", "zarr-python", "rasterio")
FULL = (*SHORT, "litdata-zstd", "mds-zstd")
ONE_WORKER = ("zarr", "wds", "litdata", "mds", "webdataset")
BATCH = 16
_LARGEST = 64  # times the smallest size of the measurement of linear cost


def make_corpus(scratch: Path, names: Sequence[str], count: int) -> dict[str, dict[str, Any]]:
    """Write the corpus in every form that the readers need: form -> folder, MB a sample, seconds of writing."""
    import corpus
    from readers import READERS, stored_mb, write_form

    forms: dict[str, dict[str, Any]] = {}
    for form in ("raw", "zarr", "wds", *(READERS[name].form for name in names)):
        if form in forms:
            continue
        began = time.perf_counter()
        folder = scratch / form
        if form == "raw":
            corpus.write_archive(folder, count)
        elif form in ("zarr", "wds"):
            layout = "zarr" if form == "zarr" else "webdataset"
            folder = corpus.build_store(scratch / "raw", folder, layout).path
        else:
            write_form(form, forms["zarr"]["folder"], folder, count)
        took = time.perf_counter() - began
        forms[form] = {"folder": folder, "stored_mb": stored_mb(folder, count), "seconds": took}
        say(f"{form}: {forms[form]['stored_mb']:.2f} MB a sample, written in {took:.1f} s")
    return forms


@contextmanager
def served(names: Sequence[str], forms: dict[str, dict[str, Any]], count: int, workers: int,
           crop: str) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Readers that have started and have read one epoch: name -> process; what fails is said and left out."""
    from readers import READERS, Job
    from serve import ReaderError, Served

    running: dict[str, Served] = {}
    proofs: dict[str, Any] = {}
    try:
        for name in names:
            job = Job(forms[READERS[name].form]["folder"], count, BATCH, workers, crop)
            try:
                running[name] = Served(name, job)
            except ReaderError as error:
                say(f"{READERS[name].title}: LEFT OUT, {error}")
                continue
            proofs[name] = running[name].proof
        if not crop and len({json.dumps(proof) for proof in proofs.values()}) > 1:
            raise SystemExit(f"readers differ in the pixels of their first sample: {proofs}")
        yield running
    finally:
        for one in running.values():
            one.close()


def rows_of(running: dict[str, Any], forms: dict[str, dict[str, Any]], count: int, rounds: int, *,
            cold: bool = False) -> list[dict[str, Any]]:  # fmt: skip
    """Epochs in turn: a row a reader."""
    from readers import OURS, READERS
    from serve import ReaderError

    from seamo_prep.speed import drop_from_cache

    found: dict[str, dict[str, Any]] = {}
    failed: set[str] = set()
    for _ in range(rounds):
        for name, one in running.items():
            if name in failed:
                continue
            form = forms[READERS[name].form]
            row = found.setdefault(name, {
                "name": name, "title": READERS[name].title, "ours": name in OURS, "rates": [], "cpu_ms": [],
                "stored_mb": round(form["stored_mb"], 3), "first_batch_s": round(one.first_batch_s, 3),
                "peak_mb": round(one.peak_bytes / 1e6), "loads": [],
            })  # fmt: skip
            if cold:
                paths = [path for path in form["folder"].rglob("*") if path.is_file()]
                row.setdefault("still_cached", []).append(round(drop_from_cache(paths), 3))
            try:
                done = one.epoch()
            except ReaderError as error:
                say(f"{row['title']}: LEFT OUT, {error}")
                failed.add(name)
                continue
            assert done.samples == count, f"{name} gave {done.samples} of {count} samples"
            row["rates"].append(round(done.samples / done.seconds, 1))
            row["cpu_ms"].append(round(1e3 * done.cpu / done.samples, 2))
            row["loads"].append(round(os.getloadavg()[0], 1))
    return [row for name, row in found.items() if name not in failed]


def measure_readers(arguments: argparse.Namespace, names: Sequence[str], forms: dict[str, dict[str, Any]],
                    crop: str) -> list[dict[str, Any]]:  # fmt: skip
    """The groups of rows: decode and full, two workers and one, warm and cold."""
    groups = []
    one_worker = [name for name in names if arguments.full or name in ONE_WORKER]
    cropped = [name for name in names if arguments.full or name != "rasterio"]  # it takes as long as all others
    for mode, what in (("decode", ""), ("full", crop)):
        for workers, some in ((2, cropped if what else names), (1, one_worker)):
            say(f"{mode}, {workers} workers: {', '.join(some)}")
            with served(some, forms, arguments.locations, workers, what) as running:
                groups.append(
                    {
                        "name": f"{mode}-{workers}",
                        "rows": rows_of(running, forms, arguments.locations, arguments.rounds),
                    }
                )
                if workers == 2 and mode == "decode":
                    rows = rows_of(running, forms, arguments.locations, arguments.rounds, cold=True)
                    groups.append({"name": f"{mode}-{workers}-cold", "rows": rows})
    return groups


def measure_growth(scratch: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    """Building and reading 1, 4, 16 and 64 times as many samples, in turn: seconds and CPU seconds."""
    import numpy as np
    from corpus import LAYERS, build_store

    from seamo.data.loader import Loader

    base = max(1, count // _LARGEST)
    rows: list[dict[str, Any]] = [
        {"samples": base * times, "build_s": [], "build_cpu_s": [], "read_s": [], "read_cpu_s": []}
        for times in (1, 4, 16, _LARGEST) if base * times <= count
    ]  # fmt: skip
    for number in range(rounds):
        for row in rows:
            samples, begun = row["samples"], (time.perf_counter(), time.process_time())
            root = scratch / f"growth-{number}-{samples}"
            store = build_store(scratch / "raw", root, "zarr", limit=samples, threads=1)
            built = (time.perf_counter(), time.process_time())
            loader = Loader(store, np.arange(samples), BATCH, layers=LAYERS, workers=1)
            deque(loader, maxlen=0)  # brings the memory that later epochs use again
            warm = (time.perf_counter(), time.process_time())
            deque(loader, maxlen=0)
            read = (time.perf_counter(), time.process_time())
            for name, start, end in (("build", begun, built), ("read", warm, read)):
                row[f"{name}_s"].append(round(end[0] - start[0], 4))
                row[f"{name}_cpu_s"].append(round(end[1] - start[1], 4))
    return rows


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All of it, as a document."""
    import torch
    from crop import cheapest
    from limits import measure_crops, measure_limits
    from readers import READERS

    from seamo.native.library import kernels
    from seamo.store.reader import open_store

    torch.set_num_threads(1)
    asked = arguments.readers.split(",") if arguments.readers else FULL if arguments.full else SHORT
    names = [name for name in asked if READERS[name].is_there]
    missing = [READERS[name].title for name in asked if name not in names]
    command = shlex.join(["python", "perf/suite.py", *sys.argv[1:]])
    document: dict[str, Any] = facts(PACKAGES) | {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "command": command,
        "native": kernels() is not None, "missing": missing,
        "corpus": {"locations": arguments.locations, "batch": BATCH, "rounds": arguments.rounds},
        "load_before": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    say(document["machine"])
    for title in missing:
        say(f"{title}: NOT INSTALLED, left out (`make perf-peers` brings it)")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as place:
        scratch = Path(place)
        forms = make_corpus(scratch, names, arguments.locations)
        stores = {form: open_store(forms[form]["folder"]) for form in ("zarr", "wds")}
        decoded = sum(pixels.nbytes for pixels in stores["zarr"][0].layers.values())
        crops = measure_crops(stores["zarr"], arguments.rounds)
        document["corpus"]["decoded_mb"] = round(decoded / 1e6, 3)
        document["limits_ms"] = _rounded(measure_limits(scratch / "raw", stores, arguments.rounds))
        document["crops_cpu_ms"], document["peers_crop"] = _rounded(crops), cheapest(crops)
        say(f"limits: {_medians(document['limits_ms'])}\ncrops: {_medians(document['crops_cpu_ms'])}")
        document["groups"] = measure_readers(arguments, names, forms, document["peers_crop"])
        document["growth"] = measure_growth(scratch, arguments.locations, arguments.rounds)
        document["written_s"] = {form: round(one["seconds"], 1) for form, one in forms.items()}
    document["load_after"] = round(os.getloadavg()[0], 1)
    return document


def _rounded(found: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(value, 4) for value in values] for name, values in found.items()}


def _medians(found: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {statistics.median(values):.2f} ms" for name, values in found.items())


def say(text: str) -> None:
    """A line about what goes on."""
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more locations, rounds and readers")
    parser.add_argument("--name", default="")
    parser.add_argument("--locations", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--readers", default="")
    parser.add_argument("--scratch", type=Path, default=None, help="folder on the disk that is meant")
    parser.add_argument("--table", nargs="?", const="", default=None, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.table is not None:
        from tables import write_page

        write_page(
            Path(arguments.table)
            if arguments.table
            else max(path for path in RESULTS.glob("*.json") if not path.stem.endswith("beside"))
        )
        return
    arguments.locations = arguments.locations or (192 if arguments.full else 96)
    arguments.rounds = arguments.rounds or (5 if arguments.full else 3)
    began = time.perf_counter()
    document = measure(arguments) | {"seconds": round(time.perf_counter() - began)}
    name = arguments.name or ("full" if arguments.full else "short")
    path = keep(name, document)
    from tables import page

    say(f"\n{page(document)}\n\n{path}, {document['seconds']} s")


if __name__ == "__main__":
    main()
