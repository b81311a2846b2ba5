"""How fast `seamo-prep build` turns TIFFs into a store, beside rasterio and whole-array writes of zarr-python.

python perf/conversion.py [--locations 24] [--rounds 3]
python perf/conversion.py --threads 2 --locations 64      # only: one thread against so many

The archive is the synthetic demo of SSL4EO-S12 v1.0 in its published layout, at the published size of 264 px, a file a
band and date. All work in one process and write the same layers with the same codec, one chunk a sample, sharded.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import zarr
from bench import alternate, machine
from zarr.codecs import BloscCodec, BloscShuffle

from seamo.manifest import shipped_manifest
from seamo.testing.world import World
from seamo_prep.archives import ssl4eo_s12
from seamo_prep.build import Options, build
from seamo_prep.engines import Engine
from seamo_prep.unpack import declare_synthetic

_LAYERS = ("s1", "s2a_10m", "s2a_20m", "s2a_60m")
_SIDE = 264
_DATES = ("2020-01-05T10:00:00", "2020-04-05T10:00:00", "2020-07-05T10:00:00", "2020-10-05T10:00:00")


def write_archive(raw: Path, count: int) -> None:
    scene = World(0).scene("conversion", _SIDE)
    dates = [np.datetime64(one) for one in _DATES]
    for number in range(count):
        if not number:
            for date in dates:
                ssl4eo_s12._demo_date(raw, scene, "0000000", dates=[date] * 3, has_gap=False)
            continue
        for stack in ("s1", "s2a"):
            shutil.copytree(raw / stack / "0000000", raw / stack / f"{number:07d}")
    shutil.rmtree(raw / "s2c", ignore_errors=True)
    declare_synthetic(raw, what="one synthetic location of SSL4EO-S12, many times; nothing in it was measured")


def ours(raw: Path, root: Path, threads: int = 1) -> int:
    built = build("ssl4eo-s12", raw=raw, root=root, options=Options(layers=_LAYERS), engine=Engine(threads),
                  say=lambda _: None, progress=lambda _done, _total: None)  # fmt: skip
    return built.samples


def rasterio_to_zarr(raw: Path, root: Path) -> int:
    spec = shipped_manifest()["ssl4eo-s12"]
    group = zarr.open_group(root, mode="w")
    locations = sorted(path.name for path in (raw / "s1").iterdir())
    for name in _LAYERS:
        layer = spec.layer(name)
        whole = np.empty((len(locations), 4, len(layer.bands), *(layer.size or (0, 0))), dtype=layer.dtype)
        for i, location in enumerate(locations):
            for t, date in enumerate(sorted((raw / layer.stack / location).iterdir())):
                for c, band in enumerate(layer.bands):
                    with rasterio.open(date / f"{'B' + band[2:] if band.startswith('B0') else band}.tif") as file:
                        whole[i, t, c] = file.read(1)
        codec = BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.bitshuffle)
        array = group.create_array(name, shape=whole.shape, dtype=whole.dtype, chunks=(1, *whole.shape[1:]),
                                   shards=whole.shape, compressors=codec)  # fmt: skip
        array[:] = whole
    return len(locations)


def fresh(scratch: str) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locations", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    print(machine() + f", rasterio {rasterio.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        write_archive(raw, arguments.locations)
        print(f"{arguments.locations} locations of 56 files, {arguments.rounds} rounds, in one process")
        variants = {"seamo-prep build (checks, checksums, statistics)": lambda: ours(raw, fresh(scratch))}
        if arguments.threads:
            variants = {f"{arguments.threads} threads": lambda: ours(raw, fresh(scratch), arguments.threads)} | variants
        else:
            variants["rasterio, zarr-python whole arrays"] = lambda: rasterio_to_zarr(raw, fresh(scratch))
        rounds = alternate(variants, rounds=arguments.rounds)
        print(rounds.report(next(iter(variants))))


if __name__ == "__main__":
    main()
