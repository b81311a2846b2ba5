"""Label audit from records alone: which labels most models contradict, and what scores are without them.

Models that were tested on a sample were not trained on it: of a cross-validated split every sample is judged, of an
ordinary one the test split alone. `scores.confident` has the method and its sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.identity import digest
from seamo_bench.board.audit_asked import ABOVE_CHANCE, AuditQuestion
from seamo_bench.board.audit_rows import LISTED, NO_LABEL, AuditRow, Ranged, Suspect, Swap, Without
from seamo_bench.board.compare import Column, cell_runs, cell_sampling, check_comparable, column_of, row_of
from seamo_bench.facts import scoring_of
from seamo_bench.predictions import (
    ClassPredictions,
    Floats,
    Ints,
    Predictions,
    Scoring,
    Strings,
    fold_parts,
    probabilities,
)
from seamo_bench.protocol import Progress, silent
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.scores.ballot import Ballot, chances_of, count_votes, estimated_wrong, questions_of
from seamo_bench.scores.blocks import in_units, scheme_km
from seamo_bench.scores.confident import swap_tests
from seamo_bench.scores.distributions import holm
from seamo_bench.scores.intervals import Interval, Sampling, difference_of, interval, mean_of, number_of
from seamo_bench.scores.metrics import PRIMARY, mean_of_folds, prepare
from seamo_bench.scores.replicates import Replicates, is_folded, replicate_by, replicate_gap


@dataclass(frozen=True, slots=True, eq=False)
class LabelAudit:
    """The labels of one data set, judged.

    Args:
        asked: By which records.
        keys: (N,) sorted.
        votes: Of N samples in that order.
        models: Who voted, V names.
        left_out: Who did not, whose records or scores are left out, and why.
        is_suspect: (N,).
        wrong: Estimated number of wrong labels.
        without: Scores with and without the suspects.
    """

    asked: AuditQuestion
    keys: Strings
    votes: Ballot
    models: tuple[str, ...]
    left_out: tuple[str, ...]
    is_suspect: NDArray[np.bool_]
    wrong: Interval
    without: tuple[Without, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of ids."""
        return self.asked.records[0].facts.task.classes


def audit_labels(asked: AuditQuestion, results: Path, *, progress: Progress = silent) -> LabelAudit:
    """Let the models of a data set vote on its labels.

    Args:
        asked: From `find_asked`.
        results: Folder of the records.
        progress: Called with (done, total, what).

    Raises:
        ProtocolError: If no model is better than chance, or records are of two sets of labels, as many models of each.
    """
    records, truth, left_out = _of_the_same_labels(asked, results)
    name = ABOVE_CHANCE["single-label" if truth.labels.ndim == 1 else "multi-label"]
    cells, said = _cells(records, results, name)
    good, bad = _better_than_chance(cells, truth.labels)
    left_out += [*said, *bad]
    if not good:
        told = f"no model is better than chance, so none can judge a label: {'; '.join(left_out)}"
        raise ProtocolError(told, asked.dataset)
    votes = count_votes(_chances(good, truth, results, progress), questions_of(truth.labels))
    is_suspect = np.asarray(votes.contradicted.any(axis=1))
    chance = votes.chance.reshape(len(truth.keys), -1)
    whole = ClassPredictions(truth.keys, truth.labels, chance, "probabilities", truth.units)
    without, unscored = _scores_without(cells, results, truth.keys[is_suspect], progress)
    return LabelAudit(
        asked=asked,
        keys=truth.keys,
        votes=votes,
        models=tuple(sorted(good)),
        left_out=(*left_out, *unscored),
        is_suspect=is_suspect,
        wrong=_estimated(votes, whole),
        without=without,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """Sorted keys (N,), each once, with their labels and scenes."""

    keys: Strings
    labels: Ints
    units: Strings


def _truth_of(record: Record, results: Path) -> _Truth:
    run = _classes_of(load_predictions(record, results))
    keys, first, at = np.unique(run.keys, return_index=True, return_inverse=True)
    if (run.labels[first][at] != run.labels).any():
        raise ProtocolError("gives a sample two labels", record.key)
    return _Truth(keys, run.labels[first], run.units[first] if len(run.units) else run.units)


def _classes_of(run: Predictions) -> ClassPredictions:
    assert isinstance(run, ClassPredictions)  # noqa: S101 - masks are not asked about, and records hold their task
    return run


def _of_the_same_labels(asked: AuditQuestion, results: Path) -> tuple[list[Record], _Truth, list[str]]:
    """The records that were scored against the labels of most models, those labels, and what is said of the others.

    Raises:
        ProtocolError: If none can be read, or as many models know other labels: nobody here can say which are right.
    """
    groups: dict[str, list[Record]] = {}
    truths: dict[str, _Truth] = {}
    said = []
    for one in asked.records:
        try:
            truth = _truth_of(one, results)
        except ProtocolError as error:
            said.append(f"a record of {row_of(one)} ({one.key[:12]}) is left out: {error.what}")
            continue
        content = digest([truth.keys.tolist(), truth.labels.tolist()])
        truths.setdefault(content, truth)
        groups.setdefault(content, []).append(one)
    if not groups:
        raise ProtocolError("; ".join(said), asked.dataset)
    ordered = sorted(groups, key=lambda content: -len({row_of(one) for one in groups[content]}))
    sizes = [len({row_of(one) for one in groups[content]}) for content in ordered]
    if sizes[0] in sizes[1:]:
        rows = ", ".join(row_of(groups[content][0]) for content in ordered)
        what = f"was tested on {len(ordered)} sets of samples and labels, as many models on each ({rows})"
        raise ProtocolError(what, asked.dataset, "Move the wrong records away.")
    for content in ordered[1:]:
        said += [
            f"a record of {row_of(one)} ({one.key[:12]}) is left out: it was not tested on the samples and labels of "
            "the other models"
            for one in groups[content]
        ]
    return groups[ordered[0]], truths[ordered[0]], said


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """One model under one protocol: the records that are averaged, and what tells whether it is better than chance."""

    row: str
    column: Column
    records: tuple[Record, ...]
    known: Interval

    @property
    def words(self) -> str:
        return f"{self.row} with {self.column.protocol}"


def _cells(records: Sequence[Record], results: Path, name: str) -> tuple[list[_Cell], list[str]]:
    """Cells whose records may be averaged, in the order of their rows, and what is said of the others.

    Records of one cell must be comparable; those of two models need not: each votes for itself.
    """
    found: dict[tuple[str, Column], list[Record]] = {}
    for one in records:
        found.setdefault((row_of(one), column_of(one)), []).append(one)
    cells, said = [], []
    for (row, column), own in sorted(found.items()):
        try:
            check_comparable(own, column.id)
            known = _sure(cell_sampling(own, results, name))
        except ProtocolError as error:
            said.append(f"{row} with {column.protocol} is left out: {error.what}")
            continue
        cells.append(_Cell(row, column, tuple(own), known))
    return cells, said


def _sure(known: Sampling) -> Interval:
    """Its interval; of a score that is 1 in every resample or fold Wilson's over those, as a share of them has it."""
    return interval(replace(known, successes=known.num_units) if known.value == 1 else known)


def _better_than_chance(cells: Sequence[_Cell], labels: Ints) -> tuple[dict[str, list[_Cell]], list[str]]:
    """Row -> its cells whose 95 % interval lies above chance, and what is said of the others."""
    chance = float(labels[:, labels.any(axis=0)].mean()) if labels.ndim == 2 else 1 / len(np.unique(labels))
    good: dict[str, list[_Cell]] = {}
    said = []
    for one in cells:
        if one.known.low is None:
            said.append(f"{one.words} has no interval, so it cannot be told from chance and does not vote")
        elif one.known.low > chance:
            good.setdefault(one.row, []).append(one)
        else:
            said.append(f"{one.words} is not better than chance and does not vote")
    return good, said


def _chances(good: Mapping[str, Sequence[_Cell]], truth: _Truth, results: Path, progress: Progress) -> Iterator[Floats]:
    """(N, Q, C) of each model, the mean over its columns and seeds; one model in memory at a time."""
    for number, (_, cells) in enumerate(sorted(good.items())):
        progress(number, len(good), "models that vote")
        records = [one for cell in cells for one in cell.records]
        yield np.mean([_chance(_classes_of(load_predictions(one, results)), truth.keys) for one in records], axis=0)


def _chance(run: ClassPredictions, keys: Strings) -> Floats:
    """(N, Q, C) calibrated probabilities by key; of a cross-validation scheme the mean over repeats."""
    at = np.searchsorted(keys, run.keys)
    made = chances_of(probabilities(run), run.labels)
    total = np.zeros((len(keys), *made.shape[1:]))
    np.add.at(total, at, made)
    return np.asarray(total / np.bincount(at, minlength=len(keys))[:, None, None])


def _estimated(votes: Ballot, whole: ClassPredictions) -> Interval:
    """Estimated wrong labels with an interval over scenes (samples, where there are none), models as they are."""
    made = replicate_by(whole, lambda _: estimated_wrong(votes), "share of wrong labels")
    nothing = replace(made, value=0.0, values=np.zeros_like(made.values))
    known = difference_of([made], [nothing])
    share = interval(replace(known, bounds=(0.0, 1.0), successes=made.value * made.num_units))
    marks = votes.truth.size
    ends = (None if end is None else marks * end for end in (share.low, share.high))
    return replace(share, value=marks * share.value, low=next(ends), high=next(ends))


def _scores_without(
    cells: Sequence[_Cell], results: Path, suspects: Strings, progress: Progress
) -> tuple[tuple[Without, ...], list[str]]:
    """Of each cell its score as the leaderboard has it, the change, and what is said of those that have none."""
    found, said = [], []
    for number, one in enumerate(cells):
        progress(number, len(cells), "scores without suspects")
        scoring = scoring_of(one.records[0].facts)
        name = PRIMARY[scoring.kind]
        runs = cell_runs(one.records, results, name)
        changes = [
            change_without(_in_units(load_predictions(record, results), record), suspects, whole, scoring)
            for record, whole in zip(runs.records, runs.replicates, strict=True)
        ]
        score = mean_of(runs.replicates, parents=runs.parents).value
        change = interval(number_of(changes, parents=runs.parents))
        if not np.isfinite(score) or not np.isfinite(change.value):
            said.append(f"{one.words} has no score without the suspects")
            continue
        found.append(
            Without(
                model=one.row,
                protocol=one.column.protocol,
                metric=name,
                all=score,
                without=score + change.value,
                difference=Ranged(value=change.value, low=change.low, high=change.high),
            )
        )
    return tuple(found), said


def _in_units(run: Predictions, record: Record) -> ClassPredictions:
    """With what the replicates of the record's score resample."""
    return _classes_of(in_units(run, scheme_km(record.facts.split.scheme))[0])


def change_without(run: ClassPredictions, suspects: Strings, whole: Replicates, scoring: Scoring) -> Replicates:
    """Replicates of (score without the suspects) - (score): paired, by weights of 0.

    Args:
        run: Its predictions.
        suspects: Keys.
        whole: Replicates of its score.
        scoring: The task.
    """
    if not is_folded(run):
        gap = replicate_gap(run, ~np.isin(run.keys, suspects), whole.metric, scoring)
        return replace(gap, value=-gap.value, values=-gap.values)
    # Folds hold other samples each: what is left of a fold is scored by itself, and the mean is over folds.
    rest = [
        float(prepare(whole.metric, part, scoring)(1.0 - np.isin(part.keys, suspects)[None])[0])
        for part in fold_parts(run)
    ]
    change = np.array(rest) - whole.values
    return replace(whole, value=mean_of_folds(change), values=change)


def ranking(judged: LabelAudit, duplicates: Mapping[str, str] | None = None) -> Iterator[tuple[Suspect, bool]]:
    """Every sample, the most suspect one first, and whether most models contradict its label.

    Args:
        judged: The audit.
        duplicates: Key -> key of nearly the same image with another label.
    """
    votes, near = judged.votes, duplicates or {}
    worst = votes.worst
    changed = votes.contradicted.copy()  # what is suggested: all that most contradict, else the nearest alternative
    quiet = np.flatnonzero(~judged.is_suspect)
    changed[quiet, worst[quiet]] = True
    suggested = votes.answered(changed)
    for at in votes.order.tolist():
        key = str(judged.keys[at])
        one = Suspect(
            key=key,
            given=_words(judged, votes.truth[at]),
            suggested=_words(judged, suggested[at]),
            margin=float(
                np.clip(votes.margin[at, worst[at]], -2.0, 2.0)
            ),  # without any other class there is no end to it
            against=int(votes.against[at, worst[at]]),
            near_duplicate=near.get(key, ""),
        )
        yield one, bool(judged.is_suspect[at])


def _words(judged: LabelAudit, answers: Ints) -> str:
    if len(answers) == 1:
        return judged.classes[int(answers[0])]
    return ", ".join(name for name, there in zip(judged.classes, answers, strict=True) if there) or NO_LABEL


def swaps_of(judged: LabelAudit) -> tuple[Swap, ...]:
    """Pairs of classes among the suspects that are there, the largest first, p corrected for all that could be."""
    votes, names = judged.votes, judged.classes
    if votes.truth.shape[1] == 1:
        chosen, truth = judged.is_suspect, votes.truth[:, 0]
        sizes = np.bincount(truth, minlength=len(names)).tolist()
        tests = swap_tests(truth[chosen], votes.suggested[chosen, 0], sizes)
        found = [
            Swap(given=names[a], suggested=names[b], count=count, expected=expected, p=p)
            for (a, b, count, expected, _), p in zip(tests, holm([one[4] for one in tests]), strict=True)
            if count
        ]
    else:  # a class that is missing, or too much: what it changes with is not said by any model
        found = []
        for q, name in enumerate(names):
            for given, words in ((0, (f"not {name}", name)), (1, (name, f"not {name}"))):
                count = int((votes.contradicted[:, q] & (votes.truth[:, q] == given)).sum())
                if count:
                    found.append(Swap(given=words[0], suggested=words[1], count=count, expected=None, p=None))
    return tuple(sorted(found, key=lambda one: (-one.count, one.given, one.suggested)))


def row_of_audit(
    judged: LabelAudit,
    *,
    duplicates: Mapping[str, str] | None = None,
    pairs: int | None = None,
    is_cut: bool = False,
) -> AuditRow:
    """What the report shows of an audit.

    Args:
        judged: The audit.
        duplicates: As in `ranking`.
        pairs: How many pairs of near duplicates have different labels; None: no store was at hand.
        is_cut: Whether there may be more of those.
    """
    records = judged.asked.records
    stores = [store for one in records for store in one.facts.stores]
    listed = [one for one, is_suspect in ranking(judged, duplicates) if is_suspect]
    wrong = judged.wrong
    return AuditRow(
        dataset=judged.asked.dataset,
        title=" + ".join(records[0].about.stores),
        label_space=judged.asked.label_space,
        scheme=judged.asked.scheme,
        covers="every sample" if "all" in records[0].about.samples else "the test split alone",
        samples=len(judged.keys),
        marks=judged.votes.truth.size,
        unit=wrong.unit,
        synthetic=any(store.synthetic for store in stores),
        subset=any(store.subset for store in stores),
        demo=any(one.facts.budget == "demo" for one in records),
        models=judged.models,
        left_out=judged.left_out,
        suspects=int(judged.is_suspect.sum()),
        wrong=Ranged(value=wrong.value, low=wrong.low, high=wrong.high),
        listed=tuple(listed[:LISTED]),
        swaps=swaps_of(judged),
        without=judged.without,
        near_duplicates=pairs,
        is_cut=is_cut,
    )
