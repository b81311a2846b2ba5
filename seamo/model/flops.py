"""Floating-point operations of a configuration, counted from its shapes.

A multiply-add is 2; matrix products, attention included, are counted, while norms, softmax, activations and
the optimiser are not. Recomputed activations are not counted either (model FLOPs, not hardware FLOPs).
"""

from dataclasses import dataclass

from seamo.model.config import SeaMoConfig


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs of one location (all its sensors and seasons), forward, by part."""

    tokenizers: int
    encoder: int
    fusion: int
    decoders: int

    @property
    def forward(self) -> int:
        """One forward pass."""
        return self.tokenizers + self.encoder + self.fusion + self.decoders

    @property
    def training(self) -> int:
        """One training step: the backward pass costs twice the forward pass."""
        return 3 * self.forward


def pretraining_flops(config: SeaMoConfig, *, seasons: int) -> Flops:
    """FLOPs of pretraining on one location of `seasons` seasons."""
    N, L, M = config.num_visible, config.num_patches, len(config.sensors)
    extra = 1 if config.cls_token else 0
    tokens = sum(_linear(N, config.patch_values(s), config.dim) for s in config.sensors)  # hidden ones are not embedded
    if config.strategy == "multimodal":
        encoder = config.depth * _block(M * N + extra, config.dim)
    else:
        encoder = M * config.depth * _block(N + extra, config.dim)
    width = config.decoder.width
    decoders = M * (_linear(N, config.dim, width) + config.decoder.depth * _block(L, width))
    decoders += sum(_linear(L, width, config.patch_values(s)) for s in config.sensors)
    first, later = _fusion(config, first=True), _fusion(config, first=False)
    return Flops(
        tokenizers=seasons * tokens,
        encoder=seasons * encoder,
        fusion=M * config.tm.depth * (first + (seasons - 1) * later),
        decoders=seasons * decoders,
    )


def encoding_flops(config: SeaMoConfig, sensor: str, *, size: int) -> int:
    """FLOPs of `SeaMo.encode` for one image of one sensor, `size` pixels a side (forward)."""
    tokens = (size // config.patch) ** 2
    length = tokens + (1 if config.cls_token else 0)
    return _linear(tokens, config.patch_values(sensor), config.dim) + config.depth * _block(length, config.dim)


def transformer_flops(tokens: int, width: int, depth: int) -> int:
    """FLOPs of `depth` plain transformer blocks (forward) on `tokens` tokens; their MLPs are 4 times as wide."""
    return depth * _block(tokens, width)


def _linear(rows: int, width_in: int, width_out: int) -> int:
    return 2 * rows * width_in * width_out


def _block(tokens: int, width: int) -> int:
    # qkv 3, projection 1, MLP 8 times width squared; two products of tokens by tokens
    return _linear(tokens, width, 12 * width) + 4 * tokens * tokens * width


def _cross_attention(queries: int, keys: int, width: int) -> int:
    projections = _linear(queries, width, 2 * width) + _linear(keys, width, 2 * width)
    return projections + 4 * queries * keys * width


def _fusion(config: SeaMoConfig, *, first: bool) -> int:
    """One image through one TM block; the first season has no predecessor."""
    tm, N, D = config.tm, config.num_visible, config.dim
    if tm.mode == "none":
        return 0
    parts = (0 if config.strategy == "unimodal" else 1) + (0 if first else 1)
    mlp = _linear(N, D, 8 * D)
    if tm.mode == "decouple":
        merge = _linear(N, 2 * D, D) if tm.merge == "concat" else 0
        return parts * _cross_attention(N, N, D) + merge + mlp
    if tm.variant == "algorithm1":
        return (0 if first else _linear(N, 2 * D, D)) + _cross_attention(N, N, D) + mlp
    if parts == 0:
        return mlp
    return _linear(parts * N, D, D) + _cross_attention(N, parts * N, D) + mlp
