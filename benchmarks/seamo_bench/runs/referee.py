"""Records held against the data: keys, labels, masks, split lists and what else the stores themselves can tell.

A record that agrees with itself may still be of other labels, or of the easy half of the samples. Whoever has the
stores sees that without running anything. What nobody sees without running it again: scores that were made up for
the right samples and labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from seamo.errors import ProtocolError, SeamoError
from seamo.store.samples import Samples
from seamo_bench.card import owner_of
from seamo_bench.facts import Facts
from seamo_bench.predictions import Predictions, TilePredictions, tile_confusion
from seamo_bench.protocol import Split
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.runs.notes import seen_flags, told_of_card
from seamo_bench.runs.papers import ProtocolPaper, protocol_paper
from seamo_bench.suites.suite import Row
from seamo_bench.tasks.locate import locate
from seamo_bench.tasks.stitch import StitchedImage, keeps_ids
from seamo_bench.tasks.stores import open_facts, store_identity, stores_facts, titles_of
from seamo_bench.tasks.trials import labels_of, make_trials, sample_counts, split_facts, task_facts, units_of
from seamo_bench.tasks.truth import (
    ImageTruth,
    Lines,
    counts_text,
    image_truth,
    lines_of_predictions,
    lines_of_samples,
    pixels_of,
    scored_images,
)
from seamo_bench.zoo.catalogue import budget_card, card_digest, cards, find_card
from seamo_bench.zoo.meeting import way_of_facts

_PRECISIONS = get_args(Row.model_fields["precision"].annotation)
_PLACE_TOLERANCE = 1e-3  # degrees; records round to 1e-4


@dataclass(slots=True, eq=False)
class Referee:
    """Holds records against stores; each store is opened once.

    Args:
        root: Folder of stores, `<root>/<dataset-id>/<build>`.
    """

    root: Path
    _stores: dict[str, Samples] = field(default_factory=dict)
    _trials: dict[str, tuple[Split, ...]] = field(default_factory=dict)

    def problems(self, record: Record, results: Path) -> tuple[str, ...]:
        """What of a record is not what the stores say. Empty = nothing, or a record without a score.

        Args:
            record: That agrees with itself (`seamo_bench.records.record.verify`).
            results: Its folder.
        """
        if record.status != "ok":
            return ()
        facts = record.facts
        try:
            store = self._open(facts)
            found = [*of_protocol(facts, protocol_paper(find_protocol(facts.protocol.id)))]
            found += [*_of_backbone(record), *_of_stores(record, store)]
            task = task_facts(store, facts.split.scheme, facts.task.label_space)
            if task != facts.task:
                return (*found, "its task (kind, classes, label space) is not the store's")
            trials = self._trials_of(facts, store)
            found += _of_split(record, store, trials)
            return (*found, *_of_predictions(load_predictions(record, results), facts, store, trials))
        except SeamoError as error:
            return (f"cannot be held against the data: {error}",)

    def _open(self, facts: Facts) -> Samples:
        name = _data_of(facts)
        if name not in self._stores:
            self._stores[name] = open_facts(self.root, facts)
        return self._stores[name]

    def _trials_of(self, facts: Facts, store: Samples) -> tuple[Split, ...]:
        split = facts.split
        name = f"{_data_of(facts)} {(split.fraction, split.salt, facts.budget)}"
        if name not in self._trials:
            self._trials[name] = make_trials(
                store,
                labels_of(store, facts.task),
                scheme=split.scheme,
                fraction=split.fraction,
                salt=split.salt,
                budget=facts.budget,
            )
        return self._trials[name]


def _data_of(facts: Facts) -> str:
    return f"{[one.model_dump() for one in facts.stores]} {(facts.split.scheme, facts.task.label_space)}"


def of_protocol(facts: Facts, known: ProtocolPaper) -> list[str]:
    """What of the facts no run under this protocol has.

    Args:
        facts: Of the record.
        known: The protocol that they name.
    """
    asked, split = facts.protocol, facts.split
    if not (0 < split.fraction <= 1 and facts.seed >= 0 and facts.precision in _PRECISIONS) or facts.adapter is None:
        return ["its fraction, seed, precision or adapter are such that no run has"]
    if asked.version != known.version:
        return [f"it is of version {asked.version} of protocol {asked.id}, here is version {known.version}"]
    unknown = sorted(set(asked.params) - set(known.defaults))
    if unknown:
        return [f"protocol {asked.id} has no parameter {unknown[0]!r}"]
    other = [name for name, value in known.demo.items() if asked.params.get(name) != value]
    if facts.budget == "demo" and other:
        return [f"the demo budget of protocol {asked.id} sets parameter {other[0]} to {known.demo[other[0]]}"]
    if facts.task.kind not in known.tasks:
        return [f"protocol {asked.id} does not run {facts.task.kind} tasks"]
    return []


def _of_backbone(record: Record) -> list[str]:
    """A listed backbone is the one of its card; a run of somebody's own is known to them alone."""
    mine, about = record.facts.backbone, record.about
    if owner_of(mine.id) not in cards():
        theirs = [name for name, found in cards().items() if found.card.title == about.backbone]
        return [f"it calls backbone {mine.id} {about.backbone}, as {theirs[0]} is called"] if theirs else []
    card = budget_card(find_card(mine.id), record.facts.budget)
    if card_digest(card) != mine.card:
        return [f"the card of backbone {mine.id} is not the one that is listed here"]
    weights = card.weights.sha256 if card.weights is not None else None
    found = of_card(record, told_of_card(card), weights=weights, pretrained_on=card.pretrained_on)
    if about.way and record.facts.adapter is not None:  # records of before do not say
        way = way_of_facts(card, record.facts.adapter)
        if about.way != way:
            found.append(f"it says that backbone {mine.id} was fed by way {about.way}, its facts say {way}")
    return found


def of_card(record: Record, told: Mapping[str, Any], *, weights: str | None, pretrained_on: Sequence[str]) -> list[str]:
    """What a record says of its backbone and the backbone's card does not.

    Args:
        record: To judge.
        told: What the card tells (`seamo_bench.runs.notes.told_of_card`); records of before may say less.
        weights: Sha256 of its weights, or as much as is published; None where it has none.
        pretrained_on: Data set ids that the card names.
    """
    mine, about = record.facts.backbone, record.about
    told = dict(told)
    if (weights and not mine.weights.startswith(weights)) or (weights is None and mine.weights):
        return [f"the weights of backbone {mine.id} are not the published ones"]
    if about.group.startswith(mine.id):  # records of groups that do not hold are read as rows of their own
        told["group"] = about.group
    said = {name: getattr(about, name) for name in told}
    wrong = [name for name, value in told.items() if said[name] != value and (said[name] or name == "floor")]
    found = [f"what it says of backbone {mine.id} ({', '.join(wrong)}) is not what its card says"] if wrong else []
    if not set(seen_flags(pretrained_on, [one.id for one in record.facts.stores])) <= set(record.flags):
        found.append(f"it does not say that backbone {mine.id} saw its store in pretraining")
    return found


def _of_stores(record: Record, store: Samples) -> list[str]:
    found = []
    ours = [one.model_copy(update={"content": ""}) for one in stores_facts(store)]  # by which they were found
    if ours != [one.model_copy(update={"content": ""}) for one in record.facts.stores]:
        found.append("what it says of its stores (synthetic, subset) is not what they say")
    if titles_of(store) != record.about.stores:
        found.append(f"it calls its stores {' + '.join(record.about.stores)}, they are {' + '.join(titles_of(store))}")
    pixels = [one["pixels"] for one in store_identity(store)]
    if record.about.identity and [one.get("pixels") for one in record.about.identity] != pixels:
        found.append("the pixels that it names are not those of its stores")
    return found


def _of_split(record: Record, store: Samples, trials: Sequence[Split]) -> list[str]:
    split = record.facts.split
    ours = split_facts(store, trials, scheme=split.scheme, fraction=split.fraction, salt=split.salt)
    found = []
    wrong = sorted(name for name in {*ours.lists, *split.lists} if ours.lists.get(name) != split.lists.get(name))
    if wrong:
        found.append(f"its split lists are not the store's: {', '.join(wrong)}")
    elif ours != split:
        found.append("its split is not the store's")
    samples = sample_counts(trials)
    if record.about.samples and record.about.samples != samples:
        found.append(f"it counts samples {record.about.samples}, the store has {samples}")
    return found


def _of_predictions(predictions: Predictions, facts: Facts, store: Samples, trials: Sequence[Split]) -> list[str]:
    if isinstance(predictions, TilePredictions):
        images = scored_images(store, facts.task, trials[0].test)
        found = _of_images(predictions, facts, store, images)
        units = {image.key: image.unit for image in images}
    else:
        found = differences(
            lines_of_predictions(predictions), lines_of_samples(store, labels_of(store, facts.task), trials), "sample"
        )
        scenes = units_of(store)
        units = dict(zip(store.index["key"].astype(str), scenes.tolist(), strict=True)) if len(scenes) else {}
    if found:
        return found
    whole = {key: unit for key, unit in units.items() if unit} if all(units.values()) else {}
    claimed = predictions.units.tolist() if len(predictions.units) else [""] * len(predictions.keys)
    if claimed != [whole.get(key, "") for key in predictions.keys.tolist()]:
        found.append("its units (scenes) are not the store's, and intervals rest on them")
    return found + _of_places(predictions, store)


def _of_places(predictions: Predictions, store: Samples) -> list[str]:
    """Places and countries, where the record has any: older ones have none."""
    ours = locate(predictions, store)
    found = []
    if len(predictions.places) and not (
        predictions.places.shape == ours.places.shape
        and np.allclose(predictions.places, ours.places, rtol=0, atol=_PLACE_TOLERANCE, equal_nan=True)
    ):
        found.append("the places of its samples are not the store's")
    if len(predictions.countries) and predictions.countries.tolist() != ours.countries.tolist():
        found.append("the countries of its samples are not the store's")
    return found


def differences(theirs: Lines, ours: Lines, what: str) -> list[str]:
    """How a record's lines differ from the store's, in words.

    Args:
        theirs: Key -> label, of the record (`seamo_bench.tasks.truth`).
        ours: Of the store.
        what: A line is about, in the singular.
    """
    found = []
    missing, more = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    wrong = sorted(key for key in theirs.keys() & ours.keys() if theirs[key] != ours[key])
    if missing:
        found.append(f"{len(missing)} of the {len(ours)} test {what}s are not in its predictions, first {missing[0]}")
    if more:
        found.append(f"{len(more)} of its {what}s are not in the store's test split, first {more[0]}")
    if wrong:
        told = f"{wrong[0]}: {theirs[wrong[0]]!r} instead of {ours[wrong[0]]!r}"
        found.append(f"{len(wrong)} of its {len(theirs)} labels are not the store's, first {told}")
    return found


def _of_images(
    predictions: TilePredictions, facts: Facts, store: Samples, images: Sequence[StitchedImage]
) -> list[str]:
    """Images and, one mask at a time, their counts: row sums; all counts where the class ids were kept."""
    count = len(facts.task.classes)
    place = {key: number for number, key in enumerate(predictions.keys.tolist())}
    ours: dict[str, str] = {}
    wrong: list[str] = []
    kept = _kept_ids(predictions)
    tilewise = predictions.tilewise if len(predictions.tilewise) else None
    stitched = any(len(image.rows) > 1 for image in images)
    if stitched != (tilewise is not None):
        wrong.append(f"its tile-wise counts are {'missing' if stitched else 'of no stitched image'}")
    if not kept and keeps_ids(images):
        wrong.append("its class ids are missing")
    for image in images:
        if image.key not in place:
            ours[image.key] = ""
            continue
        number, truth = place[image.key], image_truth(store, image, facts.task)
        ours[image.key] = counts_text(pixels_of(truth.mask, count))
        if tilewise is not None and not _fits_tiles(tilewise[number], predictions.confusion[number], truth):
            wrong.append(f"the tile-wise counts of {image.key} are not of the store's masks")
        if kept and not _fits(kept[image.key], truth.mask, predictions.confusion[number], count):
            wrong.append(f"the class ids of {image.key} do not give its counts")
    return [*differences(lines_of_predictions(predictions), ours, "image"), *wrong[:1]]


def _fits_tiles(tilewise: np.ndarray, confusion: np.ndarray, truth: ImageTruth) -> bool:
    """Whether tile-wise counts are of the image's masks; where no tiles overlap, they are its counts."""
    return np.array_equal(tilewise.sum(axis=1), truth.tilewise) and (
        truth.overlaps or np.array_equal(tilewise, confusion)
    )


def _kept_ids(predictions: TilePredictions) -> Mapping[str, np.ndarray]:
    """Image -> predicted class ids (H, W); empty where they were not kept."""
    if not len(predictions.ids):
        return {}
    ends = np.cumsum(predictions.shapes.astype(np.int64).prod(axis=1))
    return {
        key: predictions.ids[end - h * w : end].reshape(h, w)
        for key, end, (h, w) in zip(predictions.keys.tolist(), ends, predictions.shapes.tolist(), strict=True)
    }


def _fits(ids: np.ndarray, mask: np.ndarray, confusion: np.ndarray, count: int) -> bool:
    if ids.shape != mask.shape:
        return False
    try:
        return np.array_equal(tile_confusion(mask, ids, count), confusion)
    except ProtocolError:  # an id outside the classes
        return False
