"""A training step of SeaMo beside a plain MAE of timm blocks, its forward beside bare matrix products, and its MFU.

    python perf/training.py [--dim 384] [--depth 6] [--batch 8] [--rounds 5] [--recipe NAME]
    python perf/training.py --device cuda --recipe seamo-base --dtype bf16 --compile --batch 256 --repeat 10 --profile
    python perf/gpu.py        # this and more on a GPU, in eight minutes

Stage 2: four seasons, both sensors. Rates are FLOP/s: what each does is counted by torch, so that different work can be
compared. Model-FLOPs utilisation (MFU) is three forward passes of matrix products a step (`seamo.model.flops`) over the
peak that --peak-tflops gives (989 for an H200 in bf16), or over a large matrix product that is measured. Synthetic
pixels (noise).
"""

import argparse
import json
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from bench import alternate, machine
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from seamo.data.batch import Batch
from seamo.data.crops import CropConfig
from seamo.inputs.normalise import Normalisation
from seamo.manifest import shipped_manifest
from seamo.model.config import DecoderConfig, SeaMoConfig
from seamo.model.flops import pretraining_flops
from seamo.model.seamo import SeaMo
from seamo.pretrain.inputs import InputPlan
from seamo.pretrain.job import matmul_rate
from seamo.pretrain.recipe import load_recipe

SEASONS = 4
STACKS = {"s2": "s2a", "s1": "s1"}


class PlainMAE(nn.Module):
    """A masked autoencoder as short as it can be: one image, one encoder, one decoder, timm's blocks."""

    def __init__(self, config: SeaMoConfig, values: int) -> None:
        super().__init__()
        dim, width = config.dim, config.decoder.width
        self.patches = config.num_patches * len(config.sensors)
        self.visible = config.num_visible * len(config.sensors)
        self.embed = nn.Linear(values, dim)
        encoder = (Block(dim, config.heads, qkv_bias=True) for _ in range(config.depth))
        self.encoder = nn.Sequential(*encoder, nn.LayerNorm(dim))
        self.narrow = nn.Linear(dim, width)
        self.mask = nn.Parameter(torch.zeros(1, 1, width))
        decoder = (Block(width, config.decoder.heads, qkv_bias=True) for _ in range(config.decoder.depth))
        self.decoder = nn.Sequential(*decoder, nn.LayerNorm(width), nn.Linear(width, values))

    def forward(self, x: Tensor) -> Tensor:
        """Mean squared error of the hidden patches of `x` (B, L, values)."""
        order = torch.rand(x.shape[:2], device=x.device).argsort(1)
        keep = order[:, : self.visible, None]
        seen = self.embed(x).gather(1, keep.expand(-1, -1, self.embed.out_features))
        tokens = self.narrow(self.encoder(seen))
        full = self.mask.to(tokens.dtype).expand(len(x), self.patches, -1)
        full = full.scatter(1, keep.expand(-1, -1, tokens.shape[-1]), tokens)
        error = (self.decoder(full) - x).square().mean(-1)
        return error.gather(1, order[:, self.visible :]).mean()


def step(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One training step: forward, backward, AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        torch.autograd.backward(loss())
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return run


def counted(work: Callable[[], object], flops: int, *, repeat: int, device: torch.device) -> Callable[[], int]:
    """The same work several times, returning its MFLOP."""

    def run() -> int:
        for _ in range(repeat):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return repeat * flops // 1_000_000

    return run


def flops_of(work: Callable[[], object]) -> int:
    """FLOPs of some work, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def native(config: SeaMoConfig, batch: int, device: torch.device) -> tuple[InputPlan, Batch]:
    """Batches as a loader gives them (but on the device already), and how they become inputs."""
    names = [layer.id for stack in STACKS.values() for layer in shipped_manifest()["ssl4eo-s12"].stack_layers(stack)]
    spec = shipped_manifest()["ssl4eo-s12"].only_layers(names)
    layers, valid = {}, {}
    for layer in spec.layers:
        shape = (batch, layer.times, len(layer.bands), *(layer.size or (264, 264)))
        values = torch.randint(0, 3000, shape, device=device)
        layers[layer.id] = values.to(torch.uint16 if layer.dtype == "uint16" else torch.float32)
        valid[layer.id] = torch.ones(batch, layer.times, dtype=torch.bool)
    rows, nothing = torch.arange(batch), torch.zeros(batch, dtype=torch.bool)
    keys = tuple(map(str, range(batch)))
    numbers = {
        s: Normalisation(
            "two-sigma", b, (1500.0,) * len(b), (900.0,) * len(b), spec.stack_layers(STACKS[s])[0].unit, "-"
        )
        for s, b in config.bands.items()
    }
    by_sensor = {s: spec.stack_layers(stack) for s, stack in STACKS.items()}
    plan = InputPlan(config, CropConfig(), STACKS, by_sensor, numbers, SEASONS, random_season=False, seed=0)
    return plan, Batch(spec, rows, keys, layers, valid, {}, torch.zeros(batch, 2), None, None, nothing, frozenset())


def config_of(given: argparse.Namespace) -> SeaMoConfig:
    """The recipe's model, or a small one."""
    if given.recipe:
        return load_recipe(given.recipe).model
    decoder = DecoderConfig(depth=2, width=256, heads=8)
    return SeaMoConfig(size=given.size, dim=given.dim, depth=given.depth, heads=given.dim // 64, decoder=decoder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="", help="train the model of a recipe instead of --size, --dim, --depth")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8, help="locations")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1, help="steps a round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak-tflops", type=float, help="of the device; measured on a matrix product without it")
    parser.add_argument("--profile", action="store_true", help="say where the time of a step goes")
    parser.add_argument("--alone", action="store_true", help="the steps of SeaMo alone, beside nothing")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    device, dtype = torch.device(given.device), {"fp32": torch.float32, "bf16": torch.bfloat16}[given.dtype]
    torch.manual_seed(0)

    def cast() -> AbstractContextManager[None]:
        return torch.autocast(device.type, torch.bfloat16, enabled=given.dtype == "bf16")

    config = config_of(given)
    seamo = SeaMo(config, generator=torch.Generator().manual_seed(0)).to(device)
    # As many places, seasons and sensors: every image of the plain MAE is one sequence.
    values = sum(config.patch_values(s) for s in config.sensors) // len(config.sensors)
    plain = PlainMAE(config, values).to(device)
    fast_seamo, fast_plain = (torch.compile(seamo), torch.compile(plain)) if given.compile else (seamo, plain)
    plan, stored = native(config, given.batch, device)
    inputs = plan(stored, device, epoch=0)
    x = torch.rand(given.batch * SEASONS, plain.patches, values, device=device)
    rows = given.batch * SEASONS * config.num_visible * len(config.sensors)
    left = torch.rand(rows, config.dim, device=device, dtype=dtype)
    right = torch.rand(config.dim, 4 * config.dim, device=device, dtype=dtype)

    def loss(network: nn.Module, *, crop: bool = False) -> Tensor:
        made = plan(stored, device, epoch=0) if crop else inputs
        with cast():
            output: Tensor = network(made.images, noise=made.noise).loss
        return output

    def plain_loss(network: nn.Module) -> Tensor:
        with cast():
            output: Tensor = network(x)
        return output

    def forward() -> None:
        with torch.no_grad(), cast():
            fast_seamo(inputs.images, noise=inputs.noise)

    # Counted on one location with what is not compiled, inside of which torch cannot count.
    one = {s: image[:1] for s, image in inputs.images.items()}
    of_step = given.batch * flops_of(lambda: torch.autograd.backward(seamo(one, noise=inputs.noise[:1]).loss))
    of_plain = given.batch * flops_of(lambda: torch.autograd.backward(plain(x[:SEASONS])))
    of_forward = given.batch * flops_of(lambda: seamo(one, noise=inputs.noise[:1]))
    model_flops = given.batch * pretraining_flops(config, seasons=SEASONS).training
    seamo.zero_grad(set_to_none=True)
    plain.zero_grad(set_to_none=True)
    train = step(seamo, lambda: loss(fast_seamo))
    work: dict[str, tuple[Callable[[], object], int]] = {
        "training step, SeaMo stage 2": (train, of_step),
        "training step, plain MAE (timm)": (step(plain, lambda: plain_loss(fast_plain)), of_plain),
        "forward, SeaMo stage 2": (forward, of_forward),
        "matrix product, same shapes": (lambda: [left @ right for _ in range(8)], 16 * rows * 4 * config.dim**2),
        "step with crops, SeaMo stage 2": (step(seamo, lambda: loss(fast_seamo, crop=True)), of_step),
    }
    if given.alone:
        work = {name: one for name, one in work.items() if "SeaMo" in name and "step" in name}
    found = alternate(
        {name: counted(*one, repeat=given.repeat, device=device) for name, one in work.items()}, rounds=given.rounds
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(machine(), f"torch {torch.__version__}, {name}, {given}")
    middle = {name: statistics.median(rates) / 1e3 for name, rates in found.rates.items()}
    for name, rates in found.rates.items():
        print(f"{name:34} {middle[name]:9.2f} GFLOP/s ({min(rates) / 1e3:.2f}-{max(rates) / 1e3:.2f})")
    names = tuple(work)
    pairs = ((names[1], names[0]),) if given.alone else (names[:2], names[2:4], (names[4], names[0]))
    for a, b in pairs:
        ratio = statistics.median(x / y for x, y in zip(found.rates[a], found.rates[b], strict=True))
        print(f"{a} / {b}: {ratio:.2f}")
    given_peak = given.peak_tflops is not None
    peak = given.peak_tflops * 1e12 if given_peak else matmul_rate(dtype, device)
    figures: dict[str, object] = {"batch": given.batch, "peak_tflops": peak / 1e12, "peak_given": given_peak}
    for name in (names[0], names[-1]):
        steps = middle[name] * 1e9 / of_step
        share, against = steps * model_flops / peak, "given" if given_peak else "measured on a large matrix product"
        figures[name] = {"locations_per_s": steps * given.batch, "mfu": share}
        print(
            f"{name}: {steps * given.batch:.4g} locations/s, MFU {share:.1%} of {peak / 1e12:.3g} TFLOP/s ({against})"
        )
    if device.type == "cuda":
        figures["memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        print(f"most memory: {figures['memory_gib']:.1f} GiB")
    if given.json is not None:
        given.json.write_text(json.dumps(figures))
    if given.profile:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        with profile(activities=activities) as profiled:
            counted(train, 0, repeat=3, device=device)()
        order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
        print(profiled.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=70))


if __name__ == "__main__":
    main()
