"""What is kept of a label audit, and what it says in plain words."""

from typing import Annotated

from pydantic import AfterValidator, Field

from seamo_bench.board.tables import is_share
from seamo_bench.facts import Value
from seamo_bench.scores.metrics import metrics

KIND, VERSION = "audit", 3
ALPHA = 0.05
LISTED = 50  # suspects kept for the report; the files of the command have all of them
FEW_MODELS = 3
NO_LABEL = "none"  # the label of a sample without any class


def _known(name: str) -> str:
    if name not in metrics():
        raise ValueError(f"no metric {name!r}")
    return name


class Ranged(Value):
    """A number with its 95 % interval; the ends are None where none can be had."""

    value: float
    low: float | None
    high: float | None


class Suspect(Value):
    """A sample whose label most models contradict.

    Args:
        key: Of the sample.
        given, suggested: Class names; several of one sample joined by `, `.
        margin: By how much the label leads, on average, thresholds taken off; below 0 another class does.
        against: Models that contradict it: of several labels, the one with that margin.
        near_duplicate: Key of nearly the same image with another label; empty where there is none, or none was sought.
    """

    key: str
    given: str
    suggested: str
    margin: float
    against: int = Field(ge=0)
    near_duplicate: str = ""


class Swap(Value):
    """A class that suspects are labelled as and the one that they are said to be.

    Args:
        given, suggested: Class names; of several labels a sample `not NAME` and `NAME`.
        count: Suspects.
        expected: As many by the sizes of classes alone.
        p: That so many are by chance, corrected for all pairs (Holm); None where that is not asked.
    """

    given: str
    suggested: str
    count: int = Field(ge=0)
    expected: float | None
    p: float | None


class Without(Value):
    """One model's score on all samples, and without the suspects: how much hangs on them, no corrected score."""

    model: str
    protocol: str
    metric: Annotated[str, AfterValidator(_known)]
    all: float
    without: float
    difference: Ranged


class AuditRow(Value):
    """What is known of the labels of one data set.

    Args:
        dataset, title: Its id and title.
        scheme: Split scheme of the records.
        covers: `every sample` (cross-validated), or `the test split alone`.
        samples: How many were judged.
        marks: Labels of them that were judged: one a sample, or one a sample and class.
        unit: What the intervals resample.
        synthetic, subset, demo: What a reader must know.
        models: Who voted.
        left_out: Who did not, whose records or scores are left out, and why.
        suspects: Samples whose label more than half of the models contradict.
        wrong: Estimated wrong labels (marks of classes, of several labels a sample), what models confuse among them.
        listed: The first suspects.
        swaps: Pairs of classes among them, the largest first.
        without: Of every model.
        near_duplicates: Pairs of nearly the same image with different labels; None: no store was at hand.
        is_cut: Whether there may be more of those, as not all that look alike were compared.
    """

    dataset: str
    title: str
    label_space: str
    scheme: str
    covers: str
    samples: int = Field(ge=0)
    marks: int = Field(ge=0)
    unit: str
    synthetic: bool
    subset: bool
    demo: bool
    models: tuple[str, ...]
    left_out: tuple[str, ...]
    suspects: int = Field(ge=0)
    wrong: Ranged
    listed: tuple[Suspect, ...]
    swaps: tuple[Swap, ...]
    without: tuple[Without, ...]
    near_duplicates: int | None = Field(default=None, ge=0)
    is_cut: bool = False


def reservations(row: AuditRow) -> tuple[str, ...]:
    """What a reader must know before any number of an audit."""
    found = []
    if row.synthetic:
        found.append("SYNTHETIC data: no statement about the real world.")
    if row.subset:
        found.append("A subset, not the full data set.")
    if row.demo:
        found.append("DEMO BUDGET: the models are hardly trained.")
    if len(row.models) < FEW_MODELS:
        found.append(f"Few models ({len(row.models)}): what they contradict may be their own error.")
    return tuple(found)


def headline(row: AuditRow) -> str:
    """How many labels most models contradict, of how many."""
    who = f"most of {len(row.models)} models" if len(row.models) > 1 else f"the one model, {row.models[0]}"
    split = f"{row.covers}, split {row.scheme}"
    return f"{row.suspects:,} of {row.samples:,} samples ({split}) have a label that {who} contradict."


def estimate_text(row: AuditRow) -> str:
    """The estimated number of wrong labels, and what it is not."""
    wrong, ends = row.wrong, "no interval"
    if wrong.low is not None and wrong.high is not None:
        ends = f"{wrong.low:,.0f} to {wrong.high:,.0f}"
    marks = "" if row.marks == row.samples else f" of {row.marks:,} marks, one a sample and class"
    return (
        f"Estimated wrong labels: {wrong.value:,.0f}{marks} (95 % interval over {row.unit}: {ends}). Classes that "
        "all models confuse count among them, so this is no count of errors that annotators made: look at the pictures."
    )


def duplicates_text(row: AuditRow) -> str:
    """Pairs of nearly the same image with different labels."""
    if row.near_duplicates is None:
        return "Nearly the same images with different labels were not looked for: that needs the stores."
    least = "at least " if row.is_cut else ""
    more = " More look alike than were compared." if row.is_cut else ""
    return f"Pairs of nearly the same image with different labels: {least}{row.near_duplicates:,}.{more}"


FLATTERS = (
    "Whoever leaves out what models get wrong flatters every model. The score without suspects says how much hangs on "
    "them; it is no corrected score, and ranks nothing."
)


def change_text(one: Without) -> str:
    """How much the score moves without the suspects, with its interval, as tables print scores."""
    scale, digits = (100, 2) if is_share(one.metric) else (1, 4)
    ends = one.difference
    words = f"{scale * ends.value:+.{digits}f}"
    if ends.low is None or ends.high is None:
        return f"{words} [no interval]"
    return f"{words} [{scale * ends.low:+.{digits}f}, {scale * ends.high:+.{digits}f}]"


def swaps_title(row: AuditRow) -> str:
    """What the pairs of classes are, and what they are held against."""
    if all(one.expected is None for one in row.swaps):  # of several labels a sample, what each mark changes with
        return "Classes that suspects lack (not NAME -> NAME), or have too much"
    scenes = "" if row.unit == "samples" else ", and takes samples of one scene for independent"
    return f"Classes that swap; expected is by the sizes of classes alone, p is corrected for all pairs{scenes}"
