"""What cells will cost before any of them ran: FLOPs x images x epochs x learning rates x seeds, over a throughput.

The throughput is that of earlier records where there are some (`measured_throughput`), what a person states, or
`GPU` / `CPU`. Frozen protocols share their features: the cells of one network on one store compute them once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from statistics import median

from seamo.bands import Unit
from seamo.manifest import DatasetSpec
from seamo_bench.card import BackboneCard
from seamo_bench.protocol import Params, Protocol
from seamo_bench.protocols import find_protocol, protocols
from seamo_bench.records.record import Record
from seamo_bench.runs.flops import head_flops, image_flops

BACKWARD = 3  # a training step costs three forward passes
READ = 500e6  # decoded bytes a second, stated; one core unpacks more (docs/performance.md)
START_S = 3.0  # to load a network, open a store and write records, stated
_SMALL = 0.1  # share of the throughput that products with so few columns sustain, stated
_STEPS = 100  # of L-BFGS to an optimum, about
_FEATURE_BYTES = 4
_KEY_BYTES = 48  # of a test sample in kept predictions, beside its scores
_VAL_SHARE = 0.1  # of the training samples, where only two splits are published


@dataclass(frozen=True, slots=True)
class Throughput:
    """What a device sustains.

    Args:
        flops: FLOPs a second.
        basis: Where the number is from, in words.
    """

    flops: float
    basis: str

    def __str__(self) -> str:
        return f"{self.flops / 1e12:.3g} TFLOP/s, {self.basis}"


GPU = Throughput(10e12, "stated for one GPU")
CPU = Throughput(0.05e12, "stated for a CPU")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a cell will cost.

    Args:
        features: Seconds for the features that its whole group shares; 0 where it computes none.
        own: Seconds of the rest, all its seeds that are to do.
        features_bytes: What kept features will take, shared likewise.
        own_bytes: What its records and predictions will take.
        measured: Whether the seconds are those of earlier records of the same backbone and protocol.
    """

    features: float
    own: float
    features_bytes: float
    own_bytes: float
    measured: bool

    @property
    def seconds(self) -> float:
        """If it runs alone."""
        return self.features + self.own


@dataclass(frozen=True, slots=True)
class Size:
    """How much data a cell works on.

    Args:
        samples: Split -> number; of cross-validation `{"all": n}`.
        trials: 25 in cross-validation, else 1.
        image_bytes: Decoded bytes of one sample that is read.
        side: Side of the image in pixels as the network sees it; 0 = the card's.
        sensors: How many are fed at once.
        num_classes: K.
    """

    samples: Mapping[str, int]
    trials: int
    image_bytes: int
    side: int
    sensors: int
    num_classes: int

    @property
    def train(self) -> float:
        """Training samples of one trial."""
        return self.samples.get("train", 0.8 * self.samples.get("all", 0))

    @property
    def val(self) -> int:
        """Validation samples."""
        return self.samples.get("val", 0)

    @property
    def test(self) -> float:
        """Test samples of one trial."""
        return self.samples.get("test", 0.2 * self.samples.get("all", 0))


def published_counts(spec: DatasetSpec, scheme: str = "", fraction: float = 1.0) -> dict[str, int] | None:
    """Split -> samples as published; None where the manifest does not know them.

    Args:
        spec: Of the data set.
        scheme: Split scheme; empty = its default.
        fraction: Share of the training labels.
    """
    counts = dict(spec.expected.splits.get(scheme or spec.default_split, {}))
    if not {"train", "test"} <= counts.keys():
        return None
    if "val" not in counts:
        counts["val"] = int(_VAL_SHARE * counts["train"])
        counts["train"] -= counts["val"]
    return {**counts, "train": int(fraction * counts["train"])}


def image_bytes(spec: DatasetSpec, sensors: Sequence[str]) -> int:
    """Decoded bytes of one sample: layers of the sensors (all that are no mask without any), one date each."""
    layers = [one for one in spec.layers if (one.sensor in sensors if sensors else one.unit is not Unit.CLASS)]
    sizes = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "float32": 4, "float64": 8}
    return sum(len(one.bands) * prod(one.size or (64, 64)) * sizes.get(one.dtype, 4) for one in layers)


def estimate(
    protocol: Protocol, params: Params, card: BackboneCard, size: Size, *, seeds: int, speed: Throughput
) -> Estimate:
    """What seeds of one cell will cost, by arithmetic.

    Args:
        protocol: What runs.
        params: With which parameters.
        card: Of the backbone.
        size: Of the data.
        seeds: How many are to do.
        speed: Of the device.
    """
    image = image_flops(card, size.side, sensors=size.sensors) * protocol.dates

    def seconds(flops: float, images: float) -> float:
        return max(flops / speed.flops, images * size.image_bytes * protocol.dates / READ)

    num_settings = max(1, _length(params, "base_lrs"))
    epochs = _number(params, "epochs")
    kept = seeds * size.trials * size.test * (4 * size.num_classes + _KEY_BYTES)
    if protocol.needs == "features":
        images = size.train + size.val + size.test
        width = card.embed_dim or sum(len(one.bands) for one in card.inputs) or size.num_classes
        own = seeds * size.trials * _on_features(params, size, width=width) / (_SMALL * speed.flops)
        own += START_S if seeds else 0.0
        return Estimate(seconds(image * images, images), own, images * width * _FEATURE_BYTES, kept, measured=False)
    if protocol.needs == "levels" and params.get("frozen"):
        shown = epochs * size.train + size.val + size.test
        head = head_flops(card, params, size.side)
        trained = num_settings * (BACKWARD * epochs * size.train + size.val) + size.test
        flops = image * shown + head * trained
    else:
        shown = num_settings * (epochs * size.train + size.val) + size.test
        passes = num_settings * (BACKWARD * epochs * size.train + size.val) + size.test
        head = head_flops(card, params, size.side) if protocol.needs == "levels" else 0.0
        flops = (image + head) * passes
    own = seeds * seconds(flops, shown) + (START_S if seeds else 0.0)
    return Estimate(0.0, own, 0.0, kept, measured=False)


def _on_features(params: Params, size: Size, *, width: int) -> float:
    """FLOPs of what one trial computes on features: neighbours, a grid of linear layers, or optima of one."""
    if "k" in params:
        return 2.0 * size.train * size.test * width
    if "steps" in params:
        seen = _number(params, "steps") * min(_number(params, "batch"), size.train)
        passes = BACKWARD * seen * _length(params, "lrs") * _length(params, "weight_decays")
    else:
        # Of each penalty one fit to choose by, in cross-validation one for each two of five folds; then the model.
        compared = _length(params, "C") * (1.0 if size.trials == 1 else 2 * 0.75)
        passes = 2.0 * _STEPS * size.train * (1 + (compared if _length(params, "C") > 1 else 0))
    return 2.0 * passes * width * size.num_classes


def _length(params: Params, name: str) -> int:
    value = params.get(name, ())
    return len(value) if isinstance(value, tuple | list) else 1


def _number(params: Params, name: str) -> float:
    value = params.get(name, 1)
    return float(value) if isinstance(value, int | float) else 1.0


def shared_seconds(cells: Sequence[tuple[str, Estimate]]) -> list[float]:
    """Seconds of each cell when they run in this order and features that are there are not computed again.

    Args:
        cells: (group that shares features, estimate).
    """
    there: dict[str, float] = {}
    found = []
    for group, one in cells:
        found.append(max(0.0, one.features - there.get(group, 0.0)) + one.own)
        there[group] = max(there.get(group, 0.0), one.features)
    return found


def disk_bytes(cells: Sequence[tuple[str, Estimate]]) -> float:
    """Bytes that features, records and predictions of cells will take."""
    features: dict[str, float] = {}
    for group, one in cells:
        features[group] = max(features.get(group, 0.0), one.features_bytes)
    return sum(features.values()) + sum(one.own_bytes for _, one in cells)


def trained(records: Sequence[Record]) -> list[Record]:
    """Those in whose training pixels went through the network; what is no longer installed does not count.

    Of all at once: to ask what is installed takes as long as to read a record.
    """
    known = protocols()
    ids = {record.facts.protocol.id for record in records} & known.keys()
    own = {one for one in ids if find_protocol(one).needs != "features"}
    return [record for record in records if record.facts.protocol.id in own]


def trainings(record: Record) -> int:
    """How many trainings are behind a record: one a base learning rate."""
    rates = record.facts.protocol.params.get("base_lrs", ())
    return max(1, len(rates)) if isinstance(rates, tuple) else 1


def training_throughput(records: Sequence[Record]) -> tuple[float | None, str]:
    """FLOPs a second of our trainings (median over records), evaluation included, and the device; None without any."""
    rates, devices = [], set()
    for record in trained(records):
        cost, params, samples = record.cost, record.facts.protocol.params, record.about.samples
        epochs = params.get("epochs")
        if not cost.seconds or not cost.flops_per_sample:
            continue
        if not isinstance(epochs, int | float) or not {"train", "val", "test"} <= samples.keys():
            continue
        images = trainings(record) * (BACKWARD * epochs * samples["train"] + samples["val"]) + samples["test"]
        rates.append(cost.flops_per_sample * images / cost.seconds)
        devices.add(record.environment.get("device", "unknown device"))
    return (median(rates), ", ".join(sorted(devices))) if rates else (None, "")


def measured_throughput(records: Sequence[Record]) -> Throughput | None:
    """What the device of records sustains, in training or else in passes through networks; None: they do not tell."""
    rate, device = training_throughput(records)
    if rate is None:
        found = [
            (one.cost.flops_per_sample * one.cost.samples_per_second, one.environment.get("device", "unknown device"))
            for one in records
            if one.cost.flops_per_sample and one.cost.samples_per_second
        ]
        rate = median(rate for rate, _ in found) if found else None
        device = ", ".join(sorted({device for _, device in found}))
    return None if rate is None else Throughput(rate, f"measured here ({device})")
