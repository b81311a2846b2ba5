"""What the model does as a whole: gradients between seasons, learning, positions, refusals."""

import random
from dataclasses import replace

import pytest
import torch

from seamo.bands import S2_L2A
from seamo.errors import UsageError
from seamo.model.config import DecoderConfig, FusionConfig, MaskConfig, SeaMoConfig, stage_one
from seamo.model.fusion import Fusion
from seamo.model.masking import draw_masks, noise_shape
from seamo.model.seamo import SeaMo, layer_ids, undecayed
from seamo.model.tokenizer import Positions, patchify, unpatchify
from seamo.pretrain.inputs import Inputs
from seamo.pretrain.painting import paint

SMALL = SeaMoConfig(
    bands={"s2": ("B02", "B03", "B04"), "s1": ("VV", "VH")},
    size=16,
    patch=4,
    dim=32,
    depth=2,
    heads=4,
    decoder=DecoderConfig(depth=1, width=32, heads=4),
)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share
    yield
    torch.set_num_threads(threads)


def rand(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def images_of(config: SeaMoConfig, batch: int, seasons: int) -> dict[str, torch.Tensor]:
    side = config.size
    return {s: rand(batch, seasons, len(b), side, side, seed=i) for i, (s, b) in enumerate(config.bands.items())}


def test_the_printed_algorithm_executed_literally_passes_no_gradient_between_seasons():
    """Lines 3 to 12 of Algorithm 1, as printed: lines 5-6 of the next round overwrite what lines 9-10 wrote."""
    T, N, D = 4, 5, 8
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(2 * D, D, generator=generator)
    F_O = [torch.randn(N, D, generator=generator, requires_grad=True) for _ in range(T)]
    F_R = [torch.randn(N, D, generator=generator, requires_grad=True) for _ in range(T)]
    H_O: dict[int, torch.Tensor] = {}
    H_R: dict[int, torch.Tensor] = {}

    def cross_attention(query: torch.Tensor, key_value: torch.Tensor) -> torch.Tensor:
        return (query @ key_value.T / D**0.5).softmax(dim=-1) @ key_value

    for t in range(T):
        H_O[t] = cross_attention(F_R[t], F_O[t])
        H_R[t] = cross_attention(F_O[t], F_R[t])
        if t < T - 1:
            H_O[t + 1] = cross_attention(torch.cat([F_R[t + 1], F_O[t]], dim=1) @ f, F_O[t + 1])
            H_R[t + 1] = cross_attention(torch.cat([F_O[t + 1], F_R[t]], dim=1) @ f, F_R[t + 1])

    for t in range(T):
        gradients = torch.autograd.grad(
            (H_O[t].square().sum() + H_R[t].square().sum()), [*F_O, *F_R], allow_unused=True, retain_graph=True
        )
        reached = [i % T for i, gradient in enumerate(gradients) if gradient is not None and gradient.abs().max() > 0]
        assert reached == [t, t]  # its own season, both sensors, and no other


@pytest.mark.parametrize(
    ("tm", "reach"),
    [
        (FusionConfig(), {2, 3}),
        (FusionConfig(prev="H"), {0, 1, 2, 3}),
        (FusionConfig(mode="decouple"), {2, 3}),
        (FusionConfig(variant="algorithm1"), {2, 3}),
        (FusionConfig(variant="algorithm1", prev="H"), {0, 1, 2, 3}),
    ],
)
def test_our_fusion_passes_gradients_from_the_previous_season(tm: FusionConfig, reach: set[int]):
    config = replace(SMALL, tm=tm)
    fusion = Fusion(config).eval()
    torch.manual_seed(0)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    features = {s: rand(1, 4, 3, 32, seed=i).requires_grad_() for i, s in enumerate(config.sensors)}
    fused = fusion(features, None)
    (gradient,) = torch.autograd.grad(fused["s2"][:, 3].square().sum(), [features["s2"]])
    assert {t for t in range(4) if gradient[:, t].abs().max() > 0} == reach


def test_the_first_season_is_not_fed_by_the_last():
    fusion = Fusion(SMALL)
    features = {s: rand(1, 4, 3, 32, seed=i).requires_grad_() for i, s in enumerate(SMALL.sensors)}
    gradients = torch.autograd.grad(fusion(features, None)["s2"][:, 0].sum(), list(features.values()))
    assert all((gradient[:, 1:] == 0).all() for gradient in gradients)


@pytest.mark.parametrize(
    "config", [SMALL, pytest.param(stage_one(SMALL), marks=pytest.mark.soak)], ids=["stage 2", "stage 1"]
)
def test_overfits_eight_locations(config: SeaMoConfig):
    config = replace(config, norm_pix="none")
    model = SeaMo(config, generator=torch.Generator().manual_seed(0))
    seasons = 2 if config.temporal else 1
    across = torch.linspace(-1, 1, config.size)
    images = {}
    for i, (s, bands) in enumerate(config.bands.items()):  # every image a tilted plane of its own
        level, down, right = (2 * rand(3, 8, seasons, len(bands), 1, 1, seed=20 + i) - 1).unbind(0)
        images[s] = level + down * across[:, None] + right * across
    noise = rand(8, seasons, config.num_patches, seed=9)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(80):
        optimiser.zero_grad()
        loss = model(images, noise=noise).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # Each term starts near the variance of the planes, 1/3 + 2/9 (and above, with random weights).
    assert losses[0] > seasons * len(config.bands) * 0.4
    assert losses[-1] < 0.1 * losses[0]


def test_every_parameter_gets_a_gradient():
    for tm in (FusionConfig(), FusionConfig(type_embed=True), FusionConfig(mode="decouple", merge="concat")):
        config = replace(SMALL, tm=tm, cls_token=True, modality_embed=True, pos="learned")
        model = SeaMo(config, generator=torch.Generator().manual_seed(0))
        model(images_of(config, 2, 3), noise=rand(2, 3, 16, seed=5)).loss.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_recomputing_activations_changes_no_number():
    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0))
    images, noise = images_of(SMALL, 2, 3), rand(2, 3, 16, seed=5)
    valid = {s: torch.tensor([[True, True, False], [True, True, True]]) for s in SMALL.sensors}
    gradients = []
    for on in (False, True):
        model.recompute_activations(on=on)
        model.zero_grad()
        model(images, noise=noise, valid=valid).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed, atol=1e-6, rtol=1e-5)


def test_initial_weights_depend_on_the_generator_alone():
    one = SeaMo(SMALL, generator=torch.Generator().manual_seed(4)).state_dict()
    torch.rand(3)
    two = SeaMo(SMALL, generator=torch.Generator().manual_seed(4)).state_dict()
    other = SeaMo(SMALL, generator=torch.Generator().manual_seed(5)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["encoder.blocks.0.attn.qkv.weight"], other["encoder.blocks.0.attn.qkv.weight"])
    # Xavier uniform: +- sqrt(6 / (fan in + fan out)); here 32 in, 96 out.
    bound = (6 / (32 + 96)) ** 0.5
    assert 0.95 * bound < one["encoder.blocks.0.attn.qkv.weight"].abs().max() <= bound


def test_a_generator_draws_the_noise():
    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0))
    images = images_of(SMALL, 2, 2)
    drawn = model(images, generator=torch.Generator().manual_seed(3)).loss
    given = model(images, noise=rand(2, 2, 16, seed=3)).loss
    assert torch.equal(drawn, given)


def test_patchify_by_hand_and_back():
    image = torch.arange(2 * 4 * 4).reshape(1, 1, 2, 4, 4).float()
    patches = patchify(image, 2)
    # second patch: rows 0-1, columns 2-3, first band then second (which starts at 16)
    assert patches[0, 0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]
    assert torch.equal(unpatchify(patches, 2), image)


def test_tokenizer_weight_is_that_of_a_convolution():
    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0))
    image = images_of(SMALL, 1, 1)["s2"]
    tokenizer = model.tokenizers["s2"]
    convolved = torch.nn.functional.conv2d(image[0], tokenizer.weight.view(32, 3, 4, 4), tokenizer.bias, stride=4)
    tokens = tokenizer(patchify(image, 4))[0]
    torch.testing.assert_close(tokens, convolved.flatten(2).transpose(1, 2))


def test_learned_positions_of_another_grid_keep_a_constant_and_a_ramp():
    positions = Positions(4, 8, learned=True)
    with torch.no_grad():
        positions.table.fill_(3.0)
        positions.table[:, 1] = torch.arange(4).repeat(4)  # the column
    wide = positions(8, 8).reshape(8, 8, 8)
    torch.testing.assert_close(wide[..., 0], torch.full((8, 8), 3.0))
    # centre on centre: column c of 8 lies at (c + 0.5) / 2 - 0.5 of the trained grid
    torch.testing.assert_close(wide[2, 3:5, 1], torch.tensor([1.25, 1.75]), atol=0.02, rtol=0)


def test_painting_shows_visible_patches_and_predicts_hidden_ones():
    model = SeaMo(replace(SMALL, norm_pix="none"), generator=torch.Generator().manual_seed(0))
    images = images_of(SMALL, 2, 2)
    inputs = Inputs(images, rand(2, 2, 16, seed=3), None, None)
    output = model(images, noise=inputs.noise)
    painted = patchify(paint(output, inputs, model.config)["s2"].helped, 4)
    masked = output.masked["s2"]
    assert torch.equal(painted[~masked], patchify(images["s2"], 4)[~masked])
    assert torch.equal(painted[masked], output.pred["s2"][masked])


def test_painting_perfect_normalised_predictions_gives_the_image_back():
    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0))
    images = images_of(SMALL, 1, 2)
    inputs = Inputs(images, rand(1, 2, 16, seed=3), None, None)
    output = model(images, noise=inputs.noise)
    perfect = {}
    for s, x in images.items():
        patches = patchify(x, 4)
        perfect[s] = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    painted = paint(replace(output, pred=perfect), inputs, model.config)
    torch.testing.assert_close(painted["s1"].helped, images["s1"], atol=1e-5, rtol=0)


def test_layer_ids_and_undecayed():
    model = SeaMo(replace(SMALL, pos="learned", cls_token=True))
    ids = layer_ids(model)
    assert (ids["tokenizers.s1.weight"], ids["positions.table"], ids["encoder.cls"]) == (0, 0, 0)
    assert (ids["encoder.blocks.0.norm1.weight"], ids["encoder.blocks.1.mlp.fc2.bias"]) == (1, 2)
    assert ids["encoder.norm.weight"] == 3
    assert not any(name.startswith(("fusion", "decoders")) for name in ids)
    free = undecayed(model)
    assert {"positions.table", "encoder.cls", "decoders.s2.mask_token", "encoder.norm.weight"} <= free
    assert "decoders.s2.positions.table" in free
    assert "encoder.blocks.0.attn.qkv.weight" not in free


def test_levels_end_where_encode_begins():
    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0))
    images = {s: x[:, 0] for s, x in images_of(SMALL, 2, 1).items()}
    first, last = model.encode_levels(images, (0, 1))
    assert first.shape == last.shape == (2, 32, 32)
    torch.testing.assert_close(model.encoder.norm(last), model.encode(images))


def test_drop_path_grows_with_depth_and_leaves_the_decoder_alone():
    model = SeaMo(SMALL, drop_path=0.2)
    assert [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.encoder.blocks] == [0.0, 0.2]
    assert isinstance(model.decoders["s2"].blocks[0].drop_path1, torch.nn.Identity)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"s2": x["s2"]}, "images of s2 instead of s2, s1"),
        (lambda x: {**x, "s1": x["s1"][:, :1]}, r"instead of \(2, 2, 2, 16, 16\)"),
        (lambda x: {**x, "s2": x["s2"][..., :8]}, r"instead of \(2, 2, 3, 16, 16\)"),
    ],
)
def test_forward_refuses_what_does_not_fit(change, message: str):
    with pytest.raises(UsageError, match=message):
        SeaMo(SMALL)(change(images_of(SMALL, 2, 2)), noise=rand(2, 2, 16, seed=0))


def test_forward_refuses_more_seasons_than_it_has_and_no_noise():
    with pytest.raises(UsageError, match="2 seasons, and temporal is off"):
        SeaMo(stage_one(SMALL))(images_of(SMALL, 1, 2), noise=rand(1, 2, 16, seed=0))
    with pytest.raises(UsageError, match="neither noise nor a generator"):
        SeaMo(SMALL)(images_of(SMALL, 1, 2))
    with pytest.raises(UsageError, match=r"noise is \(1, 2, 9\)"):
        SeaMo(SMALL)(images_of(SMALL, 1, 2), noise=rand(1, 2, 9, seed=0))


def test_forward_refuses_validity_that_does_not_fit():
    model, images, noise = SeaMo(SMALL), images_of(SMALL, 2, 2), rand(2, 2, 16, seed=0)
    there = torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(UsageError, match="valid lacks s1"):
        model(images, noise=noise, valid={"s2": there})
    with pytest.raises(UsageError, match=r"valid lacks s2, or its shape is not \(2, 2\)"):
        model(images, noise=noise, valid={"s2": there[:, :1], "s1": there})
    with pytest.raises(UsageError, match="pixel_valid lacks s2"):
        model(images, noise=noise, pixel_valid={"s2": there, "s1": there})


def test_autocast_stays_close_and_keeps_the_loss_in_float32():
    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0))
    images, noise = images_of(SMALL, 4, 3), rand(4, 3, 16, seed=5)
    valid = {s: torch.tensor([[True, True, False]] * 4) for s in SMALL.sensors}
    exact = model(images, noise=noise, valid=valid).loss
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(images, noise=noise, valid=valid).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.01, atol=0)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


class Dtypes:
    """What goes into every block of a stack: the dtype of its stream."""

    def __init__(self, model: SeaMo) -> None:
        self.seen: list[torch.dtype] = []
        stacks = [model.encoder, *model.decoders.values()]
        for block in (block for stack in stacks for block in stack.blocks):
            block.register_forward_pre_hook(lambda _, args: self.seen.append(args[0].dtype))


@pytest.mark.parametrize("changes", [{}, {"pos": "learned"}, {"modality_embed": True}, {"cls_token": True}])
def test_the_stream_stays_bf16_under_autocast(changes: dict):
    config = replace(SMALL, tm=FusionConfig(type_embed=True), **changes)
    model = SeaMo(config, generator=torch.Generator().manual_seed(0))
    images, noise = images_of(config, 2, 2), rand(2, 2, 16, seed=5)
    dtypes = Dtypes(model)
    with torch.autocast("cpu", torch.bfloat16):
        model(images, noise=noise)
        model.encode({s: image[:, 0] for s, image in images.items()})
    blocks = 2 * config.depth + 2 * config.decoder.depth
    assert dtypes.seen == [torch.bfloat16] * blocks
    dtypes.seen.clear()
    model(images, noise=noise)
    assert set(dtypes.seen) == {torch.float32}


LEARNT = ("tokenizers", "positions", "modality")
RANDOM = random.Random(20)  # noqa: S311 - shapes, the same every time
SHAPES = [
    {
        "bands": {"s2": S2_L2A[: RANDOM.randint(1, 12)], "s1": ("VV", "VH")[: RANDOM.randint(1, 2)]},
        "size": (patch := RANDOM.choice([2, 3, 4])) * RANDOM.randint(3, 5),
        "patch": patch,
        "dim": 4 * RANDOM.randint(1, 6),
        "heads": RANDOM.choice([1, 2, 4]),
        "mask": MaskConfig(RANDOM.choice([0.5, 0.6, 0.75]), RANDOM.choice(["consistent", "independent"])),
        "pos": RANDOM.choice(["sincos", "learned"]),
        "strategy": RANDOM.choice(["siamese", "multimodal"]),
        "modality_embed": RANDOM.random() < 0.5,
    }
    for _ in range(12)
]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_embedding_what_is_seen_is_embedding_all_and_leaving_out_the_rest(shape: dict):
    """The tokens of the encoder, and the gradients behind them, against the plain order: embed all, then pick."""
    config = SeaMoConfig(depth=1, decoder=DecoderConfig(depth=1, width=4, heads=1), **shape)
    model = SeaMo(config, generator=torch.Generator().manual_seed(1)).double()
    images = {s: image.double() for s, image in images_of(config, 2, 3).items()}
    noise = rand(*noise_shape(config, 2, 3), seed=5)
    entered: list[torch.Tensor] = []

    def keep(_: object, args: tuple) -> None:
        args[0].retain_grad()
        entered.append(args[0])

    model.encoder.register_forward_pre_hook(keep)
    model(images, noise=noise).loss.backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters() if name.split(".")[0] in LEARNT}
    model.zero_grad()
    kept = draw_masks(noise, config).kept
    rows = {s: [] for s in config.sensors}
    for m, s in enumerate(config.sensors):
        for b in range(2):
            for t in range(3):
                whole = model.tokenizers[s](patchify(images[s], config.patch)[b, t]) + model.positions.table
                whole = whole + model.modality[s] if config.modality_embed else whole
                rows[s].append(whole[kept[b, t, m]])
    sequences = [torch.stack(rows[s]) for s in config.sensors]
    wanted = torch.cat(sequences, dim=1 if config.strategy == "multimodal" else 0)
    torch.testing.assert_close(entered[0], wanted, rtol=0, atol=1e-12)
    (wanted * entered[0].grad).sum().backward()
    for name, grad in got.items():
        torch.testing.assert_close(grad, model.get_parameter(name).grad, rtol=1e-9, atol=1e-12)
    assert len(got) >= 4


def test_encode_refuses_what_does_not_fit():
    model = SeaMo(SMALL)
    with pytest.raises(UsageError, match="not multiples of patch 4"):
        model.encode({"s2": torch.zeros(1, 3, 18, 16)})
    with pytest.raises(UsageError, match="images of rgb"):
        model.encode({"rgb": torch.zeros(1, 3, 16, 16)})
    with pytest.raises(UsageError, match=r"images are \(2, 8, 8\) instead of"):
        model.encode({"s2": torch.zeros(1, 3, 16, 16), "s1": torch.zeros(1, 2, 8, 8)})


@pytest.mark.parametrize("sensor", ["s2", "s1"])
def test_the_encoder_is_a_timm_vision_transformer(sensor: str):
    """One sensor's tokenizer and the encoder, moved into timm's own model, give the same tokens."""
    from timm.models.vision_transformer import VisionTransformer

    model = SeaMo(SMALL, generator=torch.Generator().manual_seed(0)).eval()
    bands = len(SMALL.bands[sensor])
    vit = VisionTransformer(
        img_size=16,
        patch_size=4,
        in_chans=bands,
        embed_dim=32,
        depth=2,
        num_heads=4,
        num_classes=0,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
    ).eval()
    state = {name.removeprefix("encoder."): x for name, x in model.state_dict().items() if name.startswith("encoder.")}
    tokenizer = model.tokenizers[sensor]
    state["patch_embed.proj.weight"] = tokenizer.weight.view(32, bands, 4, 4)
    state["patch_embed.proj.bias"] = tokenizer.bias
    state["pos_embed"] = model.positions(4, 4)[None]
    vit.load_state_dict(state, strict=True)
    images = images_of(SMALL, 2, 1)[sensor][:, 0]
    torch.testing.assert_close(model.encode({sensor: images}), vit.forward_features(images), atol=1e-5, rtol=0)
