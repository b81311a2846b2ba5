"""What a run says of itself, under its seals: run.json, environment.json, recipe.yaml, and checksums.json at its end.

`run.json` is the original: a document that holds the store's facts and the text of the recipe. `recipe.yaml` is that
text for people, made again if it is damaged. `environment.json` is a document by itself. When the run has ended,
`checksums.json` seals every file of its folder. No torch here.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from seamo.errors import TrainingError, UsageError
from seamo.identity import write_atomically
from seamo.pretrain.places import ENVIRONMENT, LOCK, RECIPE, RUN, RunFolder
from seamo.pretrain.recipe import Recipe
from seamo.seal import (
    MANIFEST,
    DamagedFile,
    damages,
    file_names,
    manifest_bytes,
    open_document,
    open_manifest,
    parse_json,
    seal_document,
    seal_files,
)
from seamo.yamlfile import decode_text, parse_yaml

log = logging.getLogger(__name__)

FORMAT, UNSEALED = "seamo-run/2", "seamo-run/1"
_FIX = "Copy the run again from where it is whole, or begin another one (--out)."
_LONGEST = 64 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class TrainingStoreFacts:
    """What a run remembers of its store.

    Args:
        id: Data set id.
        title: As tables show it ("synthetic", "subset" included).
        content: Content hash: the run goes on with this content only.
        split: What was read of it.
        samples: How many samples that was.
    """

    id: str
    title: str
    content: str
    split: str
    samples: int


@dataclass(frozen=True, slots=True)
class MixedPartFacts(TrainingStoreFacts):
    """What a run remembers of one store of a mixture.

    Args:
        weight: Share of the samples that are drawn from it.
    """

    weight: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run was begun with.

    Args:
        store: On what; of a mixture, on all of it.
        recipe: The resolved recipe, as plain values.
        text: The same as YAML, byte by byte what `recipe.yaml` holds.
        sealed: False for a run of an earlier release, whose facts nothing vouches for.
        mix: The stores of a mixture, in their order.
    """

    store: TrainingStoreFacts
    recipe: Mapping[str, Any]
    text: bytes
    sealed: bool
    mix: tuple[MixedPartFacts, ...] = ()


def write_facts(
    run: RunFolder,
    recipe: Recipe,
    store: TrainingStoreFacts,
    mix: Sequence[MixedPartFacts],
    environment: Mapping[str, Any],
) -> None:
    """Write the three files; a kill between them leaves what can be gone on with."""
    text = yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=False)
    write_atomically(run.path / ENVIRONMENT, seal_document(environment))
    facts: dict[str, Any] = {"format": FORMAT, "store": asdict(store), "recipe": text}
    if mix:
        facts["mix"] = [asdict(one) for one in mix]
    write_atomically(run.path / RUN, seal_document(facts))
    write_atomically(run.path / RECIPE, text.encode("ascii"))


def read_run_facts(path: Path) -> RunFacts:
    """What a run was begun with.

    Raises:
        UsageError: If the folder holds no run.
        TrainingError: If run.json is not what was sealed.
    """
    if not (path / RUN).is_file():
        raise UsageError("holds no run", where=str(path), fix="Give the folder that `seamo pretrain --out` wrote.")
    where, data = str(path / RUN), _read(path / RUN)
    facts = parse_json(data, where, error=TrainingError, fix=_FIX)
    sealed = not (set(facts) == {"format", "store"} and facts["format"] == UNSEALED)
    if sealed:
        facts = open_document(data, where, error=TrainingError, fix=_FIX)
        if facts.get("format") != FORMAT:
            raise TrainingError(f"is not of format {FORMAT}", where, "A newer seamo wrote it: update.")
        text = str(facts.get("recipe")).encode()
    else:
        log.warning("%s is of an earlier release: nothing vouches for its store and recipe", path)
        text = _read(path / RECIPE)
    try:
        store = TrainingStoreFacts(**facts["store"])
        mix = tuple(MixedPartFacts(**one) for one in facts.get("mix", ()))
    except (KeyError, TypeError) as error:
        raise TrainingError("does not say what store it was begun on", where, _FIX) from error
    said = decode_text(text)
    place = where if sealed else str(path / RECIPE)
    recipe = parse_yaml(said, place, error=TrainingError, fix=_FIX) if isinstance(said, str) else None
    values = [value for one in (store, *mix) for value in asdict(one).values()]
    if not isinstance(recipe, dict) or not all(isinstance(value, str | int | float) for value in values):
        raise TrainingError("does not hold a recipe and the facts of a store", place, _FIX)
    return RunFacts(store, recipe, text, sealed, mix)


def read_environment(path: Path) -> dict[str, Any]:
    """What a run computed with.

    Raises:
        TrainingError: If environment.json is not what was sealed.
    """
    where, data = str(path / ENVIRONMENT), _read(path / ENVIRONMENT)
    facts = parse_json(data, where, error=TrainingError, fix=_FIX)
    unsealed = "digest" not in facts and b"\n" in data  # an earlier release wrote it on many lines
    facts = facts if unsealed else open_document(data, where, error=TrainingError, fix=_FIX)
    machine = facts.get("machine")
    if not isinstance(machine, dict) or not isinstance(machine.get("gpus"), list):
        raise TrainingError("does not say what computed", where, _FIX)
    if not all(isinstance(facts.get(name), str) for name in ("seamo", "code")):
        raise TrainingError("does not say which code computed", where, _FIX)
    return facts


def read_run(path: Path) -> dict[str, Any]:
    """The facts of a run as plain values: `recipe`, `store`, `environment`, and of a mixture `mix`, its stores.

    Raises:
        UsageError: If the folder holds no run.
        TrainingError: If a file is not what was sealed.
    """
    facts = read_run_facts(path)
    found = recipe_damage(path, facts)
    if found:
        log.warning("%s %s: run.json is used", path / RECIPE, found)
    said = {"recipe": facts.recipe, "store": asdict(facts.store), "environment": read_environment(path)}
    return {**said, "mix": [asdict(one) for one in facts.mix]} if facts.mix else said


def recipe_damage(path: Path, facts: RunFacts) -> str:
    """What is wrong with recipe.yaml; empty if nothing is."""
    try:
        return "" if (path / RECIPE).read_bytes() == facts.text else "is not the recipe that run.json holds"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def seal_run(path: Path) -> None:
    """Seal every file of a run that has ended; the caller holds its lock."""
    names = [name for name in file_names(path) if name not in (MANIFEST, LOCK)]
    write_atomically(path / MANIFEST, manifest_bytes(seal_files(path, names)))


def sealed_damages(path: Path) -> list[DamagedFile] | None:
    """What is not as the end of the run sealed it; None for a run that has not been sealed (yet).

    Raises:
        TrainingError: If checksums.json is damaged itself.
    """
    file = path / MANIFEST
    if not file.exists():
        return None
    files = open_manifest(_read(file), str(file), error=TrainingError, fix=_FIX)
    return list(damages(path, files, deep=True))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LONGEST + 1)
    except OSError as error:
        raise TrainingError(f"cannot be read ({error.strerror})", str(file), _FIX) from error
    if len(data) > _LONGEST:
        raise TrainingError(f"has more than {_LONGEST:,} bytes, which none of its kind has", str(file), _FIX)
    return data
