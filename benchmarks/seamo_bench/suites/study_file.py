"""Study files: the rows of an ablation table as recipes with changes, controls matched by arithmetic. No training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seamo.errors import ProtocolError, RecipeError
from seamo.identity import digest
from seamo.model.flops import pretraining_flops
from seamo.pretrain.recipe import Recipe, apply_changes, parse_recipe, read_yaml, shipped_recipes
from seamo.yamlfile import read_mapping
from seamo_bench.facts import Budget
from seamo_bench.suites import find_study

RUNS = "runs"  # in a folder of results: the pretrainings of its studies
_MACHINE = ("machine", "name", "about", "seed")  # what does not make another model, or is in the run's name


class Match(BaseModel):
    """Stage 2 is made longer or shorter until the run sees as many images, or costs as many FLOPs, as another row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str
    by: Literal["images", "flops"]


class StudyRow(BaseModel):
    """One row of an ablation table.

    Args:
        id: Also its name among the published numbers.
        label: As the report prints it.
        set: Changes of the recipe, `dotted.key=value`.
        epochs: Share of the recipe's epochs (and warm-up) of stage 2.
        each_sensor: Two pretrainings, one a sensor, each evaluated on data of its sensor.
        match: Of a control.
        control: What the paper's comparison mixes up and this row takes apart; empty: a row of the paper.
        extra: Why a row that the paper does not have is here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    label: str
    set: tuple[str, ...] = ()
    epochs: float = Field(default=1.0, gt=0.0)
    each_sensor: bool = False
    match: Match | None = None
    control: str = ""
    extra: str = ""


class Study(BaseModel):
    """An ablation.

    Args:
        id: Its name; the report is `studies/<id>.md` in the results.
        title: One line.
        table: Of the paper (`T10`): the rows of `suite` that are marked with it are the downstream tasks.
        suite: Downstream suite, shipped or a path.
        recipe: What the rows change: a shipped recipe or a path.
        set: Changes for every row.
        demo_recipe: The recipe of `--budget demo`.
        demo_set: Changes for every row with `--budget demo`.
        seeds: Pretrainings a row.
        reference: Row that the others are compared with.
        rows: The rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    table: str = ""
    suite: str = "ablations"
    recipe: str
    set: tuple[str, ...] = ()
    demo_recipe: str = "seamo-tiny"
    demo_set: tuple[str, ...] = (
        "stage1={epochs: 1, warmup_epochs: 0}",
        "stage2={epochs: 4, warmup_epochs: 0}",
        "model.depth=2",
        "model.dim=64",
    )
    seeds: int = Field(default=1, ge=1)
    reference: str = "default"
    rows: tuple[StudyRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> "Study":
        names = [row.id for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows have one id")
        if self.reference not in names:
            raise ValueError(f"the reference {self.reference!r} is no row")
        for row in self.rows:
            if row.match is not None and (row.match.to not in names or row.match.to == row.id):
                raise ValueError(f"row {row.id} is matched to {row.match.to!r}, which is no other row")
            if row.match is not None and self.row(row.match.to).match is not None:
                raise ValueError(f"row {row.id} is matched to {row.match.to!r}, which is itself matched")
        return self

    def row(self, name: str) -> StudyRow:
        """A row by its id."""
        return next(row for row in self.rows if row.id == name)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """One model to pretrain.

    Args:
        name: Of its run folder: the recipe's name, a digest of recipe and store, and the seed. Rows of several
            studies that are the same recipe are the same run.
        recipe: Resolved.
        sensors: What it can be evaluated on.
        images: Images it sees, all sensors and seasons counted.
        flops: It takes, forward and backward.
        stage2_epochs: Of the recipe, matched or not.
    """

    name: str
    recipe: Recipe
    sensors: tuple[str, ...]
    images: int
    flops: float
    stage2_epochs: int

    @property
    def group(self) -> str:
        """What runs that differ in their seed alone are called in records."""
        return self.name.rpartition("-seed")[0]


def load_study(name_or_path: str) -> Study:
    """A shipped study by name, or one from a YAML file.

    Raises:
        UsageError: If there is none of that name.
        ProtocolError: If the file is not a study.
    """
    path = find_study(name_or_path)
    document = read_mapping(path, error=ProtocolError)
    try:
        return Study.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(str(first["msg"]).removeprefix("Value error, "), f"{path.name}: {place}") from error


def pretrainings(
    study: Study, row: StudyRow, *, seasons: int, places: int, content: str, budget: Budget
) -> tuple[Pretraining, ...]:
    """The models behind a row: one, or one a sensor; times the study's seeds.

    Args:
        study: The study.
        row: One of its rows.
        seasons: Of the store.
        places: Samples of the store's split that is learned from.
        content: Of the store, part of the names.
        budget: `demo` takes the tiny recipe, and batches no larger than the store.

    Raises:
        RecipeError: If a change does not fit the recipe.
    """
    plain = _plain(study, row, places, budget)
    sensors = list(plain["model"]["bands"]) if row.each_sensor else [""]
    target = None
    if row.match is not None:
        other = study.row(row.match.to)
        target = other, _plain(study, other, places, budget)
    made = []
    for sensor in sensors:
        entry = only_sensor(plain, sensor) if sensor else plain
        if target is not None and row.match is not None:
            goal = only_sensor(target[1], sensor) if target[0].each_sensor and sensor else target[1]
            entry = matched(entry, goal, by=row.match.by, seasons=seasons)
        for seed in range(study.seeds):
            recipe = parse_recipe({**entry, "seed": seed}, where=f"study {study.id}, row {row.id}")
            images, flops = extent(recipe, seasons=seasons)
            kept = {key: value for key, value in recipe.to_dict().items() if key not in _MACHINE}
            name = f"{recipe.name}-{digest([content, kept])[:8]}-seed{seed}"
            sees = tuple(recipe.model.bands)
            made.append(Pretraining(name, recipe, sees, images * places, flops * places, recipe.stage2.epochs))
    return tuple(made)


def _plain(study: Study, row: StudyRow, places: int, budget: Budget) -> dict[str, Any]:
    name = study.demo_recipe if budget == "demo" else study.recipe
    shipped = shipped_recipes()
    path = shipped.get(name, Path(name))
    changes = [*study.set, *(study.demo_set if budget == "demo" else ()), *row.set]
    plain = apply_changes(read_yaml(path), changes)
    if row.epochs != 1.0:
        plain["stage2"] = _longer(plain["stage2"], max(1, round(plain["stage2"]["epochs"] * row.epochs)))
    if budget == "demo":
        plain["optimiser"] = {**plain["optimiser"], "batch": min(plain["optimiser"]["batch"], places)}
    return plain


def only_sensor(entry: Mapping[str, Any], sensor: str) -> dict[str, Any]:
    """The plain values of a recipe for one sensor alone, strategy `unimodal`."""
    model = {**entry["model"], "bands": {sensor: entry["model"]["bands"][sensor]}, "strategy": "unimodal"}
    data = {**entry["data"], **{key: {sensor: entry["data"][key][sensor]} for key in ("stacks", "statistics")}}
    return {**entry, "model": model, "data": data}


def matched(
    entry: Mapping[str, Any], goal: Mapping[str, Any], *, by: Literal["images", "flops"], seasons: int
) -> dict[str, Any]:
    """A recipe whose stage 2 has as many epochs as bring its images or FLOPs nearest to another recipe's.

    Raises:
        RecipeError: If stage 1 alone is more than the goal.
    """
    which = 0 if by == "images" else 1
    want = extent(parse_recipe(dict(goal), "matched"), seasons=seasons)[which]

    def with_epochs(epochs: int) -> float:
        trial = {**entry, "stage2": _longer(entry["stage2"], epochs)}
        return extent(parse_recipe(trial, "matched"), seasons=seasons)[which]

    one, two = with_epochs(1), with_epochs(2)
    epochs = 1 + round((want - one) / (two - one))
    if epochs < 1:
        raise RecipeError(f"cannot be matched by {by}: what comes before stage 2 is more already", "stage2.epochs")
    return {**entry, "stage2": _longer(entry["stage2"], epochs)}


def _longer(stage: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """A stage of other length; the warm-up keeps its share."""
    return {"epochs": epochs, "warmup_epochs": stage["warmup_epochs"] * epochs / stage["epochs"]}


def extent(recipe: Recipe, *, seasons: int) -> tuple[int, float]:
    """Images and training FLOPs that a recipe spends on one place of a store with so many seasons."""
    images, flops = 0, 0.0
    for number in (1, 2):
        config, epochs = recipe.config(number), recipe.stage(number).epochs
        shown = seasons if config.temporal else 1
        images += epochs * len(config.sensors) * shown
        flops += epochs * pretraining_flops(config, seasons=shown).training
    return images, flops
