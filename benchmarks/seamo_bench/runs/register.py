"""The register of a results repository: what may be said of the stores that a community knows, without the stores.

An entry holds, for every test list that a record can be of (split scheme, label space, budget), the task, the digests
of the lists, and those of the lines that a record's predictions repeat (`seamo_bench.tasks.truth`). Samples without a
class in a label space are in no list, so keys differ with the label space.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from seamo.errors import ProtocolError, SeamoError
from seamo.identity import canonical_json
from seamo.seal import open_document, seal_document
from seamo.store.samples import Samples
from seamo.store.splits import CV_SCHEME, HASH_SCHEME
from seamo.store.truth import keys_digest
from seamo_bench.facts import Budget, Facts, StoreFacts, TaskFacts, Value
from seamo_bench.predictions import Predictions, TilePredictions
from seamo_bench.protocol import Split
from seamo_bench.records.layout import STORES
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.tasks.stores import content_before, parts_of, stores_facts
from seamo_bench.tasks.trials import (
    DENSE,
    labels_of,
    make_trials,
    sample_counts,
    split_facts,
    task_facts,
    units_of,
)
from seamo_bench.tasks.truth import (
    Lines,
    counts_text,
    digests,
    image_truth,
    lines_of_predictions,
    lines_of_samples,
    pixels_of,
    scored_images,
)

_SAMPLE_BYTES = 4096  # keys, units, countries and places of a sample take less
_MIB = 2**20


class KnownTest(Value):
    """What is known of one test list.

    Args:
        scheme, label_space, budget: Which one.
        task: The task.
        lists, samples: As in a record's facts and beside them, of all training labels.
        rows, keys, labels: Of the lines that predictions repeat: how many, and digests.
        units: Digest of the lines `key<TAB>unit`, on which intervals rest.
        tilewise: Of stitched images, digest of the lines `key<TAB>counts` of their tiles one by one; else empty.
        pixels: Of all images of a dense task.
    """

    scheme: str
    label_space: str
    budget: Budget
    task: TaskFacts
    lists: dict[str, str]
    samples: dict[str, int]
    rows: int
    keys: str
    labels: str
    units: str
    tilewise: str = ""
    pixels: int = 0


class Rebuilt(Value):
    """Who built a store and registered what it says, and when (UTC, ISO 8601)."""

    who: str
    when: str


class StoreEntry(Value):
    """What is known of a store, or of several that are joined by key.

    Args:
        content: Of the store, or of the joined one.
        stores: As records name them.
        before: Of each: its content in the format before, by which older records name it; empty for most.
        titles, pixels, plans: Of each: its title, the digest of its pixels, what it was built by.
        tests: Every test list that a record can be of.
        rebuilt: The first one registered it; others built it, too, and found the same.
    """

    format: Literal["seamo-register/1"] = "seamo-register/1"
    content: str
    stores: tuple[StoreFacts, ...]
    before: tuple[str, ...]
    titles: tuple[str, ...]
    pixels: tuple[str, ...]
    plans: tuple[dict[str, Any], ...]
    tests: tuple[KnownTest, ...]
    rebuilt: tuple[Rebuilt, ...]

    def is_of(self, stores: Sequence[StoreFacts]) -> bool:
        """Whether a record's stores are these."""
        if len(stores) != len(self.stores):
            return False
        pairs = zip(stores, self.stores, self.before, strict=True)
        return all(
            one == ours or (before and one == ours.model_copy(update={"content": before}))
            for one, ours, before in pairs
        )

    def test(self, facts: Facts) -> KnownTest | None:
        """The test list that a record says it is of."""
        asked = (facts.split.scheme, facts.task.label_space, facts.budget)
        return next((one for one in self.tests if (one.scheme, one.label_space, one.budget) == asked), None)


def entry_name(content: str) -> str:
    """Where an entry lies in a results repository."""
    return f"{STORES}/{content[:16]}.json"


def entry_bytes(entry: StoreEntry) -> bytes:
    """The bytes of an entry, under its seal."""
    return seal_document(entry.model_dump(mode="json"))


def read_entry(data: bytes, name: str) -> StoreEntry:
    """An entry from its bytes.

    Raises:
        ProtocolError: If they are none, are damaged, or are of another store than the name says.
    """
    facts = open_document(data, name, error=ProtocolError, fix="")
    try:
        entry = StoreEntry.model_validate_json(canonical_json(facts))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"is no entry of a register ({place}: {first['msg']})", name) from error
    if entry_name(entry.content) != name:
        raise ProtocolError(f"is of the store of content {entry.content[:16]}, which is not its name", name)
    return entry


def make_entry(store: Samples, *, who: str, when: str) -> StoreEntry:
    """What the register keeps of a store.

    Args:
        store: A store, or several joined by key.
        who: Vouches for it.
        when: UTC, ISO 8601.
    """
    parts = parts_of(store)
    plan = {"build", "view", "split_scheme", "limit", "relax", "on_bad", "archive", "labels", "subset"}
    return StoreEntry(
        content=store.content,
        stores=stores_facts(store),
        before=tuple(content_before(part.meta) for part in parts),
        titles=tuple(part.title for part in parts),
        pixels=tuple(part.pixels for part in parts),
        plans=tuple(part.meta.model_dump(mode="json", include=plan) for part in parts),
        tests=tuple(_tests(store)),
        rebuilt=(Rebuilt(who=who, when=when),),
    )


def merged(there: StoreEntry, ours: StoreEntry) -> StoreEntry:
    """An entry and what somebody else, or another view of the same content, says of the same store.

    Raises:
        ProtocolError: If they contradict each other.
    """
    where = entry_name(ours.content)
    if (there.content, there.stores, there.pixels) != (ours.content, ours.stores, ours.pixels):
        raise ProtocolError("is of another store of that content", where, "One of them was built wrong: do not merge.")
    known = {(one.scheme, one.label_space, one.budget): one for one in there.tests}
    for one in ours.tests:
        which = (one.scheme, one.label_space, one.budget)
        if known.setdefault(which, one) != one:
            told = f"its test list of split {one.scheme} in {one.label_space} is another one"
            raise ProtocolError(told, where, "Two stores of one content may not disagree: find out why.")
    people = {one.who for one in there.rebuilt}
    more = tuple(one for one in ours.rebuilt if one.who not in people)
    return there.model_copy(update={"tests": tuple(known.values()), "rebuilt": (*there.rebuilt, *more)})


def _tests(store: Samples) -> Iterator[KnownTest]:
    """Every test list of a store: its own split scheme and those that follow from keys, in each label space."""
    for scheme in dict.fromkeys((store.meta.split_scheme, HASH_SCHEME, CV_SCHEME)):
        for space in store.spec.label_spaces:
            try:
                task = task_facts(store, scheme, space)
                labels = labels_of(store, task)
            except SeamoError:  # a label space of a layer that was not built, or no labels at all
                continue
            if scheme == CV_SCHEME and task.kind in DENSE:
                continue
            for budget in get_args(Budget):
                try:
                    trials = make_trials(store, labels, scheme=scheme, fraction=1.0, salt=0, budget=budget)
                except ProtocolError:  # a split without samples: nothing can be run on it
                    continue
                yield _test(store, task, trials, labels=labels, scheme=scheme, budget=budget)


def _test(
    store: Samples, task: TaskFacts, trials: Sequence[Split], *, labels: Any, scheme: str, budget: Budget
) -> KnownTest:
    tilewise, pixels = "", 0
    if task.kind in DENSE:
        images = scored_images(store, task, trials[0].test)
        count = len(task.classes)
        truths = {image.key: image_truth(store, image, task) for image in images}
        lines: Lines = {key: counts_text(pixels_of(one.mask, count)) for key, one in truths.items()}
        units = {image.key: image.unit for image in images}
        pixels = sum(one.mask.size for one in truths.values())
        if any(len(image.rows) > 1 for image in images):
            tilewise = keys_digest(f"{key}\t{counts_text(one.tilewise)}" for key, one in truths.items())
    else:
        lines = lines_of_samples(store, labels, trials)
        scenes = units_of(store).tolist()
        keys = store.index["key"].astype(str).tolist()
        tested = sorted({row for trial in trials for row in trial.test.tolist()})
        units = {keys[row]: scenes[row] if scenes else "" for row in tested}
    truth = digests(lines)
    whole = all(units.values())
    return KnownTest(
        scheme=scheme,
        label_space=task.label_space,
        budget=budget,
        task=task,
        lists=split_facts(store, trials, scheme=scheme, fraction=1.0, salt=0).lists,
        samples=sample_counts(trials),
        rows=truth.rows,
        keys=truth.keys,
        labels=truth.labels,
        units=keys_digest(f"{key}\t{unit if whole else ''}" for key, unit in units.items()),
        tilewise=tilewise,
        pixels=pixels,
    )


@dataclass(frozen=True, slots=True)
class Register:
    """The entries of a results repository."""

    entries: tuple[StoreEntry, ...]

    def entry(self, facts: Facts) -> StoreEntry | None:
        """What is known of the stores that a record names."""
        return next((one for one in self.entries if one.is_of(facts.stores)), None)

    def problems(self, record: Record, results: Path) -> tuple[str, ...]:
        """What of a record is not what the register says. Empty = nothing, or a record without a score.

        Args:
            record: That agrees with itself (`seamo_bench.records.examine.verify`).
            results: Its folder.
        """
        entry = self.entry(record.facts)
        if entry is None:
            named = " + ".join(f"{one.id} of content {one.content[:12]}" for one in record.facts.stores) or "none"
            return (f"its store ({named}) is not in the register",)
        if record.status != "ok":
            return ()
        test = entry.test(record.facts)
        if test is None:
            split = record.facts.split.scheme
            return (f"the register has no test list of split {split} in {record.facts.task.label_space}",)
        found = [*_of_entry(record, entry), *_of_lists(record, test)]
        try:
            return (*found, *_of_lines(load_predictions(record, results), test))
        except ProtocolError as error:
            return (*found, str(error))

    def largest(self, facts: Facts) -> int:
        """Bytes that the arrays of such a record's predictions can have at most; 0 where nothing is known of it."""
        entry = self.entry(facts)
        test = entry.test(facts) if entry else None
        if test is None:
            return 0
        dense = test.task.kind in DENSE
        cells = len(test.task.classes) ** (2 if dense else 1)
        return _MIB + test.rows * (_SAMPLE_BYTES + 16 * cells) + test.pixels


def _of_entry(record: Record, entry: StoreEntry) -> Iterator[str]:
    if entry.titles != record.about.stores:
        yield f"it calls its stores {' + '.join(record.about.stores)}, they are {' + '.join(entry.titles)}"
    told = tuple(one.get("pixels") for one in record.about.identity)
    if told and told != entry.pixels:
        yield "the pixels that it names are not those of its stores"


def _of_lists(record: Record, test: KnownTest) -> Iterator[str]:
    """Lists and counts. Which training samples a label fraction takes cannot be told from here."""
    facts, split = record.facts, record.facts.split
    if facts.task != test.task:
        yield "its task (kind, classes, label space) is not the store's"
    if split.rule != "hash" or (split.fraction == 1 and split.salt):
        yield "its split is not the store's"
    free = {"train"} if split.fraction < 1 else set()
    names = {*test.lists, *split.lists}
    wrong = sorted(one for one in names - free if test.lists.get(one) != split.lists.get(one))
    if wrong or not free <= set(split.lists):
        yield f"its split lists are not the store's: {', '.join(wrong) or 'train'}"
    told = {name: count for name, count in record.about.samples.items() if name not in free}
    if record.about.samples and told != {name: count for name, count in test.samples.items() if name not in free}:
        yield f"it counts samples {record.about.samples}, the store has {test.samples}"


def _of_lines(predictions: Predictions, test: KnownTest) -> Iterator[str]:
    lines = lines_of_predictions(predictions)
    theirs = digests(lines)
    if theirs.rows != test.rows:
        yield f"its predictions are of {theirs.rows} samples, the test list has {test.rows}"
    elif theirs.keys != test.keys:
        yield "the samples of its predictions are not those of the test list"
    elif theirs.labels != test.labels:
        yield "the labels of its predictions are not the store's"
    else:
        yield from _of_the_rest(predictions, test)


def _of_the_rest(predictions: Predictions, test: KnownTest) -> Iterator[str]:
    keys = predictions.keys.tolist()
    units = predictions.units.tolist() if len(predictions.units) else [""] * len(keys)
    if _lines_digest(keys, units) != test.units:
        yield "its units (scenes) are not the store's, and intervals rest on them"
    if isinstance(predictions, TilePredictions):
        tiles = predictions.tilewise
        counts = [counts_text(one) for one in tiles.sum(axis=2)] if len(tiles) else []
        if (_lines_digest(keys, counts) if counts else "") != test.tilewise:
            yield "its tile-wise counts are not of the store's masks"


def _lines_digest(keys: Iterable[str], texts: Iterable[str]) -> str:
    return keys_digest({f"{key}\t{text}" for key, text in zip(keys, texts, strict=True)})
