"""Weights of torchgeo by their enum: `torchgeo:ResNet50_Weights.SENTINEL2_ALL_DINO` (needs the extra `zoo`).

Those that torchgeo loads into ResNets and ViTs of timm, on Sentinel-2, Sentinel-1 or 8-bit RGB. Bands, normalisation
and file are read from the enum; of its resizing and cropping only the final size is kept. No reference output proves
what the enum states, so these rows are "unverified". Models that have cards of their own here are refused by name.
"""

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from seamo.bands import SENSORS
from seamo.errors import BandError, UsageError
from seamo_bench.backbones._inputs import UNITS
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules
from seamo_bench.networks.variant import whole, word

if TYPE_CHECKING:
    from seamo_bench.networks.timm_trunk import TimmTrunk

PREFIX = "torchgeo:"
OWN = {
    "croma": "croma-base-joint, croma-large-joint",
    "dofa": "dofa-base-s2, dofa-large-s2",
    "copernicusfm": "copernicusfm-base-s2",
    "panopticon": "panopticon-vitb14-s2",
    "scalemae": "scalemae-vitl",
    "swin_v2": "satlas-swinb-s2, satlas-swinb-s1",
}
PLAIN = ("Resize", "CenterCrop", "Normalize", "Identity")  # steps of torchgeo's transforms that can be read


@lru_cache(maxsize=64)
def card_of(name: str) -> BackboneCard | None:
    """The card of `torchgeo:<enum>.<member>`; None for any other name.

    Raises:
        UsageError: If the extra is not installed, there are no such weights, or they cannot be used here (and why).
        BandError: If its bands are of a sensor that we do not know.
    """
    if not name.startswith(PREFIX):
        return None
    wanted = name.removeprefix(PREFIX)
    found = _weights(wanted)
    meta: dict[str, Any] = found.meta
    model = str(meta.get("model", ""))
    own = next((cards for start, cards in OWN.items() if wanted.lower().startswith(start)), "")
    if own or not model.startswith(("resnet", "vit_")):
        fix = f"Its family has cards here: {own}." if own else "Only its ResNets and ViTs are used."
        raise UsageError(f"is {model or 'no model of torchgeo.models'}, which is not loaded from torchgeo", name, fix)
    from seamo_bench.networks.timm_trunk import shapes_of

    steps, size = _read_transforms(found.transforms, name)
    sensor, bands = _bands(meta, name)
    _refuse_8bit(sensor, bands, steps, name)
    stored = int(meta.get("img_size", 0)) or (size if model.startswith("vit_") else 0)
    shapes = shapes_of(model, size=size, fixed=model.startswith("vit_"), stored=stored)
    licence = str(meta.get("license") or "unknown: see the model's page")
    return BackboneCard(
        id=name,
        family="torchgeo_any",
        title=f"torchgeo {wanted}",
        inputs=(InputSpec(sensor, bands, UNITS[sensor], steps, f"torchgeo {_version()}, {wanted}.transforms"),),
        embed_dim=shapes.embed_dim,
        size=size,
        multiple_of=shapes.multiple_of,
        any_size=shapes.any_size,
        code_licence="MIT",
        source=f"{meta.get('publication', '')}; {meta.get('repo', '')}",
        pos_interp="as timm has it",
        pooling="as timm pools before its classifier",
        levels=shapes.levels,
        weights=Weights(
            urls=(str(found.url),),
            filename=str(found.url).rpartition("/")[2],
            licence=licence,
            noncommercial="non-commercial" in licence or "NC" in licence.split("-"),
        ),
        pretrained_on=_pretrained_on(meta),
        variant=(("model", model), ("img_size", stored), ("channels", int(meta["in_chans"]))),
    )


def _build(card: BackboneCard) -> "TimmTrunk":
    from seamo_bench.networks.timm_trunk import TimmTrunk, make_trunk

    trunk = make_trunk(word(card, "model"), in_chans=whole(card, "channels"), size=whole(card, "img_size"))
    return TimmTrunk(trunk, tuple(spec.sensor for spec in card.inputs), shared=True)


def _weights(wanted: str) -> Any:
    missing = [package for package in ("torchgeo", "requests") if find_spec(package) is None]
    if missing:
        raise UsageError(f"{' and '.join(missing)} not installed", PREFIX + wanted, "pip install 'seamo[zoo]'")
    from torchgeo.models import get_weight

    try:
        return get_weight(wanted)
    except ValueError as error:
        fix = "Write the enum and its member, such as ResNet50_Weights.SENTINEL2_ALL_DINO."
        raise UsageError(f"torchgeo has no weights {wanted!r}", fix=fix) from error


def _version() -> str:
    from importlib.metadata import version

    return version("torchgeo")


def _read_transforms(transforms: Any, name: str) -> tuple[tuple[Step, ...], int]:
    """Normalisation and final side of torchgeo's transforms.

    Raises:
        UsageError: If there is more in them than resizing, cropping and normalising.
    """
    parts = list(transforms.children()) or [transforms]
    kinds = [type(part).__name__ for part in parts]
    if set(kinds) - set(PLAIN):
        raise UsageError(f"its transforms cannot be read ({', '.join(kinds)})", name, "Write a card for it.")
    steps: list[Step] = []
    size = 224  # what torchgeo's builders are made for, where its transforms do not resize
    for kind, part in zip(kinds, parts, strict=True):
        if kind == "Normalize":
            steps.append(Step("affine", tuple(map(float, part.mean)), tuple(map(float, part.std))))
        elif kind != "Identity":
            size = int(part.size[-1])
    return tuple(steps), size


def _bands(meta: dict[str, Any], name: str) -> tuple[str, tuple[str, ...]]:
    """Sensor and bands, in our spelling (`B8a` -> `B8A`, `B4` -> `B04`).

    Raises:
        BandError: If no sensor that we know has them all.
    """
    listed = [str(band) for band in meta.get("bands") or ()]
    if not listed and meta.get("in_chans") == 3:
        return "rgb", ("R", "G", "B")
    spelt = tuple(f"B{int(band[1:]):02d}" if band[1:].isdecimal() else band.upper() for band in listed)
    for sensor in UNITS:
        # Landsat's enums number their bands like Sentinel-2's; their product is in the name.
        if spelt and "LANDSAT" not in name and set(spelt) <= {band.name for band in SENSORS[sensor]}:
            return sensor, spelt
    raise BandError(f"bands {', '.join(listed) or 'unknown'} are of no sensor that stores have", name)


def _refuse_8bit(sensor: str, bands: tuple[str, ...], steps: tuple[Step, ...], name: str) -> None:
    """Sentinel-2 weights whose numbers are of 8-bit pictures: how these came from reflectance is not in the enum.

    Raises:
        UsageError: If a visible band is divided by less than 500.
    """
    if sensor != "s2" or not steps:
        return
    divisors = steps[0].b * len(bands) if len(steps[0].b) == 1 else steps[0].b
    visible = [divisor for band, divisor in zip(bands, divisors, strict=True) if band in ("B02", "B03", "B04")]
    if min(visible, default=1e4) < 500:
        raise UsageError("its numbers are of 8-bit pictures, ours are reflectance", name, "Write a card for it.")


def _pretrained_on(meta: dict[str, Any]) -> tuple[str, ...]:
    known = {"SSL4EO-S12": "ssl4eo-s12", "SatlasPretrain": "satlaspretrain", "fMoW Dataset": "fmow"}
    return (known[meta["dataset"]],) if meta.get("dataset") in known else ()


FAMILY = Family(
    cards=(),
    build=_build,
    rules=KeyRules(rename=(("^", "trunk."),), drop=("fc.*", "head.*")),  # bare, with timm's names; the classifier goes
    card_of=card_of,
)
