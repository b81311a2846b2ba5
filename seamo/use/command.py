"""`seamo embed`: from what was asked on the command line to an image's map or a store's table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, get_args

from pydantic import ValidationError

from seamo.bands import Unit
from seamo.errors import StoreError, UsageError
from seamo.manifest import Statistics
from seamo.pretrain.recipe import read_yaml
from seamo.store.reader import Store, open_store
from seamo.use.dense import Source, embed_image
from seamo.use.inputs import Missing, load_pretrained
from seamo.use.pooled import Reading, embed_store


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `seamo embed`, as they were given; see its `--help`."""

    sensor: str = ""
    bands: tuple[str, ...] = ()
    unit: str = ""
    nodata: float | None = None
    missing: str = "refuse"
    statistics: str = "card"
    size: int = 0
    overlap: float = 0.5
    stacks: tuple[str, ...] = ()
    split: str = "all"
    batch: int = 16
    device: str = ""


def embed_anything(path: Path, what: str, out: Path, *, asked: Asked, progress: TextIO | None) -> dict[str, Any]:
    """Embed an image (a file) or a store (a folder).

    Raises:
        UsageError: For an option that does not belong to what is embedded, or cannot be understood.
    """
    missing = next((one for one in get_args(Missing) if one == asked.missing), None)
    if missing is None:
        raise UsageError(f"no policy {asked.missing!r}", "--missing", f"There are {', '.join(get_args(Missing))}.")
    file = Path(what)
    if file.is_file() and file.name != "store.json":
        _refuse(asked, ("stacks", "split"), "a store")
        pretrained = load_pretrained(path, device=asked.device)
        source = Source(
            file, _unit(asked.unit), asked.sensor, asked.bands, asked.nodata, missing,
            None if asked.statistics == "card" else _statistics(Path(asked.statistics), asked.sensor),
        )  # fmt: skip
        return embed_image(
            pretrained, source, out, size=asked.size, overlap=asked.overlap, batch=asked.batch, progress=progress
        )
    _refuse(asked, ("bands", "unit", "nodata", "overlap"), "an image")
    reading = Reading(
        sensors=(asked.sensor,) if asked.sensor else (),
        stacks=tuple(_pair(text) for text in asked.stacks),
        split=asked.split,
        size=asked.size,
        missing=missing,
        statistics=asked.statistics,
        batch=asked.batch,
    )
    store = _store(what)
    return embed_store(load_pretrained(path, device=asked.device), store, reading, out, progress=progress)


def in_words(facts: dict[str, Any]) -> list[str]:
    """What was done with each sensor's bands, a line each."""
    lines = []
    for one in facts["inputs"]:
        numbers, made_up = one["normalisation"], one["made_up"]
        line = f"{one['sensor']}: {' '.join(one['bands'])}; {one['conversion']}; "
        line += f"{numbers['kind']} with {numbers['source']} ({numbers['unit']})"
        lines.append(line + (f"; {' '.join(made_up['bands'])}: {made_up['how']}" if made_up else ""))
    return lines


def _store(what: str) -> Store:
    try:
        return open_store(what)
    except StoreError as error:
        raise UsageError(f"is neither a file nor a store ({error})", what) from error


def _refuse(asked: Asked, names: tuple[str, ...], whose: str) -> None:
    plain = Asked()
    for name in names:
        if getattr(asked, name) != getattr(plain, name):
            raise UsageError(f"--{name.removesuffix('s') if name == 'stacks' else name} belongs to {whose}", "embed")


def _unit(text: str) -> Unit:
    if text not in [one.value for one in Unit]:
        known = ", ".join(one.value for one in Unit if one != Unit.CLASS)
        raise UsageError(f"{text!r} is no unit" if text else "the unit is not stated", "--unit", f"Units: {known}.")
    return Unit(text)


def _pair(text: str) -> tuple[str, str]:
    sensor, equals, stack = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is not sensor=stack", "--stack", "For example s2=s2a.")
    return sensor, stack


def _statistics(path: Path, sensor: str) -> Statistics:
    """A YAML file: sensor -> {unit, source, mean: {band: number}, std: {band: number}}."""
    document = read_yaml(path)
    if not sensor or sensor not in document:
        raise UsageError(f"has no statistics of {sensor or 'an unnamed sensor'}", str(path), "Give --sensor.")
    try:
        return Statistics.model_validate(document[sensor])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{place}: {first['msg']}", f"{path}: {sensor}") from error
