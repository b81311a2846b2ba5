"""How fast `seamo-prep build` turns TIFFs into a store, beside rasterio and whole-array writes of zarr-python.

python perf/conversion.py [--locations 16 64] [--rounds 3]

The archive is synthetic SSL4EO-S12 v1.0 (s1, s2a) in its published layout, at the published size of 264 px, a file a
band and date: other scenes at every location, deflated by GDAL in strips of its own choice. All write the same layers
with the same codec, one chunk a sample, sharded. rasterio's processes are started and have imported everything before
the clock starts; ours is one process whatever the number of workers. Rates are of wall time and need a quiet machine;
CPU is that of all processes.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import rasterio
import zarr
from bench import machine
from zarr.codecs import BloscCodec, BloscShuffle

from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.testing.world import World
from seamo_prep.archives import ssl4eo_s12
from seamo_prep.build import Options, build
from seamo_prep.engines import Engine
from seamo_prep.unpack import declare_synthetic

_LAYERS = ("s1", "s2a_10m", "s2a_20m", "s2a_60m")
_SIDE = 264
_DATES = tuple(np.datetime64(f"2020-{month}-05T10:00:00") for month in ("01", "04", "07", "10"))
_EVERY_GAP = 8  # every eighth location has a corner without data


def write_archive(raw: Path, count: int) -> int:
    """Write the archive, by two processes; its bytes."""
    with ProcessPoolExecutor(2) as pool:
        size = sum(pool.map(_write_location, [raw] * count, range(count)))
    declare_synthetic(raw, what="synthetic locations of SSL4EO-S12; nothing in them was measured")
    return size


def _write_location(raw: Path, number: int) -> int:
    location, scene = f"{number:07d}", World(0).scene(f"conversion/{number}", _SIDE)
    with tempfile.TemporaryDirectory(dir=raw.parent) as folder:
        plain = Path(folder)
        for date in _DATES:
            has_gap = number % _EVERY_GAP == _EVERY_GAP - 1
            ssl4eo_s12._demo_date(plain, scene, location, dates=[date] * 3, has_gap=has_gap)
        return sum(deflate_tiff(path, raw / path.relative_to(plain)) for stack in ("s1", "s2a")
                   for path in (plain / stack).rglob("*.tif"))  # fmt: skip


def deflate_tiff(plain: Path, packed: Path) -> int:
    packed.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(plain) as source:
        kept = ("driver", "count", "height", "width", "dtype", "crs", "transform")
        profile = {one: source.profile[one] for one in kept}
        with rasterio.open(packed, "w", **profile, compress="deflate") as file:
            file.write(source.read())
    return packed.stat().st_size


def ours(raw: Path, root: Path, workers: int) -> None:
    build("ssl4eo-s12", raw=raw, root=root, options=Options(layers=_LAYERS), engine=Engine(workers),
          say=lambda _: None, progress=lambda _done, _total: None)  # fmt: skip


def rasterio_to_zarr(raw: Path, root: Path, pool: ProcessPoolExecutor | None, processes: int = 1) -> None:
    spec = shipped_manifest()["ssl4eo-s12"]
    locations = sorted(path.name for path in (raw / "s1").iterdir())
    each = -(-len(locations) // processes)
    group = zarr.open_group(root, mode="w")
    codec = BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.bitshuffle)
    for name in _LAYERS:
        shape = (4, len(spec.layer(name).bands), *(spec.layer(name).size or (0, 0)))
        group.create_array(name, shape=(len(locations), *shape), dtype=spec.layer(name).dtype, chunks=(1, *shape),
                           shards=(each, *shape), compressors=codec)  # fmt: skip
    parts = [(raw, root, locations[start : start + each], start) for start in range(0, len(locations), each)]
    if pool is None:
        _write_part(*parts[0])
    else:
        for future in [pool.submit(_write_part, *part) for part in parts]:
            future.result()


def _write_part(raw: Path, root: Path, locations: list[str], start: int) -> None:
    spec: DatasetSpec = shipped_manifest()["ssl4eo-s12"]
    group = zarr.open_group(root, mode="r+")
    for name in _LAYERS:
        layer, array = spec.layer(name), group[name]
        assert isinstance(array, zarr.Array)
        whole = np.empty((len(locations), *array.shape[1:]), dtype=layer.dtype)
        for i, location in enumerate(locations):
            for t, date in enumerate(sorted((raw / layer.stack / location).iterdir())):
                for c, band in enumerate(layer.bands):
                    with rasterio.open(date / f"{'B' + band[2:] if band.startswith('B0') else band}.tif") as file:
                        whole[i, t, c] = file.read(1)
        array[start : start + len(locations)] = whole


def _warm(raw: Path) -> None:
    """Start a process: import what it needs, and wait for the other one."""
    shipped_manifest()
    with rasterio.open(next(raw.rglob("*.tif"))) as file:
        file.read(1)
    time.sleep(0.5)


class Run(NamedTuple):
    """Of one build: seconds of wall time and of all processes' CPU time."""

    wall: float
    cpu: float


def _cpu() -> float:
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (me, *me.children(recursive=True)))


def measure(variants: dict[str, Callable[[Path], None]], *, rounds: int, scratch: str) -> dict[str, list[Run]]:
    """Run the variants in turn, each into a folder of its own; a first round is not counted."""
    found: dict[str, list[Run]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, run in variants.items():
            with tempfile.TemporaryDirectory(dir=scratch) as root:
                cpu, wall = _cpu(), time.perf_counter()
                run(Path(root))
                if number:
                    found[name].append(Run(time.perf_counter() - wall, _cpu() - cpu))
            os.sync()  # what one leaves to be written is not the next one's burden
    return found


def _ratio(theirs: Iterable[float], mine: Iterable[float]) -> float:
    return statistics.median(one / other for one, other in zip(theirs, mine, strict=True))


def report(found: dict[str, list[Run]], count: int) -> None:
    base = next(iter(found.values()))
    print(f"\n{count} locations\n{'variant':34} {'locations/s':>11} {'range':>13} {'CPU ms each':>12} "
          f"{'times as fast':>14} {'by CPU':>7}")  # fmt: skip
    for name, runs in found.items():
        rates = [count / run.wall for run in runs]
        span = f"{min(rates):.1f}-{max(rates):.1f}"
        cpu = 1000 * statistics.median(run.cpu for run in runs) / count
        wall_ratio = _ratio([run.wall for run in base], [run.wall for run in runs])
        cpu_ratio = _ratio([run.cpu for run in base], [run.cpu for run in runs])
        print(f"{name:34} {statistics.median(rates):11.1f} {span:>13} {cpu:12.1f} {wall_ratio:14.2f} {cpu_ratio:7.2f}")
    one, two = found["seamo-prep build, 1 worker"], found["seamo-prep build, 2 workers"]
    print(f"two workers beside one: {_ratio([run.wall for run in one], [run.wall for run in two]):.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locations", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(machine() + f", rasterio {rasterio.__version__}")
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for count in arguments.locations:
            raw = Path(scratch) / f"raw-{count}"
            raw.mkdir()
            size = write_archive(raw, count)
            list(pool.map(_warm, [raw] * 2))
            print(f"{count} locations of 56 files and {size / count / 1e6:.2f} MB, {arguments.rounds} rounds")
            variants: dict[str, Any] = {
                "rasterio -> Zarr, 1 process": lambda root, raw=raw: rasterio_to_zarr(raw, root, None),
                "rasterio -> Zarr, 2 processes": lambda root, raw=raw: rasterio_to_zarr(raw, root, pool, 2),
                "seamo-prep build, 1 worker": lambda root, raw=raw: ours(raw, root, 1),
                "seamo-prep build, 2 workers": lambda root, raw=raw: ours(raw, root, 2),
            }
            report(measure(variants, rounds=arguments.rounds, scratch=scratch), count)


if __name__ == "__main__":
    main()
