"""`seamo embed`: from what was asked on the command line to an image's map or a store's table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from seamo.errors import StoreError, UsageError
from seamo.inputs.spec import MissingPolicy
from seamo.use.options import Image, check_map, check_new, check_table, pair_of, parse_images

if TYPE_CHECKING:  # what is asked for wrongly is refused before torch is imported
    from seamo.manifest import Statistics
    from seamo.store.reader import Store
    from seamo.use.dense import Source

# Those that leave nothing to be trained and need no other network than a SeaMo model.
_POLICIES: tuple[MissingPolicy, ...] = ("fail", "zero", "mean", "nearest-wavelength", "select", "select-columns")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `seamo embed`, as they were given; see its `--help`.

    `others` are sensor=path. In `bands`, `units` and `nodata` a plain text is the first image's, sensor=text that of
    the sensor's image among the others.
    """

    sensor: str = ""
    others: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    nodata: tuple[str, ...] = ()
    missing: str = "fail"
    statistics: str = "card"
    size: int = 0
    overlap: float = 0.5
    stacks: tuple[str, ...] = ()
    split: str = "all"
    batch: int = 16
    device: str = ""


def check_asked(what: str, out: Path, asked: Asked) -> None:
    """Refuse what can be seen to be wrong without a model: options, images, the output.

    Raises:
        UsageError: For an option that does not belong to what is embedded, or cannot be understood; for an output of
            another kind, or one that exists.
    """
    _policy(asked)
    file = _image_file(what)
    if file is None:
        _refuse(asked, ("others", "bands", "units", "nodata", "overlap"), "an image")
        _stacks(asked)
        _store(what)
        check_table(out)
    else:
        _refuse(asked, ("stacks", "split"), "a store")
        _images(file, asked)
        check_map(out)
    check_new(out)


def embed_anything(path: str | Path, what: str, out: Path, *, asked: Asked, progress: TextIO | None) -> dict[str, Any]:
    """Embed an image (a file) or a store (a folder).

    Args:
        path: Of the model, or its address.
        what: Of image or store.
        out: What to write.
        asked: The options.
        progress: Where to show the way.

    Raises:
        UsageError: For an option that does not belong to what is embedded, or cannot be understood.
    """
    from seamo.use.dense import embed_image
    from seamo.use.inputs import load_pretrained
    from seamo.use.pooled import Reading, embed_store

    check_asked(what, out, asked)
    file = _image_file(what)
    if file is not None:
        first, *others = _sources(file, asked)
        return embed_image(
            load_pretrained(path, device=asked.device), first, out,
            others=others, missing=_policy(asked), size=asked.size, overlap=asked.overlap, batch=asked.batch,
            progress=progress,
        )  # fmt: skip
    reading = Reading(
        sensors=(asked.sensor,) if asked.sensor else (),
        stacks=_stacks(asked),
        split=asked.split,
        size=asked.size,
        missing=_policy(asked),
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
        line += f"normalised with {numbers['source']} ({numbers['unit']})"
        lines.append(line + (f"; {' '.join(made_up['bands'])}: {made_up['how']}" if made_up else ""))
    return lines


def _image_file(what: str) -> Path | None:
    """The image; None for what must be a store."""
    file = Path(what)
    return file if file.is_file() and file.name != "store.json" else None


def _store(what: str) -> "Store":
    from seamo.store.reader import open_store

    try:
        return open_store(what)
    except StoreError as error:
        raise UsageError(f"is neither a file nor a store ({error})", what) from error


def _policy(asked: Asked) -> MissingPolicy:
    policy = next((known for known in _POLICIES if known == asked.missing), None)
    if policy is None:
        raise UsageError(f"no policy {asked.missing!r}", "--missing", f"There are {', '.join(_POLICIES)}.")
    return policy


def _stacks(asked: Asked) -> tuple[tuple[str, str], ...]:
    return tuple(pair_of(text, "--stack", "sensor=stack") for text in asked.stacks)


def _images(file: Path, asked: Asked) -> list[Image]:
    """The image, and those of other sensors."""
    return parse_images(
        file, asked.others, sensor=asked.sensor, units=asked.units, bands=asked.bands, nodata=asked.nodata
    )


def _sources(file: Path, asked: Asked) -> "list[Source]":
    from seamo.use.dense import Source

    own = asked.statistics == "card"
    return [
        Source(
            image.path, image.unit, image.sensor, image.bands, image.nodata,
            None if own else _statistics(Path(asked.statistics), image.sensor),
        )
        for image in _images(file, asked)
    ]  # fmt: skip


def _refuse(asked: Asked, names: tuple[str, ...], whose: str) -> None:
    plain, options = Asked(), {"others": "with", "units": "unit", "stacks": "stack"}
    for name in names:
        if getattr(asked, name) != getattr(plain, name):
            raise UsageError(f"--{options.get(name, name)} belongs to {whose}", "embed")


def _statistics(path: Path, sensor: str) -> "Statistics":
    """A YAML file: sensor -> {unit, source, mean: {band: number}, std: {band: number}}."""
    from pydantic import ValidationError

    from seamo.manifest import Statistics
    from seamo.pretrain.recipe import read_yaml

    document = read_yaml(path)
    if not sensor or sensor not in document:
        raise UsageError(f"has no statistics of {sensor or 'an unnamed sensor'}", str(path), "Give --sensor.")
    try:
        return Statistics.model_validate(document[sensor])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{place}: {first['msg']}", f"{path}: {sensor}") from error
