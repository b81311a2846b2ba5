"""The published numbers as data, one row a value.

`published/seamo.csv`: Tables 1-15 and Figure 15 of SeaMo (arXiv 2412.19237v1). `published/elsewhere.csv`: what others
printed for the same models on the same data, by their own protocols: a range to expect, no number to beat.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from seamo.errors import ProtocolError

FOLDER = Path(__file__).parent / "published"
STATUSES = ("printed", "derived", "from the text", "lost")


@dataclass(frozen=True, slots=True)
class Published:
    """One published value.

    Args:
        table: `T1` ... `T15`, `F15`; `elsewhere`.
        model: As printed.
        variant: Of ablations: the row's id in our study. Elsewhere: the split or selection of the data that was used,
            where it is not simply all of it.
        backbone: The card that is this model; `seamo` = any run of SeaMo; empty = none can be named.
        arch: As printed.
        dataset: Our id; two joined by `+` (Table 15).
        inputs: Sensors, where the data set has several.
        protocol: Ours that stands for it.
        fraction: Of the training labels; None where it does not apply.
        metric: Ours whose definition is the paper's, as far as it is known.
        value: In percent (Table 15: hours); None = lost.
        status: `printed`, `derived` (from a difference), `from the text`, or `lost`.
        note: What must be known about it.
        source: Where it stands.
    """

    table: str
    model: str
    variant: str
    backbone: str
    arch: str
    dataset: str
    inputs: tuple[str, ...]
    protocol: str
    fraction: float | None
    metric: str
    value: float | None
    status: str
    note: str
    source: str

    @property
    def id(self) -> str:
        """Unique."""
        words = [
            self.table,
            self.model,
            self.arch,
            self.variant,
            self.dataset,
            *self.inputs,
            self.protocol,
            self.metric,
        ]
        share = "" if self.fraction is None else f"{self.fraction:g}"
        return "/".join([*words, share]).replace(" ", "-")


@lru_cache(maxsize=2)
def load_published(name: str = "seamo") -> tuple[Published, ...]:
    """Every value of `published/<name>.csv`, in the paper's order.

    Raises:
        ProtocolError: If a line of the file is not what it must be.
    """
    path = FOLDER / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_parse(line, f"{path.name}:{number}") for number, line in enumerate(csv.DictReader(file), 2))


def _parse(line: dict[str, str], where: str) -> Published:
    if line["status"] not in STATUSES or (line["status"] == "lost") != (line["value"] == ""):
        raise ProtocolError(f"status {line['status']!r} and value {line['value']!r} do not fit together", where)
    try:
        return Published(
            table=line["table"],
            model=line["model"],
            variant=line["variant"],
            backbone=line["backbone"],
            arch=line["arch"],
            dataset=line["dataset"],
            inputs=tuple(line["inputs"].split("+")) if line["inputs"] else (),
            protocol=line["protocol"],
            fraction=float(line["fraction"]) if line["fraction"] else None,
            metric=line["metric"],
            value=float(line["value"]) if line["value"] else None,
            status=line["status"],
            note=line["note"],
            source=line["source"],
        )
    except ValueError as error:
        raise ProtocolError(str(error), where) from error
