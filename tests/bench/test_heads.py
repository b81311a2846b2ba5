"""Heads: shapes on every kind of level, the published architecture in numbers, pooling by hand, learning."""

import pytest
import torch
from torch import nn

from seamo_bench.protocols.dense.heads import author, linear, upernet
from seamo_bench.protocols.dense.heads._parts import Level, PyramidPooling, enlarge

torch.set_num_threads(1)
VIT = [Level(12, 4, 4, 8)] * 4
RESNET = [Level(8, 16, 16, 4), Level(12, 8, 8, 8), Level(16, 4, 4, 16), Level(24, 2, 2, 32)]
ONE = [Level(5, 16, 16, 8)]
HEADS = {"linear": linear, "upernet": upernet, "author": author}


def maps(levels, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, one.channels, one.height, one.width, generator=generator) for one in levels)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("levels", [VIT, RESNET, ONE, [Level(6, 3, 3, 16)] * 7], ids=["vit", "resnet", "one", "seven"])
def test_logits_on_the_head_s_own_grid_and_gradients_everywhere(name, levels):
    torch.manual_seed(0)
    head = HEADS[name].build(levels, 3, width=16)
    logits = head(maps(levels))
    finest = max(one.height for one in levels)
    last = levels[-1].height
    # Levels of one size are brought to 4 times it (author: 8 times the last one), pyramids keep their finest map.
    flat = 4 * last if len(levels) > 1 and finest == last else finest
    side = {"linear": last, "upernet": flat, "author": 8 * last}[name]
    assert logits.shape == (2, 3, side, side)
    logits.square().sum().backward()
    without = [key for key, one in head.named_parameters() if one.grad is None]
    assert not without


def test_linear_sees_the_last_level_alone_and_each_of_its_pixels_alone():
    head = linear.build(VIT, 3, width=0).eval()
    levels = maps(VIT)
    before = head(levels)
    changed = [level.clone() for level in levels]
    for level in changed[:3]:
        level.zero_()
    changed[3][:, :, 1, 2] += 1.0
    moved = (head(changed) != before).any(dim=1)
    assert moved.nonzero()[:, 1:].unique(dim=0).tolist() == [[1, 2]]


def test_author_uses_the_last_level_alone():
    torch.manual_seed(0)
    head = author.build(VIT, 3, width=8).eval()
    levels = maps(VIT)
    changed = (*(level + 1.0 for level in levels[:3]), levels[3])
    torch.testing.assert_close(head(changed), head(levels))


def test_author_at_its_published_width():
    # Counted by hand for a ViT-B: 1x1 convolutions 768 -> 256, 512, 1024, 2048; transposed convolutions of sides 8, 4
    # and 2; pyramid pooling 4 x (2048 -> 256) and 3x3 (2048 + 4 x 256 -> 256); three lateral 1x1, three 3x3 of 256,
    # one 3x3 (1024 -> 256), all without bias; the 3x3 classifier; and two numbers a channel of every group norm.
    counts = (256, 512, 1024, 2048)
    convolutions = sum(768 * c + c for c in counts)
    deconvolutions = sum(c * c * f * f + c for c, f in zip(counts[:3], (8, 4, 2), strict=True))
    pooling = 4 * 2048 * 256 + 9 * (2048 + 4 * 256) * 256
    pyramid = sum(c * 256 for c in counts[:3]) + 3 * 9 * 256 * 256 + 9 * 1024 * 256
    norms = 2 * (sum(counts) + 256 * (4 + 1 + 3 + 3 + 1))
    classifier = 9 * 256 * 13 + 13
    head = author.build([Level(768, 16, 16, 8)] * 4, 13, width=author.WIDTH)
    assert (
        sum(one.numel() for one in head.parameters())
        == convolutions + deconvolutions + pooling + pyramid + norms + classifier
    )
    assert {one.num_groups for one in head.modules() if isinstance(one, nn.GroupNorm)} == {32}
    assert [one.p for one in head.modules() if isinstance(one, nn.Dropout2d)] == [0.5]


def test_author_makes_no_map_finer_than_the_image():
    for stride, side in ((1, 16), (4, 64), (8, 128), (32, 128)):
        level = Level(5, 16, 16, stride)
        assert author.build([level], 3, width=8)(maps([level])).shape[-1] == side


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_pyramid_pooling_by_hand(pool):
    torch.manual_seed(0)
    module = PyramidPooling(1, 1, pool=pool, block=lambda _c, _o, _side: nn.Identity())
    x = torch.randn(1, 1, 6, 6)
    found = module(x)[0]
    reduce = torch.amax if pool == "max" else torch.mean
    assert found.shape == (5, 6, 6)
    torch.testing.assert_close(found[0], x[0, 0])
    torch.testing.assert_close(found[1], reduce(x[0, 0], dim=(0, 1)).expand(6, 6))
    halves = torch.stack(
        [torch.stack([reduce(x[0, 0, r : r + 3, c : c + 3], dim=(0, 1)) for c in (0, 3)]) for r in (0, 3)]
    )
    # Bilinear from 2 to 6 pixels, centres aligned: the outer pixels are the values, the middle ones lie between.
    torch.testing.assert_close(found[2][0, 0], halves[0, 0])
    torch.testing.assert_close(found[2][5, 0], halves[1, 0])
    torch.testing.assert_close(found[2][0, 2], halves[0, 0] * 2 / 3 + halves[0, 1] / 3)
    torch.testing.assert_close(found[4], x[0, 0])  # six by six is the map itself


def test_enlarging_keeps_what_has_the_size_already():
    x = torch.randn(1, 2, 3, 3)
    assert enlarge(x, (3, 3)) is x


@pytest.mark.parametrize("name", HEADS)
def test_a_head_overfits_a_few_tiles(name):
    torch.manual_seed(0)
    levels = maps(ONE if name == "linear" else VIT, batch=4)
    size = levels[-1].shape[-1]
    if name == "linear":
        target = (levels[-1][:, 0] > 0).long()
    else:
        target = torch.randint(0, 2, (4, 2, 2)).repeat_interleave(size // 2, 1).repeat_interleave(size // 2, 2)
    head = HEADS[name].build(ONE if name == "linear" else VIT, 2, width=8)
    for module in head.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.02)
    for _ in range(40):
        loss = nn.functional.cross_entropy(enlarge(head(levels), (size, size)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    right = (enlarge(head(levels), (size, size)).argmax(dim=1) == target).float().mean()
    assert right > 0.97
