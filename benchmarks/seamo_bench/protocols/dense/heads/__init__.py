"""Heads that dense protocols put on feature levels: one module each, found by name.

A module has `build(levels: Sequence[Level], num_classes, *, width) -> nn.Module`; the module it gives turns the
levels (B, C, h, w), shallow to deep, into logits (B, K, h', w') on a grid of its own, which the protocol enlarges.
"""
