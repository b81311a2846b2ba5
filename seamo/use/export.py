"""The encoder for others: one folder that seamo, the benchmark, timm and torchgeo users can load."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from seamo.errors import UsageError
from seamo.inputs.normalise import Normalisation, normalise, parse_normalisation
from seamo.model.checkpoint import encoder_only, load_model, save_model
from seamo.model.config import SeaMoConfig
from seamo.model.seamo import SeaMo
from seamo.pretrain.fetched import model_folder
from seamo.use.modelcard import model_card

_WRITTEN = ("format", "seamo", "config", "weights")  # by `save_model`


def export(path: str | Path, out: Path, *, licence: str = "not stated") -> Path:
    """Write tokenizers and encoder of a model, without TM block and decoders.

    Args:
        path: A run, a checkpoint or a model, or its address.
        out: A folder that does not exist yet; gets `model.safetensors` and `card.json`, as
            `seamo.model.checkpoint.load_model` reads them, and `README.md`, a model card in Hugging Face's form.
        licence: Of the weights, for the card.

    Returns:
        `out`.

    Raises:
        UsageError: If there is no model.
        CheckpointError: If the model is damaged, or `out` exists.
    """
    model, card = load_model(model_folder(path))
    rest = {key: value for key, value in card.items() if key not in _WRITTEN}
    readme = partial(model_card, out.resolve().name)
    save_model(out, encoder_only(model), {**rest, "licence": licence}, readme=readme)
    return out


def to_timm(path: str | Path, sensor: str, *, size: int = 0) -> VisionTransformer:
    """The encoder of one sensor as timm's own VisionTransformer.

    `forward_features` gives what `SeaMo.encode` gives for this sensor alone (a CLS token, where there is one, comes
    first), and the model itself the mean of the patch tokens, as `SeaMo.pool`. Inputs are normalised images, bands in
    the card's order.

    Args:
        path: An exported folder, or any model.
        sensor: One of the model's.
        size: Image side in pixels; the size of pretraining without it. Another size has its own positions (laid
            over the trained grid).

    Raises:
        UsageError: For an unknown sensor or a size that is no multiple of the patch.
    """
    model, _ = load_for(path, sensor)
    return as_timm(model, sensor, size=size)


def as_timm(model: SeaMo, sensor: str, *, size: int = 0) -> VisionTransformer:
    """The same of a model in memory, which stays as it is.

    Raises:
        UsageError: For a size that is no multiple of the patch.
    """
    config = model.config
    side = size or config.size
    if side % config.patch:
        raise UsageError(f"size {side} is not a multiple of the patch", "to_timm", f"The patch is {config.patch}.")
    vit = VisionTransformer(num_classes=0, **vit_arguments(config, sensor, side))
    vit.load_state_dict(_timm_state(model, sensor, side // config.patch), strict=True)
    return vit.eval()


def vit_arguments(config: SeaMoConfig, sensor: str, side: int) -> dict[str, Any]:
    """What timm's class is called with for one sensor, but the number of classes."""
    return {
        "img_size": side,
        "patch_size": config.patch,
        "in_chans": len(config.bands[sensor]),
        "embed_dim": config.dim,
        "depth": config.depth,
        "num_heads": config.heads,
        "global_pool": "avg",
        "fc_norm": False,  # timm would else move the final norm behind the pooling
        "class_token": config.cls_token,
        "no_embed_class": True,
    }


@dataclass(frozen=True, slots=True)
class Meta:
    """What must be known to use the weights; the fields of torchgeo's `weights.meta` and `weights.transforms`.

    Args:
        sensor: Key of `seamo.bands.SENSORS`.
        bands: Names, in the order of the channels.
        transforms: Pixels (..., C, H, W) in `unit` -> what `forward` takes.
        unit: Of the pixels, see `seamo.bands.Unit`.
        size: Side in pixels of the images of pretraining.
        patch: Sides must be multiples of it.
        embed_dim: Width of a feature.
        licence: Of the weights.
        provenance: What they were trained on and how.
    """

    sensor: str
    bands: tuple[str, ...]
    transforms: "Normalise"
    unit: str
    size: int
    patch: int
    embed_dim: int
    licence: str
    provenance: Mapping[str, Any]

    @property
    def in_chans(self) -> int:
        """Number of bands, under torchgeo's name."""
        return len(self.bands)


class Normalise(nn.Module):
    """Pixels in the model's unit -> normalised, as in pretraining; what is not finite becomes the mean."""

    def __init__(self, how: Normalisation) -> None:
        super().__init__()
        self.how = how

    def forward(self, pixels: Tensor) -> Tensor:
        """(..., C, H, W) -> the same shape, float32."""
        return normalise(pixels, self.how, valid=pixels.isfinite())


class OneSensor(nn.Module):
    """The encoder for images of one sensor: a plain module with what is known about it in `meta`."""

    def __init__(self, model: SeaMo, meta: Meta) -> None:
        super().__init__()
        self.model, self.meta = model, meta

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> one vector an image (B, D)."""
        return self.model.pool({self.meta.sensor: images})

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> dense features (B, D, H / patch, W / patch)."""
        height, width = (side // self.meta.patch for side in images.shape[-2:])
        tokens_BLD = self.model.encode({self.meta.sensor: images})
        return tokens_BLD.transpose(1, 2).reshape(len(images), -1, height, width)


def load_module(path: str | Path, sensor: str) -> OneSensor:
    """The encoder of one sensor as a plain module, in the manner of torchgeo's models.

    Args:
        path: An exported folder, or any model.
        sensor: One of the model's.

    Raises:
        UsageError: For an unknown sensor.
        CheckpointError: If the folder is damaged.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from seamo.model.config import SeaMoConfig
        >>> small = {"size": 16, "patch": 8, "dim": 16, "depth": 1, "heads": 2}
        >>> config = SeaMoConfig(**small, strategy="unimodal", bands={"s2": ("B02", "B03")})
        >>> numbers = {"unit": "dn", "mean": {"B02": 900, "B03": 1e3}, "std": {"B02": 500, "B03": 500}}
        >>> how = numbers | {"kind": "z-score", "source": "made up", "eight_bit": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(Path(folder) / "model", SeaMo(config), {"normalisation": {"s2": how}, "provenance": {}})
        ...     module = load_module(export(Path(folder) / "model", Path(folder) / "exported"), "s2")
        >>> module(module.meta.transforms(torch.full((3, 2, 16, 16), 1000.0))).shape
        torch.Size([3, 16])
    """
    model, card = load_for(path, sensor)
    config = model.config
    how = parse_normalisation(card["normalisation"][sensor], config.bands[sensor])
    meta = Meta(
        sensor=sensor,
        bands=config.bands[sensor],
        transforms=Normalise(how),
        unit=how.unit.value,
        size=config.size,
        patch=config.patch,
        embed_dim=config.dim,
        licence=str(card["licence"]) if "licence" in card else "not stated",
        provenance=card["provenance"],
    )
    for other in [s for s in config.sensors if s != sensor]:
        del model.tokenizers[other]
    return OneSensor(model, meta).eval()


def load_for(path: str | Path, sensor: str) -> tuple[SeaMo, dict[str, Any]]:
    """The encoder of a model that has a sensor, and its card.

    Raises:
        UsageError: If it has no such sensor.
    """
    model, card = load_model(model_folder(path))
    if sensor not in model.config.sensors:
        raise UsageError(f"has no sensor {sensor!r}", str(path), f"It has {', '.join(model.config.sensors)}.")
    return encoder_only(model).eval(), card


def _timm_state(model: SeaMo, sensor: str, grid: int) -> dict[str, Tensor]:
    """Our names and shapes -> timm's."""
    config = model.config
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    positions = model.positions(grid, grid).detach().clone()
    if config.modality_embed:
        positions += state[f"modality.{sensor}"]
    weight = state[f"tokenizers.{sensor}.weight"]
    found = {
        "patch_embed.proj.weight": weight.view(config.dim, -1, config.patch, config.patch),
        "patch_embed.proj.bias": state[f"tokenizers.{sensor}.bias"],
        "pos_embed": positions[None],
    }
    if config.cls_token:
        found["cls_token"] = state["encoder.cls"][None, None]
    blocks = {name.removeprefix("encoder."): one for name, one in state.items() if name.startswith("encoder.")}
    return found | {name: one for name, one in blocks.items() if name != "cls"}
