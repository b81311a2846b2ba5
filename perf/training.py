"""A training step of SeaMo beside a plain MAE of timm blocks, and its forward beside bare matrix products.

    python perf/training.py [--dim 384] [--depth 6] [--batch 8] [--rounds 5] [--device cpu]

Rates are FLOP/s: what each does is counted by torch, so that different work can be compared. Synthetic pixels (noise).
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from bench import alternate, machine
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seamo.model.config import DecoderConfig, SeaMoConfig
from seamo.model.seamo import SeaMo

SEASONS, DECODER_WIDTH, DECODER_DEPTH = 4, 256, 2


class PlainMAE(nn.Module):
    """A masked autoencoder as short as it can be: one image, one encoder, one decoder, timm's blocks."""

    def __init__(self, patches: int, values: int, dim: int, depth: int) -> None:
        super().__init__()
        self.patches, self.visible = patches, patches // 4
        self.embed = nn.Linear(values, dim)
        self.encoder = nn.Sequential(*(Block(dim, dim // 64, qkv_bias=True) for _ in range(depth)), nn.LayerNorm(dim))
        self.narrow = nn.Linear(dim, DECODER_WIDTH)
        self.mask = nn.Parameter(torch.zeros(1, 1, DECODER_WIDTH))
        blocks = (Block(DECODER_WIDTH, DECODER_WIDTH // 32, qkv_bias=True) for _ in range(DECODER_DEPTH))
        self.decoder = nn.Sequential(*blocks, nn.LayerNorm(DECODER_WIDTH), nn.Linear(DECODER_WIDTH, values))

    def forward(self, x: Tensor) -> Tensor:
        """Mean squared error of the hidden patches of `x` (B, L, values)."""
        order = torch.rand(x.shape[:2], device=x.device).argsort(1)
        keep = order[:, : self.visible, None]
        seen = self.embed(x).gather(1, keep.expand(-1, -1, self.embed.out_features))
        tokens = self.narrow(self.encoder(seen))
        full = self.mask.expand(len(x), self.patches, -1).scatter(1, keep.expand(-1, -1, DECODER_WIDTH), tokens)
        error = (self.decoder(full) - x).square().mean(-1)
        return error.gather(1, order[:, self.visible :]).mean()


def step(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One training step: forward, backward, AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return run


def counted(work: Callable[[], object], device: torch.device) -> Callable[[], int]:
    """The same work, returning its MFLOP as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    amount = counter.get_total_flops() // 1_000_000

    def run() -> int:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return amount

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device, size = torch.device(given.device), 128
    torch.manual_seed(0)
    decoder = DecoderConfig(depth=DECODER_DEPTH, width=DECODER_WIDTH, heads=DECODER_WIDTH // 32)
    config = SeaMoConfig(dim=given.dim, depth=given.depth, heads=given.dim // 64, decoder=decoder)
    seamo = SeaMo(config, generator=torch.Generator().manual_seed(0)).to(device)
    bands = {sensor: len(names) for sensor, names in config.bands.items()}
    images = {s: torch.rand(given.batch, SEASONS, count, size, size, device=device) for s, count in bands.items()}
    noise = torch.rand(given.batch, SEASONS, config.num_patches, device=device)
    # As many places, seasons and sensors: every image of the plain MAE is one sequence.
    values = sum(bands.values()) * config.patch**2 // len(bands)
    plain = PlainMAE(config.num_patches * len(bands), values, given.dim, given.depth).to(device)
    x = torch.rand(given.batch * SEASONS, config.num_patches * len(bands), values, device=device)
    rows = given.batch * SEASONS * config.num_visible * len(bands)
    left, right = torch.rand(rows, given.dim, device=device), torch.rand(given.dim, 4 * given.dim, device=device)

    def forward() -> None:
        with torch.no_grad():
            seamo(images, noise=noise)

    work = {
        "training step, SeaMo stage 2": step(seamo, lambda: seamo(images, noise=noise).loss),
        "training step, plain MAE (timm)": step(plain, lambda: plain(x)),
        "forward, SeaMo stage 2": forward,
        "matrix product, same shapes": lambda: [left @ right for _ in range(8)],
    }
    found = alternate({name: counted(one, device) for name, one in work.items()}, rounds=given.rounds)
    print(machine(), f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given}")
    for name, rates in found.rates.items():
        print(
            f"{name:34} {statistics.median(rates) / 1e3:9.2f} GFLOP/s ({min(rates) / 1e3:.2f}-{max(rates) / 1e3:.2f})"
        )
    for a, b in (tuple(work)[:2], tuple(work)[2:]):
        ratio = statistics.median(x / y for x, y in zip(found.rates[a], found.rates[b], strict=True))
        print(f"{a} / {b}: {ratio:.2f}")


if __name__ == "__main__":
    main()
