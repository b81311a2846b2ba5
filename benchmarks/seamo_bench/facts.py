"""The facts of a run: everything that can change its number, as frozen values, and the key that they make."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seamo.identity import digest
from seamo.inputs.wiring import SensorWiring, Wiring
from seamo_bench.predictions import Kind, Scoring

Budget = Literal["full", "demo"]
Scalar = bool | int | float | str | None
_ANEW = "new-tokenizer"


class Value(BaseModel):
    """A frozen value that a file holds: no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StoreFacts(Value):
    """One store that a run reads; two where sensors of separate stores are joined by key."""

    id: str
    content: str
    synthetic: bool = False
    subset: bool = False


class SplitFacts(Value):
    """Which samples were used for what.

    Args:
        scheme: `official`, `hash-60-20-20`, `cv5x5`, ...
        lists: Split -> sha256 of the key list really used (one key a line, sorted), the fraction applied.
        fraction, salt: The label fraction of train and its salt.
        rule: How the fraction was drawn.
    """

    scheme: str
    lists: dict[str, str]
    fraction: float = 1.0
    salt: int = 0
    rule: str = "hash"


class TaskFacts(Value):
    """The label space a run is scored in.

    Args:
        kind: Of the task.
        classes: Names in id order.
        label_space: Name in the manifest.
        background: Class id that the `_no_background` metrics leave out.
        positive: Class id of the one-class metrics (change, water).
    """

    kind: Kind
    classes: tuple[str, ...]
    label_space: str = ""
    background: int | None = None
    positive: int | None = None


class BackboneFacts(Value):
    """The network.

    Args:
        id: Card id, or id of a run.
        card: Digest of the whole card.
        weights: Sha256 of the weights file, digest of the run or checkpoint; empty where nothing is loaded.
    """

    id: str
    card: str
    weights: str = ""


class StepFacts(Value):
    """One step of the normalisation that was applied, as on the card (`seamo.inputs.spec.Step`)."""

    op: str
    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()


class InputFacts(Value):
    """What one sensor's channels were fed with.

    Args:
        sensor: Key of `seamo.bands.SENSORS`.
        stack: Stack (or layer) of the store that was read.
        bands: Names in the order of the network's channels.
        unit: Unit of the numbers before `steps`.
        steps: Normalisation, in order.
        filled: Bands of `bands` that the store does not have and the missing policy made up.
        statistics: Where the numbers in `steps` come from.
        sources: By qualified id, the store's band that is read for each of `bands`, where one stands in for another
            by `select` or `rgb`; empty elsewhere, as in records of before there were these.
    """

    sensor: str
    stack: str
    bands: tuple[str, ...]
    unit: str
    steps: tuple[StepFacts, ...]
    filled: tuple[str, ...] = ()
    statistics: str = ""
    sources: tuple[str, ...] = ()


class AdapterFacts(Value):
    """What happened to pixels before the network.

    Args:
        inputs: One per sensor.
        missing: Missing-band policy.
        size: (H, W) fed to the network.
        resize: How the image got there, in words.
    """

    inputs: tuple[InputFacts, ...]
    missing: str
    size: tuple[int, int]
    resize: str = ""


def adapter_facts(wiring: Wiring) -> AdapterFacts:
    """What a record says about the way from the store to the network."""
    inputs = tuple(
        InputFacts(
            sensor=sensor.input.sensor,
            stack=sensor.stack,
            bands=sensor.input.bands,
            unit=sensor.input.unit.value,
            steps=tuple(StepFacts(op=step.op, a=step.a, b=step.b) for step in sensor.input.steps),
            filled=tuple(channel.band for channel in sensor.channels if channel.filled),
            statistics=sensor.statistics,
            sources=_sources(sensor) if wiring.missing in ("select", "rgb") else (),
        )
        for sensor in wiring.sensors
    )
    return AdapterFacts(inputs=inputs, missing=wiring.missing, size=wiring.size or (0, 0), resize=wiring.resampling())


def _sources(sensor: SensorWiring) -> tuple[str, ...]:
    if not any(channel.filled for channel in sensor.channels):
        return ()
    return tuple(f"{sensor.source_sensor}:{channel.source}" for channel in sensor.channels)


class ProtocolFacts(Value):
    """How the backbone was evaluated; `version` is bumped when the code gives other numbers."""

    id: str
    version: int
    params: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)


class Facts(Value):
    """Everything that can change the number, and nothing else (no device, workers, host, evaluation batch).

    Args:
        adapter: None only where the cell is impossible because no adapter can be made.
        seed: Of everything the protocol draws.
        precision: `fp32`, `bf16`, ...
        inputs: What the suite's row asks of the input beyond the card (`s1`, `s2:B02+B03`, `224 px`): rows that
            differ in it ask different questions.
        budget: `demo` runs are never mixed with full ones.
    """

    stores: tuple[StoreFacts, ...]
    split: SplitFacts
    task: TaskFacts
    backbone: BackboneFacts
    protocol: ProtocolFacts
    adapter: AdapterFacts | None = None
    seed: int = 0
    precision: str = "fp32"
    inputs: str = ""
    budget: Budget = "full"


@dataclass(frozen=True, slots=True)
class InputAsked:
    """What a row asks of the input, which `Facts.inputs` says in one line.

    Args:
        inputs: Sensors, or some of their bands.
        size: Pixels; None: the card's.
        anew: Whether for new tokenizers.

    Example:
        >>> InputAsked(("s1", "s2:B02+B03"), 224, anew=True).line
        's1 s2:B02+B03 224 px new-tokenizer'
        >>> asked_of("224 px new-tokenizer")
        InputAsked(inputs=(), size=224, anew=True)
    """

    inputs: tuple[str, ...] = ()
    size: int | None = None
    anew: bool = False

    @property
    def line(self) -> str:
        """As records and columns say it."""
        return " ".join([*self.inputs, *([f"{self.size} px"] if self.size else []), *([_ANEW] if self.anew else [])])


def asked_of(line: str) -> InputAsked:
    """What `InputAsked.line` was of."""
    words = line.split()
    anew = _ANEW in words
    words = [word for word in words if word != _ANEW]
    if words[-1:] == ["px"]:
        return InputAsked(tuple(words[:-2]), int(words[-2]), anew)
    return InputAsked(tuple(words), None, anew)


def run_key(facts: Facts) -> str:
    """Sha256 of the facts in canonical JSON, fields at their defaults left out.

    Leaving defaults out keeps the keys of old records when a field is added; so a default, once
    published, is never changed.
    """
    return digest(facts.model_dump(mode="json", exclude_defaults=True))


def keys_sha256(keys: list[str]) -> str:
    """Sha256 of a key list as `SplitFacts.lists` holds it: of the canonical JSON of the sorted keys."""
    return digest(sorted(keys))


def scoring_of(facts: Facts) -> Scoring:
    """What metrics must know about the task of a run."""
    return Scoring(facts.task.kind, facts.task.background, facts.task.positive)
