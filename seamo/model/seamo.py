"""SeaMo: masked reconstruction of several sensors in several seasons (arXiv 2412.19237, section 3).

Shapes: B location, T season, M sensor, L patches, N visible patches, D width, P values of a patch,
C bands, S image side. `s` runs over sensors, `t` over seasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seamo.errors import UsageError
from seamo.model.config import SeaMoConfig
from seamo.model.decoder import Decoder, patch_moments
from seamo.model.encoder import Encoder
from seamo.model.fusion import Fusion, fusable
from seamo.model.masking import Masks, draw_masks, noise_shape
from seamo.model.tokenizer import Positions, Tokenizer, patchify


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a forward pass gives.

    Args:
        loss: Sum of `terms`, each with the weight of its sensor (`SeaMoConfig.loss_weight`).
        terms: (sensor, season index) -> mean over the counted patches and their values of the squared
            error; 0 where nothing counts.
        counts: (sensor, season index) -> number of patches that the term is a mean over, so that terms of
            several batches can be joined exactly.
        pred: Sensor -> prediction of every patch (B, T, L, P), in normalised target space.
        masked: Sensor -> (B, T, L), True where a patch was hidden.
    """

    loss: Tensor
    terms: dict[tuple[str, int], Tensor]
    counts: dict[tuple[str, int], Tensor]
    pred: dict[str, Tensor]
    masked: dict[str, Tensor]


class SeaMo(nn.Module):
    """The model.

    Args:
        config: Every switch.
        generator: Source of the initial weights (xavier uniform linear layers, tokens N(0, 0.02), as MAE);
            torch's global one without it.
        drop_path: Stochastic depth of the encoder's last block, for fine-tuning; 0 in pretraining.

    Example:
        >>> config = SeaMoConfig(size=16, patch=8, dim=16, depth=1, heads=2)
        >>> model = SeaMo(config, generator=torch.Generator().manual_seed(0))
        >>> images = {"s2": torch.rand(1, 4, 12, 16, 16), "s1": torch.rand(1, 4, 2, 16, 16)}
        >>> len(model(images, generator=torch.Generator().manual_seed(1)).terms)
        8
    """

    def __init__(
        self, config: SeaMoConfig, *, generator: torch.Generator | None = None, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.config = config
        width, learned = config.dim, config.pos == "learned"
        self.tokenizers = nn.ModuleDict({s: Tokenizer(config.patch_values(s), width) for s in config.sensors})
        self.positions = Positions(config.grid, width, learned=learned)
        self.modality = nn.ParameterDict(
            {s: nn.Parameter(torch.empty(width)) for s in config.sensors if config.modality_embed}
        )
        self.encoder = Encoder(config.depth, width, config.heads, cls_token=config.cls_token, drop_path=drop_path)
        self.fusion = None if config.tm.mode == "none" else Fusion(config)
        self.decoders = nn.ModuleDict({s: Decoder(config, s) for s in config.sensors})
        _initialise(self, generator)

    def forward(
        self,
        images: Mapping[str, Tensor],
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        valid: Mapping[str, Tensor] | None = None,
        pixel_valid: Mapping[str, Tensor] | None = None,
    ) -> Output:
        """Hide, encode, fuse, reconstruct, compare.

        Args:
            images: Sensor -> (B, T, C, S, S), normalised, finite wherever the image is there.
            noise: Uniform numbers that decide the masks, (B, T, L) or, with independent masks, (B, T, M, L).
            generator: Draws the noise where none is given.
            valid: Sensor -> (B, T), False where an image is absent: hidden from every other image (attention
                masks in encoder and TM block) and counted nowhere. With `algorithm1` an image whose other
                sensor is absent has no query and counts nowhere either. None: all are there (the fast path).
            pixel_valid: Sensor -> (B, T, 1 or C, S, S), False where a pixel is no measurement: a patch with
                such a pixel counts nowhere. The pixel's own value is still read, so it must be harmless.

        Raises:
            UsageError: If an image is missing, or has another shape than the configuration says.
        """
        B, T = self._check(images, valid, pixel_valid)
        if noise is None:
            if generator is None:
                raise UsageError("neither noise nor a generator decides the masks", where="SeaMo.forward")
            device = next(iter(images.values())).device
            noise = torch.rand(noise_shape(self.config, B, T), generator=generator, device=device)
        masks = draw_masks(noise, self.config)
        if valid is not None:  # an absent image may hold anything, also NaN
            images = {s: x.masked_fill(~valid[s][:, :, None, None, None], 0) for s, x in images.items()}
        patches = {s: patchify(images[s], self.config.patch) for s in self.config.sensors}
        visible = {s: self._visible(patches[s], s, masks.kept[:, :, m]) for m, s in enumerate(self.config.sensors)}
        features = self._encode_visible(visible, valid)
        if self.fusion is not None:
            features = self.fusion(features, valid)
        pred = {
            s: self.decoders[s](features[s].flatten(0, 1), masks.kept[:, :, m].flatten(0, 1)).unflatten(0, (B, T))
            for m, s in enumerate(self.config.sensors)
        }
        return self._compare(pred, patches, masks, valid, pixel_valid)

    def encode(self, images: Mapping[str, Tensor]) -> Tensor:
        """Tokens of whole images, nothing hidden: what downstream tasks use (TM block and decoders are not).

        Args:
            images: Any of the model's sensors -> (B, C, H, W), normalised; H and W equal for all sensors and
                multiples of the patch. Positions of other grids: see `Positions`.

        Returns:
            (B, n, D), after the final norm: the sensors' tokens one after the other in the order of the
            configuration, each row by row; a CLS token is left out.
        """
        sequences, num_sensors = self._sequences(images)
        encoded = self.encoder(sequences)[:, self.encoder.num_extra :]
        return _unfold(encoded, num_sensors)

    def encode_levels(self, images: Mapping[str, Tensor], blocks: Sequence[int]) -> tuple[Tensor, ...]:
        """As `encode`, after each of the given blocks (0-based, ascending) and before the final norm."""
        sequences, num_sensors = self._sequences(images)
        return tuple(_unfold(level, num_sensors) for level in self.encoder.levels(sequences, blocks))

    def pool(self, images: Mapping[str, Tensor]) -> Tensor:
        """One vector an image (B, D): the mean of `encode`'s tokens."""
        return self.encode(images).mean(dim=1)

    def recompute_activations(self, *, on: bool) -> None:
        """Trade time for memory: recompute the blocks of encoder and decoders in the backward pass."""
        self.encoder.recompute = on
        for decoder in self.decoders.values():
            decoder.recompute = on  # type: ignore[assignment]

    def _check(
        self,
        images: Mapping[str, Tensor],
        valid: Mapping[str, Tensor] | None,
        pixel_valid: Mapping[str, Tensor] | None,
    ) -> tuple[int, int]:
        config, shapes = self.config, {s: tuple(x.shape) for s, x in images.items()}
        if not len(self.decoders):
            raise UsageError("has no decoders", "SeaMo.forward", "An exported encoder encodes; train from the run.")
        if set(images) != set(config.sensors):
            raise UsageError(f"images of {', '.join(images)} instead of {', '.join(config.sensors)}", "SeaMo.forward")
        B, T = shapes[config.sensors[0]][:2]
        for s in config.sensors:
            want = (B, T, len(config.bands[s]), config.size, config.size)
            if shapes[s] != want:
                raise UsageError(f"images are {shapes[s]} instead of {want}", f"SeaMo.forward {s}")
            if valid is not None and (s not in valid or valid[s].shape != (B, T)):
                raise UsageError(f"valid lacks {s}, or its shape is not {(B, T)}", "SeaMo.forward")
            if pixel_valid is not None and (
                s not in pixel_valid or pixel_valid[s].shape not in (want, (B, T, 1, *want[3:]))
            ):
                raise UsageError(f"pixel_valid lacks {s}, or its shape is not {want}", "SeaMo.forward")
        if T != 1 and not config.temporal:
            raise UsageError(f"{T} seasons, and temporal is off", "SeaMo.forward", "Give one season.")
        return B, T

    def _visible(self, patches_BTLP: Tensor, sensor: str, kept_BTN: Tensor) -> Tensor:
        # Gathered before they are embedded: a hidden patch costs neither a product nor, backwards, a scatter.
        seen = patches_BTLP.gather(2, kept_BTN[..., None].expand(-1, -1, -1, patches_BTLP.shape[-1]))
        table = self.positions(self.config.grid, self.config.grid)
        return self._tokens(seen, sensor, functional.embedding(kept_BTN, table))

    def _tokens(self, patches: Tensor, sensor: str, positions: Tensor) -> Tensor:
        tokens: Tensor = self.tokenizers[sensor](patches)
        # What is added takes the dtype of the tokens: under autocast in bf16 the stream stays bf16 in all blocks.
        tokens = tokens + positions.to(tokens.dtype)
        return tokens + self.modality[sensor].to(tokens.dtype) if self.config.modality_embed else tokens

    def _encode_visible(self, visible: dict[str, Tensor], valid: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        # Folded into the batch: (B, T) for a joint sequence, (M, B, T) where every sensor is a sequence.
        joint = self.config.strategy == "multimodal"
        sensors, N = self.config.sensors, self.config.num_visible
        B, T = visible[sensors[0]].shape[:2]
        parts = [visible[s].flatten(0, 1) for s in sensors]
        keys = None
        if valid is not None:
            keys = torch.cat([valid[s].flatten()[:, None].expand(-1, N) for s in sensors], dim=1 if joint else 0)
        encoded = self.encoder(torch.cat(parts, dim=1 if joint else 0), keys)[:, self.encoder.num_extra :]
        split = encoded.split(N, dim=1) if joint else encoded.split(B * T, dim=0)
        return {s: part.unflatten(0, (B, T)) for s, part in zip(sensors, split, strict=True)}

    def _sequences(self, images: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        config, patch = self.config, self.config.patch
        unknown = [s for s in images if s not in config.sensors]
        if unknown or not images:
            raise UsageError(
                f"images of {', '.join(images) or 'nothing'}", "SeaMo.encode", f"It knows {config.sensors}."
            )
        chosen = [s for s in config.sensors if s in images]
        H, W = images[chosen[0]].shape[-2:]
        if H % patch or W % patch:
            raise UsageError(f"images are {H} x {W}, not multiples of patch {patch}", "SeaMo.encode", "Resize or pad.")
        parts = []
        for s in chosen:
            if images[s].shape[1:] != (len(config.bands[s]), H, W):
                want = (len(config.bands[s]), H, W)
                raise UsageError(f"images are {tuple(images[s].shape[1:])} instead of {want}", f"SeaMo.encode {s}")
            patches = patchify(images[s].unsqueeze(1), patch).squeeze(1)
            parts.append(self._tokens(patches, s, self.positions(H // patch, W // patch)))
        if config.strategy == "multimodal":
            return torch.cat(parts, dim=1), 1
        return torch.cat(parts, dim=0), len(parts)

    def _compare(
        self,
        pred: dict[str, Tensor],
        patches: dict[str, Tensor],
        masks: Masks,
        valid: Mapping[str, Tensor] | None,
        pixel_valid: Mapping[str, Tensor] | None,
    ) -> Output:
        terms, counts, masked = {}, {}, {}
        for m, s in enumerate(self.config.sensors):
            masked[s] = masks.masked[:, :, m]
            counted = counted_patches(masked[s], s, self.config, valid=valid, pixel_valid=pixel_valid)
            values = patches[s].float() if patches[s].dtype != torch.float64 else patches[s]
            mean, scale = patch_moments(values, self.config.norm_pix, len(self.config.bands[s]))
            error_BTL = (pred[s].to(values.dtype) - (values - mean) / scale).square().mean(dim=-1)
            count_T = counted.sum(dim=(0, 2))
            term_T = (error_BTL * counted).sum(dim=(0, 2)) / count_T.clamp(min=1)
            for t in range(len(term_T)):
                terms[s, t], counts[s, t] = term_T[t], count_T[t]
        weight = self.config.weight_of
        loss = torch.stack([term * weight(s) for (s, _), term in terms.items()]).sum()
        return Output(loss=loss, terms=terms, counts=counts, pred=pred, masked=masked)


def counted_patches(
    masked_BTL: Tensor,
    sensor: str,
    config: SeaMoConfig,
    *,
    valid: Mapping[str, Tensor] | None,
    pixel_valid: Mapping[str, Tensor] | None,
) -> Tensor:
    """Which patches count in the loss: hidden ones of images that are there and can be fused, without a lost pixel.

    Args:
        masked_BTL: True where a patch of the sensor is hidden.
        sensor: Of the model.
        config: The model's.
        valid: As `SeaMo.forward` takes it.
        pixel_valid: Likewise.
    """
    counted = masked_BTL
    if valid is not None:
        counted = counted & fusable(valid, config.tm)[sensor][:, :, None]
    if pixel_valid is not None:
        counted = counted & patchify(pixel_valid[sensor], config.patch).all(dim=-1)
    return counted


def layer_ids(model: SeaMo) -> dict[str, int]:
    """Depth of every encoder parameter, for layer-wise learning-rate decay.

    Returns:
        Parameter name -> 0 for tokenizers, positions and tokens, i + 1 for block i, depth + 1 for the final
        norm (where a task's head belongs too). TM block and decoders are not in it.
    """
    ids = {}
    for name, _ in model.named_parameters():
        part = name.split(".")
        if part[0] in ("tokenizers", "positions", "modality") or name == "encoder.cls":
            ids[name] = 0
        elif part[0] == "encoder":
            ids[name] = int(part[2]) + 1 if part[1] == "blocks" else len(model.encoder.blocks) + 1
    return ids


def undecayed(model: nn.Module) -> set[str]:
    """Names of the parameters without weight decay: biases, norms, tokens and learned positions."""
    return {name for name, p in model.named_parameters() if p.ndim < 2 or name.endswith("positions.table")}


def _unfold(tokens: Tensor, num_sensors: int) -> Tensor:
    # (M * B, n, D) of separate sequences -> (B, M * n, D)
    return torch.cat(tokens.chunk(num_sensors, dim=0), dim=1)


def _initialise(model: nn.Module, generator: torch.Generator | None) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
    for name, parameter in model.named_parameters():
        kind = name.rsplit(".", 2)
        if kind[-1] in ("cls", "mask_token", "type_other", "type_previous", "table") or "modality" in kind:
            nn.init.normal_(parameter, std=0.02, generator=generator)
