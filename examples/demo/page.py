"""What the demo says beside what its commands say: its acts, its counter, its closing page."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import Step

ACT_1 = """\
ACT 1: a first result, and how far to trust it. All data here are synthetic.
  Shown: an archive as it is published becomes a store; four floors, which are statistics and untrained weights, are
  scored on it; table and page give each number with its interval. Then the archive is spoiled in three ways and a
  record in one. Every file stays well formed, and the checks must say what is wrong.
  Not shown: anything about the real world."""
REAL = """
ACT 1 AGAIN, on real pixels: 202 of EuroSAT's 27,000 tiles, the same checks and the same four faults.
  The scores are of 202 tiles (five folds, five times). They are no scores of EuroSAT."""
ACT_2 = """
ACT 2: one pretraining and what it gave, against the fair comparison. Synthetic data again.
  Shown: a small SeaMo learns from unlabelled places; its frozen features stand beside the same network with
  random weights, and beside the floors of act 1. The differences are paired over the test images.
  Not shown: that pretraining helps. One seed in one small world cannot show it; the table says what it finds."""

Score = tuple[str, float, float, float]  # title, value, ends of the interval


@dataclass(frozen=True, slots=True)
class Results:
    """What the closing page tells of the records.

    Args:
        scores: (backbone, protocol) -> its score.
        gains: Protocol -> pretrained minus random weights, with interval; empty without act 2.
        real: Whether act 1 was shown on real tiles, too.
    """

    scores: Mapping[tuple[str, str], Score]
    gains: Mapping[str, tuple[float, float, float]]
    real: bool


def clock(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> clock(83.4)
        '1:23'
    """
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def time_left(steps: Sequence[Step], spent: Mapping[str, float], told: Sequence[Step]) -> float:
    """Seconds that the steps that are left take, on a machine as fast as it was until now.

    Args:
        steps: What is left.
        spent: Seconds that steps took which were run now.
        told: All steps, with the seconds they are expected to take.
    """
    real = sum(spent.values())
    expected = sum(step.seconds for step in told if step.name in spent)
    return sum(step.seconds for step in steps) * (real / expected if expected else 1.0)


def as_typed(line: str, programs: Path) -> str:
    """A command line as a visitor types it: with the folder of the programs, unless the shell finds them there."""
    if str(programs) in os.environ.get("PATH", "").split(os.pathsep):
        return line
    near = os.path.relpath(programs)
    return f"{programs if near.startswith('..') else near}/{line}"


def closing(found: Results, folder: Path, programs: Path, *, seconds: float) -> str:
    """The page at the end: what was shown, what was not, what to do next."""
    real = "202 real tiles are no data set" if found.real else "every pixel was made by a program"
    where = ", on real tiles too" if found.real else ""
    at, command = shlex.quote(str(folder)), as_typed("", programs)
    lines = [
        "",
        f"WHAT WAS SHOWN, in {clock(seconds)}",
        f"  Archive, store, scores, page: everything is below {at}, and {at}/report.html opens in a browser.",
        *(f"  {_scores(found, protocol)}" for protocol in ("logreg", "knn")),
        f"  Four planted faults were named{where}: bands, pixels, splits, labels of a record.",
        *(f"  {_gain(protocol, *gain)}" for protocol, gain in sorted(found.gains.items())),
        "WHAT WAS NOT",
        f"  Anything about the real world: {real}.",
        "  Whether pretraining helps: that takes several seeds and worlds (make readme-figures) and real data.",
        "  Faults that look like the truth pass: bands that are alike, single wrong labels. docs/verify.md lists them.",
        "NEXT",
        "  what the tiles look like:",
        f"    {command}seamo-prep look {at}/stores/eurosat -o {at}/tiles.png",
        "  your own GeoTIFFs become a store (docs/guide-own-data.md):",
        f"    {command}seamo-prep init FOLDER",
        "  the real EuroSAT (the sizes, before anything is fetched):",
        f"    {command}seamo-prep fetch eurosat --to raw/eurosat --dry-run",
    ]
    return "\n".join(lines)


def _scores(found: Results, protocol: str) -> str:
    ranked = sorted((score for (_, name), score in found.scores.items() if name == protocol), key=lambda one: -one[1])
    told = "; ".join(
        f"{title} {100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" for title, value, low, high in ranked[:2]
    )
    return f"Top-1 in percent, {protocol}: {told}."


def _gain(protocol: str, difference: float, low: float, high: float) -> str:
    verdict = "not told apart" if low <= 0 <= high else ("a gain" if low > 0 else "a loss")
    told = f"{100 * difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"Pretrained minus random weights, {protocol}: {told}: {verdict}, in one world with one seed."
