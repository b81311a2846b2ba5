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
from seamo_bench.board.audit_asked import ABOVE_CHANCE, AuditQuestion
from seamo_bench.board.audit_rows import LISTED, NO_LABEL, AuditRow, Ranged, Suspect, Swap, Without
from seamo_bench.board.compare import Column, Runs, cell_sampling, column_of, load_runs, row_of
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
    take,
)
from seamo_bench.protocol import Progress, silent
from seamo_bench.records.record import Record
from seamo_bench.scores.ballot import Ballot, chances_of, count_votes, estimated_wrong, questions_of
from seamo_bench.scores.confident import swap_tests
from seamo_bench.scores.distributions import holm
from seamo_bench.scores.intervals import Interval, difference_of, interval, mean_of
from seamo_bench.scores.metrics import PRIMARY, mean_of_folds, prepare
from seamo_bench.scores.replicates import Replicates, is_folded, replicate_by


@dataclass(frozen=True, slots=True, eq=False)
class LabelAudit:
    """The labels of one data set, judged.

    Args:
        asked: By which records.
        keys: (N,) sorted.
        votes: Of N samples in that order.
        models: Who voted, V names.
        left_out: Who did not, and why.
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
        ProtocolError: If no model is better than chance, or predictions are missing, changed or of other labels.
    """
    cells: dict[str, dict[Column, list[Record]]] = {}
    for one in asked.records:
        cells.setdefault(row_of(one), {}).setdefault(column_of(one), []).append(one)
    sample = _classes_of(load_runs(asked.records[:1], results))[0]
    keys, first = np.unique(sample.keys, return_index=True)
    labels = sample.labels[first]
    good, left_out = _better_than_chance(cells, labels, results)
    if not good:
        said = f"no model is better than chance, so none can judge a label: {'; '.join(left_out)}"
        raise ProtocolError(said, asked.dataset)
    votes = count_votes(_chances(good, keys, labels, results, progress), questions_of(labels))
    is_suspect = np.asarray(votes.contradicted.any(axis=1))
    units = sample.units[first] if len(sample.units) else sample.units
    whole = ClassPredictions(keys, labels, votes.chance.reshape(len(keys), -1), "probabilities", units)
    return LabelAudit(
        asked=asked,
        keys=keys,
        votes=votes,
        models=tuple(sorted(good)),
        left_out=tuple(left_out),
        is_suspect=is_suspect,
        wrong=_estimated(votes, whole),
        without=tuple(_scores_without(cells, results, set(keys[is_suspect].tolist()), progress)),
    )


def _classes_of(runs: Runs) -> list[ClassPredictions]:
    return [run for run in runs.predictions if isinstance(run, ClassPredictions)]


def _better_than_chance(
    cells: Mapping[str, Mapping[Column, Sequence[Record]]], labels: Ints, results: Path
) -> tuple[dict[str, dict[Column, Sequence[Record]]], list[str]]:
    """Row -> its columns whose 95 % interval lies above chance, and what is said of the others."""
    name = ABOVE_CHANCE["single-label" if labels.ndim == 1 else "multi-label"]
    chance = float(labels[:, labels.any(axis=0)].mean()) if labels.ndim == 2 else 1 / len(np.unique(labels))
    good: dict[str, dict[Column, Sequence[Record]]] = {}
    said = []
    for row, columns in sorted(cells.items()):
        for column, own in sorted(columns.items()):
            known = interval(cell_sampling(own, results, name))
            if (known.low if known.low is not None else known.value) > chance:
                good.setdefault(row, {})[column] = own
            else:
                said.append(f"{row} with {column.protocol} is not better than chance and does not vote")
    return good, said


def _chances(
    good: Mapping[str, Mapping[Column, Sequence[Record]]],
    keys: Strings,
    labels: Ints,
    results: Path,
    progress: Progress,
) -> Iterator[Floats]:
    """(N, Q, C) of each model, the mean over its columns and seeds; one model in memory at a time."""
    for number, (row, columns) in enumerate(sorted(good.items())):
        progress(number, len(good), "models that vote")
        runs = [run for own in columns.values() for run in _classes_of(load_runs(own, results))]
        yield np.mean([_chance(run, keys, labels, row) for run in runs], axis=0)


def _chance(run: ClassPredictions, keys: Strings, labels: Ints, row: str) -> Floats:
    """(N, Q, C) calibrated probabilities by key; of a cross-validation scheme the mean over repeats.

    Raises:
        ProtocolError: If the run was not tested on these samples and labels.
    """
    at = np.minimum(np.searchsorted(keys, run.keys), len(keys) - 1)
    count = np.bincount(at, minlength=len(keys))
    if (keys[at] != run.keys).any() or not count.all() or (labels[at] != run.labels).any():
        raise ProtocolError("was not tested on the samples and labels of the other models", row)
    made = chances_of(probabilities(run), run.labels)
    total = np.zeros((len(keys), *made.shape[1:]))
    np.add.at(total, at, made)
    return np.asarray(total / count[:, None, None])


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
    cells: Mapping[str, Mapping[Column, Sequence[Record]]], results: Path, suspects: set[str], progress: Progress
) -> Iterator[Without]:
    for number, (row, columns) in enumerate(sorted(cells.items())):
        progress(number, len(cells), "scores without suspects")
        for column, own in sorted(columns.items()):
            scoring = scoring_of(own[0].facts)
            name = PRIMARY[scoring.kind]
            runs = load_runs(own, results)
            pairs = [change_without(run, suspects, name, scoring) for run in _classes_of(runs)]
            known = replace(mean_of([change for _, change in pairs], parents=runs.parents), bounds=None, successes=None)
            change = interval(known)
            score = float(np.mean([whole for whole, _ in pairs]))
            if np.isfinite(score) and np.isfinite(change.value):
                ends = Ranged(value=change.value, low=change.low, high=change.high)
                yield Without(
                    model=row,
                    protocol=column.protocol,
                    metric=name,
                    all=score,
                    without=score + change.value,
                    difference=ends,
                )


def change_without(run: ClassPredictions, suspects: set[str], name: str, scoring: Scoring) -> tuple[float, Replicates]:
    """A run's score, and replicates of (score without the suspects) - (score): paired, by weights of 0.

    Args:
        run: Its predictions.
        suspects: Keys.
        name: Metric.
        scoring: The task.
    """
    if not is_folded(run):
        ordered = take(run, np.argsort(run.keys, kind="stable"))
        weighted, keep = prepare(name, ordered, scoring), _kept(ordered, suspects)
        made = replicate_by(ordered, lambda _: lambda weights: weighted(weights * keep) - weighted(weights), name)
        return float(weighted(np.ones((1, len(run.keys))))[0]), made
    scores = []
    for part in fold_parts(run):
        keep = _kept(part, suspects)
        scores.append(prepare(name, part, scoring)(np.stack([np.ones_like(keep), keep])))
    whole, change = np.array([one[0] for one in scores]), np.array([one[1] - one[0] for one in scores])
    folds, num_samples = len(np.unique(run.folds)), len(np.unique(run.keys))
    made = Replicates(mean_of_folds(change), change, "folds", name, num_samples, len(change), "folds", folds, "", "")
    return mean_of_folds(whole), made


def _kept(run: Predictions, suspects: set[str]) -> Floats:
    """(N,) 0 for suspects, 1 for all others."""
    return np.array([key not in suspects for key in run.keys.tolist()], dtype=np.float64)


def ranking(judged: LabelAudit, duplicates: Mapping[str, str] | None = None) -> Iterator[tuple[Suspect, bool]]:
    """Every sample, the most suspect one first, and whether most models contradict its label.

    Args:
        judged: The audit.
        duplicates: Key -> key of nearly the same image with another label.
    """
    votes, near = judged.votes, duplicates or {}
    worst = votes.margin.argmin(axis=1)
    changed = votes.contradicted.copy()  # what is suggested: all that most contradict, else the nearest alternative
    quiet = np.flatnonzero(~judged.is_suspect)
    changed[quiet, worst[quiet]] = True
    suggested, margins = votes.answered(changed), votes.margin.min(axis=1)
    for at in votes.order.tolist():
        key = str(judged.keys[at])
        one = Suspect(
            key=key,
            given=_words(judged, votes.truth[at]),
            suggested=_words(judged, suggested[at]),
            margin=float(np.clip(margins[at], -2.0, 2.0)),  # without any other class there is no end to it
            against=int(votes.against[at].max()),
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
    judged: LabelAudit, *, duplicates: Mapping[str, str] | None = None, pairs: int | None = None
) -> AuditRow:
    """What the report shows of an audit.

    Args:
        judged: The audit.
        duplicates: As in `ranking`.
        pairs: How many pairs of near duplicates have different labels; None: no store was at hand.
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
    )
