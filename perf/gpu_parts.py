"""Parts of `perf/gpu.py`, each a process of its own: what is prepared, the loader beside the step, precision, nccl.

    python perf/gpu_parts.py NAME --work FOLDER --out found.json [--fiftieth]

On a CPU with `--fiftieth` each part does the same with a small model and few steps. Everything is synthetic.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

LEARN, JUDGE = 1001, 1002  # worlds; nothing was ever chosen on the second
DAYS = ("2020-05-10", "2020-07-05", "2020-09-01")
PER_CLASS = {False: 700, True: 20}  # of the judged world; gpu_learning.py takes the first ones to train on
PLACES = {False: 40_000, True: 160}
LOCATIONS = {False: 512, True: 8}
TASK = 20  # places that a process draws at a time


def draw(world: int, size: int, cover: str | None, numbers: range) -> dict[str, np.ndarray]:
    """Some places of one clear day each: layer -> (n, C, h, w) uint16."""
    from seamo.manifest import shipped_manifest
    from seamo.testing.world import World

    made: dict[str, list[np.ndarray]] = {}
    for number in numbers:
        scene = World(world).scene(f"{cover or 'any'}-{number}", size, focus=cover)
        image = scene.s2(np.datetime64(DAYS[number % len(DAYS)]), "L1C", clouds=False)
        for layer in shipped_manifest()["ssl4eo-s12"].stack_layers("s2c"):
            made.setdefault(layer.id, []).append(np.stack([image[band] for band in layer.bands]))
    return {name: np.stack(images) for name, images in made.items()}


def keep(folder: Path, parts: list[dict[str, np.ndarray]]) -> None:
    folder.mkdir(parents=True)
    for name in parts[0]:
        np.save(folder / f"{name}.npy", np.concatenate([part[name] for part in parts]))


def prepare(work: Path, *, fiftieth: bool) -> dict[str, object]:
    """Draw both worlds, and build the store that the loader reads, beside the first parts, which keep four cores."""
    from corpus import build_store, write_archive

    from seamo.testing.world import COVERS

    os.nice(10)
    began, covers, count = time.perf_counter(), COVERS[:10], PER_CLASS[fiftieth]
    archive = work / "raw"
    archive.mkdir(parents=True)
    write_archive(archive, LOCATIONS[fiftieth])
    store = build_store(archive, work / "stores", "zarr", threads=2)
    (work / "store.txt").write_text(str(store.path))
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(max(1, cores - 4)) as pool:
        tasks = [range(at, min(at + TASK, PLACES[fiftieth])) for at in range(0, PLACES[fiftieth], TASK)]
        keep(work / "world" / "learn", list(pool.map(partial(draw, LEARN, 96, None), tasks)))
        wanted = [(cover, range(at, min(at + TASK, count))) for cover in covers for at in range(0, count, TASK)]
        names, tasks = [cover for cover, _ in wanted], [numbers for _, numbers in wanted]
        keep(work / "world" / "judge", list(pool.map(partial(draw, JUDGE, 66), names, tasks)))
    np.save(work / "world" / "judge" / "classes.npy", np.repeat(np.arange(len(covers)), count))
    (work / "world" / "drawn").touch()
    return {"places": PLACES[fiftieth], "seconds": time.perf_counter() - began}


def loader(work: Path, *, fiftieth: bool) -> dict[str, object]:
    """`seamo pretrain` on the store that was built, stage 2, and what its `speed.csv` says; then its loader alone."""
    import torch

    from seamo.data.loader import Loader
    from seamo.pretrain.inputs import plan_inputs
    from seamo.pretrain.mixture import training_data
    from seamo.pretrain.recipe import load_recipe
    from seamo.store.reader import open_store

    place, cuda = (work / "store.txt").read_text(), torch.cuda.is_available()
    batch, steps = (8, 3) if fiftieth else (256, 24)
    cores = len(os.sched_getaffinity(0))
    name, epochs = "seamo-tiny" if fiftieth else "seamo-base", steps * batch // LOCATIONS[fiftieth]
    changes = [
        f"optimiser.batch={batch}", f"machine.micro_batch={batch}", f"machine.workers={max(1, cores - 4)}",
        "stage1={epochs: 0, warmup_epochs: 0}", f"stage2={{epochs: {epochs}, warmup_epochs: 0}}", "data.split=all",
        "data.statistics={s2: store, s1: store}", "machine.peak_tflops=0", "machine.checkpoint_every=100000",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [sys.executable, "-m", "seamo.cli", "pretrain", name, "--store", place, "--out", f"{folder}/run"]
        command += ["--device", "cuda" if cuda else "cpu", *(word for one in changes for word in ("--set", one))]
        subprocess.run(command, check=True)
        speed = read_speed(Path(folder) / "run")
    recipe, store = load_recipe(name, changes), open_store(place)
    layers = plan_inputs(recipe, 2, training_data(recipe, [store])).layer_ids
    read, began = 0, 0.0
    for each in Loader(
        store, np.arange(len(store)), min(64, batch), layers=layers, epochs=2 if fiftieth else 6, shuffle=True,
        drop_last=True, workers=max(1, cores - 4), pin=cuda, find_holes=True,
    ):  # fmt: skip
        began = began or time.perf_counter()
        read += len(each)
    alone = (read - min(64, batch)) / (time.perf_counter() - began)
    late = slice(len(speed["seconds"]) // 3, None)  # the first steps compile, and wait for the first batch
    rate = batch / statistics.median(speed["seconds"][late])
    waited = sum(speed["wait"][late]) / sum(speed["seconds"][late])
    return {"step_with_loader_per_s": rate, "waiting": waited, "loader_alone_per_s": alone, "ratio": alone / rate}


def read_speed(run: Path) -> dict[str, list[float]]:
    """Of every step: its seconds, and those of them that were spent waiting."""
    with (run / "speed.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    seconds = [float(row["seconds"]) for row in rows]
    return {"seconds": seconds, "wait": [float(row["data_wait_share"]) * float(row["seconds"]) for row in rows]}


def trained(steps: int, *, precision: str, fiftieth: bool) -> list[float]:
    """Losses of so many steps of stage 2 on noise with structure: ten batches in turn, whatever the precision."""
    import torch

    from seamo.model.config import DecoderConfig, SeaMoConfig
    from seamo.model.seamo import SeaMo

    device = "cuda" if torch.cuda.is_available() else "cpu"
    large = SeaMoConfig(size=64, patch=8, dim=384, depth=12, heads=6, decoder=DecoderConfig(4, 256, 8))
    small = SeaMoConfig(size=16, patch=4, dim=32, depth=2, heads=4, decoder=DecoderConfig(1, 32, 4))
    config, batch = (small, 4) if fiftieth else (large, 64)
    generator = torch.Generator().manual_seed(0)
    model = SeaMo(config, generator=generator).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.95))
    batches, losses = [], []
    for number in range(10):
        draws = torch.Generator().manual_seed(number)
        shape = (batch, 4, 1, config.size // 4, config.size // 4)
        fields = torch.rand(shape, generator=draws)  # a field that all bands share, and noise of their own
        images = {}
        for sensor, bands in config.bands.items():
            smooth = torch.nn.functional.interpolate(fields[:, :, 0], size=config.size, mode="bilinear")[:, :, None]
            own = torch.rand(batch, 4, len(bands), config.size, config.size, generator=draws)
            images[sensor] = (smooth + 0.2 * own).to(device)
        batches.append((images, torch.rand(batch, 4, config.num_patches, generator=draws).to(device)))
    for step in range(steps):
        images, noise = batches[step % len(batches)]
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = model(images, noise=noise).loss
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.detach())
    return torch.stack(losses).cpu().tolist()  # type: ignore[no-any-return]


def precision(work: Path, *, fiftieth: bool) -> dict[str, object]:
    """bf16 against fp32 over 200 steps. Fixed beforehand: the mean of the last fifth of the steps within 2 %."""
    del work
    steps = 20 if fiftieth else 200
    exact, rough = (trained(steps, precision=one, fiftieth=fiftieth) for one in ("fp32", "bf16"))
    last = [statistics.fmean(one[-steps // 5 :]) for one in (exact, rough)]
    apart = max(abs(a - b) / a for a, b in zip(exact, rough, strict=True))
    share = abs(last[1] / last[0] - 1)
    return {"steps": steps, "fp32": last[0], "bf16": last[1], "apart": share, "most": apart, "met": share <= 0.02}


def nccl(work: Path, *, fiftieth: bool) -> dict[str, object]:
    """One rank under nccl and DistributedDataParallel: the same losses as without, and what it costs."""
    del work
    import torch
    import torch.distributed as dist

    if not torch.cuda.is_available():
        return {"not measured": "no CUDA device"}
    from seamo.model.config import DecoderConfig, SeaMoConfig
    from seamo.model.seamo import SeaMo

    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("nccl", init_method=f"file://{folder}/meet", rank=0, world_size=1)
        torch.cuda.set_device(0)
        config = SeaMoConfig(size=64, dim=384, depth=6, heads=6, decoder=DecoderConfig(2, 256, 8))
        draws, n = torch.Generator().manual_seed(0), 4 if fiftieth else 64
        images = {s: torch.rand(n, 4, len(b), 64, 64, generator=draws).cuda() for s, b in config.bands.items()}
        noise = torch.rand(n, 4, config.num_patches, generator=draws).cuda()
        losses, seconds = {}, {}
        for kind in ("alone", "nccl"):
            model: torch.nn.Module = SeaMo(config, generator=torch.Generator().manual_seed(0)).cuda()
            if kind == "nccl":
                model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[0])
            optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)

            def step(network: torch.nn.Module = model, search: torch.optim.Optimizer = optimiser) -> float:
                loss: torch.Tensor = network(images, noise=noise).loss
                torch.autograd.backward(loss)
                search.step()
                search.zero_grad(set_to_none=True)
                return float(loss.detach())

            losses[kind] = [step() for _ in range(5)]
            began = time.perf_counter()
            losses[kind] += [step() for _ in range(15)]
            seconds[kind] = (time.perf_counter() - began) / 15
        dist.destroy_process_group()
    apart = max(abs(a - b) / a for a, b in zip(*losses.values(), strict=True))
    return {"apart": apart, "met": apart < 1e-4, "times as long": seconds["nccl"] / seconds["alone"]}


PARTS: dict[str, Callable[..., dict[str, object]]] = {
    "prepare": prepare, "loader": loader, "precision": precision, "nccl": nccl,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(PARTS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fiftieth", action="store_true")
    given = parser.parse_args()
    found = PARTS[given.name](given.work, fiftieth=given.fiftieth)
    given.out.write_text(json.dumps(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
