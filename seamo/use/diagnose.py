"""How far features depend on the season: the paper calls SeaMo season-aware and never measures it (method notes 11.4).

Two questions are put to the features of every place and date. Retrieval: is the nearest image of another date the same
place? (High: invariant.) Probe: does a linear classifier read the calendar season off the features? (Near chance:
invariant.) Both are also asked of the same architecture with random weights and of plain image statistics, because
pixels alone answer them better than chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import permutations
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.errors import StoreError, UsageError
from seamo.model.config import stage_one
from seamo.model.seamo import SeaMo
from seamo.progress import Progress
from seamo.store.reader import Store
from seamo.use.inputs import Pretrained
from seamo.use.pooled import Plan, Reading, batches_of, dates_of, inputs_of, plan_reading

SEASONS = ("winter", "spring", "summer", "autumn")
DRAWS = 2000
FEW_UNITS = 5  # places or scenes: a season that occurs in fewer is not asked for, nor is an interval drawn over fewer
_TAIL = 2.5  # per cent, on either side
_ROWS = 1024  # queries compared at once


@dataclass(frozen=True, slots=True)
class SeasonScore:
    """One figure.

    Args:
        value: In [0, 1].
        low, high: 95 % percentile bootstrap over places, or over scenes where places lie in scenes.
        chance: What features without any information get.
        drawn: (`DRAWS`,) its values in the bootstrap, in the order of the draws.
    """

    value: float
    low: float
    high: float
    chance: float
    drawn: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Finding a place again on another date.

    Args:
        recall_at_1: Share of queries whose nearest image is the same place.
        mean_reciprocal_rank: Mean of 1 / rank of the same place.
        places: Places in the gallery (the largest, where dates are absent).
        queries: Images that were looked for.
        units: Independent units behind the intervals: places, or scenes.
    """

    recall_at_1: SeasonScore
    mean_reciprocal_rank: SeasonScore
    places: int
    queries: int
    units: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Reading the season off the features.

    Args:
        balanced_accuracy: Mean over the seasons of the share of their images that is recognised.
        seasons: Those that occur.
        places, images: How many.
        units: Independent units behind it: places, or scenes.
    """

    balanced_accuracy: SeasonScore
    seasons: tuple[str, ...]
    places: int
    images: int
    units: int


def season_retrieval(
    features: NDArray[np.floating[Any]], rng: np.random.Generator, *, units: NDArray[np.str_] | None = None
) -> Retrieval:
    """Look for every place, from every date, among all places on every other date.

    Similarity is the cosine. Ties count as their expectation under a random order, so equal features score at
    chance: 1 / N and H_N / N for N places, H_N being the N-th harmonic number.

    Args:
        features: (N, T, D); NaN where an image is absent.
        rng: Draws the bootstrap.
        units: (N,) scene of each place, which the bootstrap draws as a whole; None: places are drawn.

    Raises:
        UsageError: If no two dates have two places in common.
    """
    N, T = features.shape[:2]
    there = ~np.isnan(features).any(axis=2)
    length = np.linalg.norm(np.nan_to_num(features), axis=2, keepdims=True)
    unit = np.nan_to_num(features) / np.where(length == 0, 1.0, length)
    sums = np.zeros((N, 5))  # queries; recall, reciprocal rank; the chance of either
    places = 0
    for a, b in permutations(range(T), 2):
        both = np.flatnonzero(there[:, a] & there[:, b])
        gallery = np.flatnonzero(there[:, b])
        if len(gallery) < 2 or not len(both):
            continue
        places = max(places, len(gallery))
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(gallery) + 1))])
        for at in range(0, len(both), _ROWS):
            asked = both[at : at + _ROWS]
            similar = unit[asked, a] @ unit[gallery, b].T
            right = similar[np.arange(len(asked)), np.searchsorted(gallery, asked)][:, None]
            better = (similar > right + 1e-7).sum(axis=1)
            equal = (np.abs(similar - right) <= 1e-7).sum(axis=1)  # itself among them
            sums[asked, 0] += 1
            sums[asked, 1] += np.where(better == 0, 1 / equal, 0.0)
            sums[asked, 2] += (harmonic[better + equal] - harmonic[better]) / equal
            sums[asked, 3] += 1 / len(gallery)
            sums[asked, 4] += harmonic[-1] / len(gallery)
    if not sums[:, 0].any():
        raise UsageError("no two dates have two places in common", "retrieval", "Give a store of several seasons.")
    asked_of = sums[:, 0] > 0
    _, unit_of = np.unique(np.arange(N)[asked_of] if units is None else units[asked_of], return_inverse=True)
    by_place, sums = sums[asked_of], np.zeros((int(unit_of.max()) + 1, sums.shape[1]))
    np.add.at(sums, unit_of, by_place)

    def share(column: int, rows: NDArray[np.int64]) -> float:
        return float(sums[rows, column].sum() / sums[rows, 0].sum())

    everyone = np.arange(len(sums))
    recall, rank = (
        _score(partial(share, column), len(sums), rng, chance=share(column + 2, everyone)) for column in (1, 2)
    )
    return Retrieval(recall, rank, places, int(sums[:, 0].sum()), len(sums))


def season_probe(
    features: NDArray[np.floating[Any]],
    seasons: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    folds: int = 5,
    units: NDArray[np.str_] | None = None,
) -> Probe:
    """Classify the season with logistic regression (features standardised, C = 1), across places.

    The images of a place, or of a scene where places lie in scenes, are all in the same fold, so that neither is
    recognised in place of a season: tiles of one scene share its look and, often, its only day.

    Args:
        features: (N, T, D); NaN where an image is absent.
        seasons: (N, T), positions in `SEASONS`; negative where unknown.
        rng: Draws folds and bootstrap.
        folds: At most; fewer where there are fewer units.
        units: (N,) scene of each place; None: places stand for themselves.

    Raises:
        UsageError: If there are fewer than two seasons or two places, or a season is in fewer than `FEW_UNITS` units.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    usable = ~np.isnan(features).any(axis=2) & (seasons >= 0)
    place, slot = np.nonzero(usable)
    x, y = features[place, slot], seasons[place, slot]
    groups, group = np.unique(place if units is None else units[place], return_inverse=True)
    kinds, kind = np.unique(y, return_inverse=True)
    counts = np.zeros((len(groups), len(kinds), 2))
    np.add.at(counts[..., 0], (group, kind), 1)
    _check_spread(counts[..., 0], kinds, "places" if units is None else "scenes")
    fold_of = rng.permutation(len(groups)) % min(folds, len(groups))
    guessed = np.full(len(y), -1)
    for fold in range(min(folds, len(groups))):
        held = fold_of[group] == fold
        if len(np.unique(y[~held])) < 2:
            guessed[held] = y[~held][0]
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
        guessed[held] = model.fit(x[~held], y[~held]).predict(x[held])
    np.add.at(counts[..., 1], (group, kind), guessed == y)

    def balanced(rows: NDArray[np.int64]) -> float:
        images, right = counts[rows].sum(axis=0).T
        return float((right[images > 0] / images[images > 0]).mean())

    score = _score(balanced, len(groups), rng, chance=1 / len(kinds))
    return Probe(score, tuple(SEASONS[k] for k in kinds), len(np.unique(place)), len(y), len(groups))


def _check_spread(images: NDArray[np.float64], kinds: NDArray[np.int64], unit: str) -> None:
    """Refuse seasons of too few units (U, K): what tells them apart may be what tells the units apart."""
    if len(images) < 2 or len(kinds) < 2:
        raise UsageError(f"{len(kinds)} seasons at {len(images)} {unit}", "season probe", "It takes two of each.")
    spread = (images > 0).sum(axis=0)
    rare = int(spread.argmin())
    if spread[rare] < FEW_UNITS:
        told = f"{SEASONS[kinds[rare]]} is in {spread[rare]} {unit} alone, of {FEW_UNITS} that it takes"
        raise UsageError(told, "season probe", "Give more of each season.")


def calendar_seasons(dates: NDArray[np.datetime64], latitude: NDArray[np.float64]) -> NDArray[np.int64]:
    """Meteorological season (positions in `SEASONS`) of dates, half a year apart on the two hemispheres.

    Args:
        dates: (N, T) datetime64, NaT where absent.
        latitude: (N,) degrees, NaN where unknown.

    Returns:
        (N, T); -1 where date or latitude is unknown.

    Example:
        >>> calendar_seasons(np.array([["2021-01-15", "2021-07-01"]], "datetime64[s]"), np.array([-33.9]))
        array([[2, 0]])
    """
    months = dates.astype("datetime64[M]").astype(np.int64) % 12  # 0 = January
    northern = (months + 1) % 12 // 3  # December, January, February -> 0
    found = np.where(latitude[:, None] < 0, (northern + 2) % 4, northern)
    return np.where(np.isnat(dates) | np.isnan(latitude)[:, None], -1, found)


def diagnose(
    pretrained: Pretrained,
    store: Store,
    reading: Reading,
    *,
    places: int = 2000,
    seed: int = 0,
    progress: TextIO | None = None,
) -> list[dict[str, Any]]:
    """Put both questions to a model, to random weights and to image statistics (mean and std a band).

    For the retrieval, features are standardised over all images, because a cosine of raw features mostly compares
    what all of them have in common.

    Args:
        pretrained: The model.
        store: Of several dates.
        reading: What of it.
        places: At most so many, drawn at random.
        seed: Of that draw, the random weights, folds and bootstrap.
        progress: Where to show the way.

    Returns:
        One mapping a kind of feature: `id`, `store`, `retrieval` and `probe` as plain values (`probe` says why
        where it cannot be asked).

    Raises:
        UsageError, BandError, StoreError: If the store cannot be read as asked.
    """
    plan = plan_reading(pretrained, store, reading)
    if plan.times < 2:
        raise StoreError("has one date a sample", store.title, "Seasons are compared on a store of several dates.")
    rng = np.random.default_rng(seed)
    rows = plan.rows if len(plan.rows) <= places else np.sort(rng.choice(plan.rows, places, replace=False))
    plan = replace(plan, rows=rows)
    found = _features(plan, store, seed, progress)
    latitude = np.full(len(rows), np.nan)
    boxes = store.read_index(["bbox"])["bbox"]
    for i, row in enumerate(rows):
        if boxes[row] is not None:
            latitude[i] = (boxes[row]["ymin"] + boxes[row]["ymax"]) / 2
    seasons = calendar_seasons(next(iter(dates_of(plan, store).values())), latitude)
    return [
        {
            "id": name,
            "store": store.title,
            "retrieval": _plain(partial(season_retrieval, standardised(features), np.random.default_rng([seed, 1]))),
            "probe": _plain(partial(season_probe, features, seasons, np.random.default_rng([seed, 2]))),
        }
        for name, features in found.items()
    ]


def in_words(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `diagnose` gives as lines of a table: percent with 95 % intervals, chance in the last row."""
    asked = (
        ("retrieval", "recall_at_1", "recall at 1"),
        ("retrieval", "mean_reciprocal_rank", "reciprocal rank"),
        ("probe", "balanced_accuracy", "season read off"),
    )
    rows = [("features", *(title for *_, title in asked))]
    for one in measured:
        cells = []
        for question, figure, _ in asked:
            score = one[question].get(figure)
            cells.append("-" if score is None else "{value:.1%} [{low:.1%}, {high:.1%}]".format(**score))
        rows.append((one["id"], *cells))
    chance = [measured[0][question].get(figure) for question, figure, _ in asked]
    rows.append(("chance", *("-" if score is None else f"{score['chance']:.1%}" for score in chance)))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    reasons = {one[q]["impossible"]: None for one in measured for q in ("retrieval", "probe") if "impossible" in one[q]}
    return [*lines, *reasons]


def _features(plan: Plan, store: Store, seed: int, progress: TextIO | None) -> Mapping[str, NDArray[np.float32]]:
    device = next(plan.model.parameters()).device
    random = SeaMo(stage_one(plan.model.config), generator=torch.Generator().manual_seed(seed)).to(device).eval()
    found: dict[str, NDArray[np.float32]] = {}
    meter = Progress(progress, "places", len(plan.rows))
    for places, batch in batches_of(plan, store, plan.rows):
        with torch.inference_mode():
            images, there = inputs_of(plan, batch, device)
            flat = {s: x.flatten(0, 1) for s, x in images.items()}
            every = [x.flatten(2) for x in flat.values()]
            statistics = torch.cat([m for x in every for m in (x.mean(dim=2), x.std(dim=2))], dim=1)
            kinds = {
                "model": plan.model.pool(flat),
                "random weights": random.pool(flat),
                "image statistics": statistics,
            }
            for name, x in kinds.items():
                features = x.float().reshape(len(batch), plan.times, -1).masked_fill(~there[..., None], torch.nan)
                whole = found.setdefault(name, np.empty((len(plan.rows), *features.shape[1:]), dtype=np.float32))
                whole[places] = features.cpu().numpy()
        meter.add(len(batch))
    return found


def standardised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every dimension with mean 0 and deviation 1 over all images.

    Args:
        features: (N, T, D); NaN where an image is absent.
    """
    std = np.nanstd(features, axis=(0, 1))
    scaled: NDArray[np.float32] = (features - np.nanmean(features, axis=(0, 1))) / np.where(std == 0, 1.0, std)
    return scaled


def _score(
    statistic: Callable[[NDArray[np.int64]], float], count: int, rng: np.random.Generator, *, chance: float
) -> SeasonScore:
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [_TAIL, 100 - _TAIL])
    return SeasonScore(statistic(np.arange(count)), float(low), float(high), chance, np.array(drawn))


def _plain(ask: Callable[[], Retrieval | Probe]) -> dict[str, Any]:
    try:
        answer = ask()
    except UsageError as error:
        return {"impossible": str(error)}
    plain = asdict(answer)
    for figure in plain.values():
        if isinstance(figure, dict):
            del figure["drawn"]
    return plain
