"""Parameter counts and FLOPs against the numbers that were worked out by hand (method notes, section 6)."""

from dataclasses import replace

import pytest
import torch

from seamo.model.config import DecoderConfig, FusionConfig, MaskConfig, SeaMoConfig, stage_one
from seamo.model.flops import encoding_flops, pretraining_flops
from seamo.model.seamo import SeaMo

BASE = SeaMoConfig()
BASE_16 = SeaMoConfig(patch=16)
NO_TM = FusionConfig(mode="none")


def count(config: SeaMoConfig, prefix: str = "") -> int:
    with torch.device("meta"):
        model = SeaMo(config)
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith(prefix))


def test_stage_two_at_patch_8_has_exactly_127_574_912_parameters():
    assert count(BASE) == 127_574_912


# Printed in millions: encoder, tokenizers, decoders, TM, whole.
@pytest.mark.parametrize(
    ("config", "prefix", "millions", "digits"),
    [
        (BASE, "encoder.", 85.06, 2),
        (BASE, "tokenizers.", 0.69, 2),
        (BASE_16, "tokenizers.", 2.75, 2),
        (BASE, "decoders.", 26.5, 1),
        (BASE, "fusion.", 15.36, 2),
        (replace(BASE, tm=FusionConfig(variant="algorithm1")), "fusion.", 16.54, 2),
        (replace(BASE, tm=FusionConfig(mode="decouple")), "fusion.", 18.9, 1),
        (stage_one(BASE), "", 112.2, 1),
        (stage_one(BASE_16), "", 115.7, 1),
        (BASE, "", 127.6, 1),
    ],
)
def test_parameters_to_the_printed_digits(config: SeaMoConfig, prefix: str, millions: float, digits: int):
    assert round(count(config, prefix) / 1e6, digits) == millions


def test_patch_16_by_hand():
    # The notes print 27.9 M and 131.1 M, sums of rounded parts; by hand, a decoder is embedding 393,728 + mask
    # token 512 + 4 blocks of 3,152,384 + norm 1,024 + head 513 P, with P = 3072 (optical) and 512 (radar).
    decoders = 2 * (393_728 + 512 + 4 * 3_152_384 + 1_024) + 513 * (3072 + 512)
    assert decoders == 27_848_192
    assert count(BASE_16, "decoders.") == decoders
    tokenizers = 768 * (3072 + 512) + 2 * 768
    assert count(BASE_16) == 12 * 7_087_872 + 1_536 + tokenizers + decoders + 15_360_000 == 131_018_240


def test_one_encoder_block_has_7_087_872_parameters():
    assert count(BASE, "encoder.blocks.0.") == 7_087_872


def decoder(depth: int = 4, width: int = 512) -> DecoderConfig:
    return DecoderConfig(depth=depth, width=width)


# (configuration, seasons, printed training GFLOP)
TRAINING = [
    (stage_one(BASE), 1, 111.0),
    (stage_one(BASE_16), 1, 28.1),
    (BASE, 4, 472.1),
    (BASE_16, 4, 119.4),
    (replace(BASE, tm=NO_TM), 4, 443.9),
    (replace(BASE_16, tm=NO_TM), 4, 112.5),
    (replace(BASE, decoder=decoder(1)), 4, 346.5),
    (replace(BASE, decoder=decoder(2)), 4, 388.3),
    (replace(BASE, decoder=decoder(8)), 4, 639.6),
    (replace(BASE_16, decoder=decoder(1)), 4, 89.8),
    (replace(BASE_16, decoder=decoder(2)), 4, 99.7),
    (replace(BASE_16, decoder=decoder(8)), 4, 158.9),
    (replace(BASE, mask=MaskConfig(ratio=0.5)), 4, 785.2),
    (replace(BASE, mask=MaskConfig(ratio=0.6)), 4, 656.1),
    (replace(BASE, mask=MaskConfig(ratio=0.9)), 4, 293.6),
    (replace(BASE, decoder=decoder(4, 256)), 4, 347.7),
]


def hidden_embedded(config: SeaMoConfig, seasons: int) -> int:
    """What the notes count beyond us, forward: the linear embedding of hidden patches, which the encoder never sees."""
    values = sum(len(bands) for bands in config.bands.values()) * config.patch**2
    return seasons * 2 * (config.num_patches - config.num_visible) * values * config.dim


@pytest.mark.parametrize(("config", "seasons", "gflop"), TRAINING)
def test_training_flops_within_half_a_percent(config: SeaMoConfig, seasons: int, gflop: float):
    printed = pretraining_flops(config, seasons=seasons).training + 3 * hidden_embedded(config, seasons)
    assert printed / 1e9 == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(
    ("config", "seasons", "gflop"),
    [(stage_one(BASE), 1, 37.0), (stage_one(BASE_16), 1, 9.37), (BASE, 4, 157.4), (BASE_16, 4, 39.8)],
)
def test_forward_flops_within_half_a_percent(config: SeaMoConfig, seasons: int, gflop: float):
    printed = pretraining_flops(config, seasons=seasons).forward + hidden_embedded(config, seasons)
    assert printed / 1e9 == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(("config", "parts"), [(BASE, (1.4, 89.4, 9.4, 57.2)), (BASE_16, (1.4, 21.9, 2.3, 14.2))])
def test_parts_to_the_printed_digits(config: SeaMoConfig, parts: tuple[float, ...]):
    flops = pretraining_flops(config, seasons=4)
    got = (flops.tokenizers + hidden_embedded(config, 4), flops.encoder, flops.fusion, flops.decoders)
    assert [round(part / 1e9, 1) for part in got] == list(parts)


@pytest.mark.parametrize(("config", "total"), [(BASE, 2.42e19), (BASE_16, 6.13e18)])
def test_the_whole_schedule(config: SeaMoConfig, total: float):
    one = pretraining_flops(stage_one(config), seasons=1).training + 3 * hidden_embedded(config, 1)
    two = pretraining_flops(config, seasons=4).training + 3 * hidden_embedded(config, 4)
    assert 250_000 * (20 * one + 200 * two) == pytest.approx(total, rel=0.005)


@pytest.mark.parametrize(("config", "gflop"), [(BASE, 46.2), (BASE_16, 11.3)])
def test_encoding_one_optical_image(config: SeaMoConfig, gflop: float):
    assert encoding_flops(config, "s2", size=128) / 1e9 == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(("size", "gflop"), [(96, 25.2), (224, 155.8)])
def test_encoding_other_sizes(size: int, gflop: float):
    # The notes leave the tokenizer out at these two sizes (and count it at 128).
    tokenizer = 2 * (size // 8) ** 2 * 768 * 768
    assert (encoding_flops(BASE, "s2", size=size) - tokenizer) / 1e9 == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize("mode", ["fuse", "decouple"])
@pytest.mark.parametrize("variant", ["text", "algorithm1"])
@pytest.mark.parametrize("strategy", ["siamese", "multimodal"])
def test_flops_agree_with_what_torch_counts_while_it_runs(mode: str, variant: str, strategy: str):
    from torch.utils.flop_counter import FlopCounterMode

    config = SeaMoConfig(size=16, patch=4, dim=16, depth=2, heads=2, strategy=strategy)
    tm = FusionConfig(mode=mode, variant=variant, merge="concat" if mode == "decouple" else "sum")
    config = replace(config, decoder=DecoderConfig(depth=2, width=8, heads=2), tm=tm)
    model = SeaMo(config)
    images = {s: torch.rand(2, 3, len(names), 16, 16) for s, names in config.bands.items()}
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(images, generator=torch.Generator().manual_seed(0))
    assert counter.get_total_flops() == 2 * pretraining_flops(config, seasons=3).forward
