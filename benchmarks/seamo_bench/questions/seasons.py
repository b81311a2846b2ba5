"""What the season does to the records of a folder, asked of their stores: see `seamo_bench.board.seasons`.

A store holds the dates of a place in one of two forms. Dates of a sample: a record looked at one of them, and its kept
head is applied to all. Samples of a place: the record has predicted each date already; a place is then what one scene
shows of one spot of the ground. Where a place has one date, scores by season and the probe are left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.errors import ProtocolError, SeamoError, UsageError
from seamo.store.samples import Samples
from seamo.store.splits import CV_SCHEME
from seamo.use.diagnose import calendar_seasons
from seamo_bench.board.compare import check_comparable, column_of, load_runs, row_of
from seamo_bench.board.seasons import (
    KIND,
    VERSION,
    DatedImages,
    Form,
    SeasonFigure,
    SeasonRow,
    date_pairs,
    decisions,
    flip_figures,
    season_parts,
)
from seamo_bench.facts import Facts, Scalar, scoring_of
from seamo_bench.features.cache import Work
from seamo_bench.predict.stored import RecordOnStore, scores_on, stored
from seamo_bench.predictions import ClassPredictions, Predictions, Strings, TilePredictions
from seamo_bench.protocol import Progress, Rows, silent
from seamo_bench.questions.places import Dated, dated_rows, same_places
from seamo_bench.questions.season_features import features_asked
from seamo_bench.records.answers import Answer
from seamo_bench.records.record import Record
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.tasks.stores import open_facts

AGREE = 0.99  # share of its own predictions that a head must give again
MADE_BY = "seamo-bench seasons RESULTS --stores STORES"


@dataclass(frozen=True, slots=True)
class SeasonSources:
    """Where the pixels, the weights and the machine are.

    Args:
        stores: Address of a folder of stores.
        weights: Folder of checkpoint files.
        names: Id of a backbone -> the name by which it is found here: a run's folder.
        device: `cpu`, `cuda`, ...
        batch_size: Images at a time.
        progress: Called with (done, total, what) now and then.
    """

    stores: str | Path
    weights: Path = Path("weights")
    names: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    batch_size: int = 64
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A cell that has no answer.

    Args:
        row: Its row.
        column: Id of its column.
        why: As a sentence.
    """

    row: str
    column: str
    why: str


def seasons_of(
    records: Sequence[Record], results: Path, sources: SeasonSources
) -> Iterator[tuple[Answer[SeasonRow] | None, tuple[NotAsked, ...]]]:
    """Ask column by column.

    Args:
        records: Of a folder of results.
        results: The folder, on this disk.
        sources: Where the rest is.

    Yields:
        The answer of a column (None where it has no row), and which of its cells have none and why.
    """
    columns: dict[str, dict[str, list[Record]]] = {}
    for record in sorted(records, key=column_of):
        if record.status == "ok":
            columns.setdefault(column_of(record).id, {}).setdefault(row_of(record), []).append(record)
    total = sum(map(len, columns.values()))
    done = 0
    stores = _Stores(sources.stores)
    for column, cells in columns.items():
        rows: list[SeasonRow] = []
        left: list[NotAsked] = []
        answered: list[str] = []
        for row, mine in cells.items():
            sources.progress(done, total, f"{row} on {column}")
            done += 1
            try:
                rows.append(_cell(mine, stores.of(mine[0].facts), results, sources))
                answered += [record.key for record in mine]
            except SeamoError as error:
                left.append(NotAsked(row, column, str(error)))
        some = next(iter(cells.values()))[0].facts
        asked: dict[str, Scalar] = {"column": column, "stores": " ".join(one.content for one in some.stores)}
        answer = Answer(KIND, VERSION, MADE_BY, asked, tuple(sorted(answered)), tuple(rows)) if rows else None
        yield answer, tuple(left)
    sources.progress(total, total, "")


@dataclass(slots=True, eq=False)
class _Stores:
    """Stores by the facts of records; the last one stays open, because columns of a data set follow one another."""

    root: str | Path
    known: tuple[str, Samples] | None = None

    def of(self, facts: Facts) -> Samples:
        name = repr((facts.stores, facts.split.scheme, facts.task.label_space))
        if self.known is None or self.known[0] != name:
            self.known = name, open_facts(self.root, facts)
        return self.known[1]


def _cell(records: Sequence[Record], store: Samples, results: Path, sources: SeasonSources) -> SeasonRow:
    """One backbone in one column, all its seeds."""
    check_comparable(records, column_of(records[0]).id)
    facts = records[0].facts
    if facts.task.kind == "change":
        raise UsageError("change is seen between two dates, so it has no season", facts.stores[0].id)
    if facts.split.scheme == CV_SCHEME:
        raise UsageError("cross-validation has a model a fold, and no season is asked of them", facts.split.scheme)
    runs = load_runs(records, results)
    first = runs.predictions[0]
    rows, of = rows_of(first, store)
    work = Work(torch.device(sources.device), sources.batch_size, progress=sources.progress)
    ordered = sorted(records, key=lambda one: (one.facts.backbone.id, one.facts.seed, one.facts.split.salt, one.key))
    seen = [_again(record, store, results, sources, work) for record in _one_a_backbone(ordered)]
    dated = dated_rows(store, rows, [one.stack for one in seen[0].wiring.sensors], times=seen[0].times)
    if np.isnat(dated.days).all():
        raise UsageError("its store says no dates", facts.stores[0].id, "Build it from an archive that has them.")
    spots = dated.keys if seen[0].times > 1 else same_places(dated)
    looked = _Looked(facts, dated, of, first, seen[0].date, spots)
    images, predicted, why = looked.predicted(ordered, runs.predictions, results, seen)
    name = PRIMARY[facts.task.kind]
    parts = season_parts(images, predicted, runs.parents, name=name, scoring=scoring_of(facts))
    classes = [one for one in predicted if isinstance(one, ClassPredictions)]
    flips = flip_figures(date_pairs(images), classes, runs.parents) if classes and not why else {}
    none = SeasonFigure(note=why or "masks are not compared between dates")
    probe, recall = features_asked(seen, dated, spots, looked.seasons, looked.units)
    return SeasonRow(
        row=row_of(records[0]),
        column=column_of(records[0]).id,
        metric=name,
        form=looked.form,
        dates=looked.dates,
        places=len(np.unique(images.places)),
        images=len(images.keys),
        undated=int((images.seasons < 0).sum()),
        parts=parts,
        **{which: flips.get(which, none) for which in ("flips", "across", "within", "excess")},
        probe=probe,
        recall=recall,
    )


def _one_a_backbone(records: Sequence[Record]) -> list[Record]:
    return list({one.facts.backbone.id: one for one in reversed(records)}.values())[::-1]


def _again(record: Record, store: Samples, results: Path, sources: SeasonSources, work: Work) -> RecordOnStore:
    own = record.facts.backbone.id
    return stored(record, store, results / "features", work, name=sources.names.get(own, own), weights=sources.weights)


def rows_of(predictions: Predictions, store: Samples) -> tuple[Rows, NDArray[np.int64]]:
    """Test rows of a store, ascending, and which prediction each belongs to: that of its key, or of its scene.

    Raises:
        UsageError: If the store has none of them.
    """
    index = store.index
    keys = index["key"].to_numpy(dtype=np.str_)
    scenes = index["scene"].fillna("").to_numpy(dtype=np.str_) if "scene" in index else np.full(len(keys), "")
    order = np.argsort(predictions.keys, kind="stable")
    known = predictions.keys[order]
    for names in (keys, scenes) if isinstance(predictions, TilePredictions) else (keys,):
        at = np.searchsorted(known, names).clip(0, len(known) - 1)
        rows = np.flatnonzero(known[at] == names)
        if len(np.unique(at[rows])) == len(known):
            return rows, order[at[rows]]
    raise UsageError("its store lacks some of the predicted samples", store.title)


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """The test rows of a cell, their dates, and which prediction is of which row.

    Args:
        facts: Of one of its records.
        dated: The rows with dates and places.
        of: (n,) position of each row's prediction.
        first: Predictions of one run: keys, labels and scenes of all.
        date: That the runs looked at.
        spots: (n,) the place of every row.
    """

    facts: Facts
    dated: Dated
    of: NDArray[np.int64]
    first: Predictions
    date: int
    spots: Strings

    @property
    def times(self) -> int:
        """Dates of a sample."""
        return int(self.dated.days.shape[1])

    @property
    def dates(self) -> int:
        """Most dates of one place."""
        if self.times > 1:
            return int((~np.isnat(self.dated.days)).sum(axis=1).max(initial=0))
        sizes: NDArray[np.int64] = np.unique(self.spots, return_counts=True)[1]
        return int(sizes.max(initial=0))

    @property
    def form(self) -> Form:
        """How the store holds the dates of a place."""
        if self.times > 1:
            return "dates of a sample"
        return "samples of a place" if self.dates > 1 else "one date a place"

    @property
    def seasons(self) -> NDArray[np.int64]:
        """(n, T) calendar season, -1 where unknown."""
        return calendar_seasons(self.dated.days.astype("datetime64[s]"), self.dated.latitude)

    @property
    def units(self) -> Strings:
        """(n,) scene of each row: of a mask the image that its tile is in; a place where nobody knows scenes."""
        if len(self.first.units):
            return self.first.units[self.of]
        return self.first.keys[self.of] if isinstance(self.first, TilePredictions) else self.spots

    def predicted(
        self,
        records: Sequence[Record],
        runs: Sequence[Predictions],
        results: Path,
        seen: Sequence[RecordOnStore],
    ) -> tuple[DatedImages, tuple[Predictions, ...], str]:
        """The images that are predicted, their predictions by every run, and why no flips can be asked for."""
        if self.times == 1 or isinstance(self.first, TilePredictions):
            images, chosen = self._own()
            why = "" if self.times == 1 else "masks are not compared between dates"
            return images, tuple(_ordered(run, self.first, chosen, images) for run in runs), why
        by_id = {one.record.facts.backbone.id: one for one in seen}
        try:
            every = [
                self._every_date(record, run, by_id[record.facts.backbone.id], results)
                for record, run in zip(records, runs, strict=True)
            ]
        except SeamoError as error:
            images, chosen = self._own()
            return images, tuple(_ordered(run, self.first, chosen, images) for run in runs), error.what
        return self._images(~np.isnat(self.dated.days)), tuple(every), ""

    def _own(self) -> tuple[DatedImages, NDArray[np.int64]]:
        """The images that the runs looked at, one a prediction, and the positions of their predictions."""
        chosen, first = np.unique(self.of, return_index=True)  # of a scene of many tiles the first one's date
        there = np.zeros(self.dated.days.shape, dtype=np.bool_)
        there[first, self.date if self.times > 1 else 0] = True
        return self._images(there), self.of[np.nonzero(there)[0]] if len(chosen) else chosen

    def _images(self, there: NDArray[np.bool_]) -> DatedImages:
        row, slot = np.nonzero(there)
        keys = np.char.add(np.char.add(self.dated.keys[row], "@"), slot.astype(np.str_))
        days = self.dated.days[row, slot]
        return DatedImages(keys, self.spots[row], self.units[row], days, self.seasons[row, slot])

    def _every_date(self, record: Record, run: Predictions, one: RecordOnStore, results: Path) -> ClassPredictions:
        """Predictions of every date's image; the head must give the run's own ones again."""
        there = ~np.isnat(self.dated.days)
        logits = scores_on(one, results / f"{record.key}.json", self.dated.rows, there)
        row, slot = np.nonzero(there)
        images = self._images(there)
        if not isinstance(run, ClassPredictions):
            raise UsageError("has masks", record.key)
        by_key = _positions(run.keys, self.dated.keys)
        made = ClassPredictions(images.keys, run.labels[by_key[row]], logits[row, slot], units=images.units)
        _check_same(made, run, slot == self.date, by_key[row], record.key)
        return made


def _check_same(
    made: ClassPredictions, run: ClassPredictions, own: NDArray[np.bool_], at: NDArray[np.int64], where: str
) -> None:
    """Refuse a head that does not give the run's own predictions on the run's own date."""
    same = (decisions(made)[own] == decisions(run)[at[own]]).all(axis=1)
    if len(same) and same.mean() < AGREE:
        told = f"applied again, its head gives other classes for {1 - same.mean():.1%} of the test samples"
        raise UsageError(told, where, "Run the cell again with this version.")


def _positions(known: Strings, wanted: Strings) -> NDArray[np.int64]:
    order = np.argsort(known, kind="stable")
    at = order[np.searchsorted(known[order], wanted).clip(0, len(known) - 1)]
    unknown = wanted[known[at] != wanted]
    if len(unknown):
        raise ProtocolError(
            f"lack {len(unknown):,} samples that are asked for, {unknown[0]} among them",
            "predictions",
            "Run the cell again.",
        )
    return np.asarray(at)


def _ordered(run: Predictions, first: Predictions, at: NDArray[np.int64], images: DatedImages) -> Predictions:
    """A run's predictions in the order of images, under their keys and units."""
    mine = _positions(run.keys, first.keys[at])
    if isinstance(run, TilePredictions):
        return TilePredictions(images.keys, run.confusion[mine], images.units)
    return ClassPredictions(images.keys, run.labels[mine], run.scores[mine], run.scale, images.units)
