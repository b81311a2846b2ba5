"""Which records are seeds of one pretraining: those that say so and agree in all that decided it but the seed.

A group's name comes from folders and proves nothing. Where its members were pretrained otherwise, or two of them say
one seed, each is a row by itself, and a note says what differs.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # records are read with their groups held
    from seamo_bench.records.record import Record

_NAMED = 4  # differences that a note spells out
_CARD = 8  # digits that tell two runs of one name apart

Run = tuple[str, str]  # backbone id, digest of its card, which names the weights


def held_groups(records: "Sequence[Record]") -> "tuple[tuple[Record, ...], tuple[str, ...]]":
    """The records, `about.group` of those in a group that does not hold being their backbone; and notes on groups."""
    groups: dict[str, dict[Run, Record]] = {}
    for record in records:
        if record.about.group:
            groups.setdefault(record.about.group, {}).setdefault(_run(record), record)
    names: dict[tuple[str, Run], str] = {}
    notes = []
    for group, runs in sorted(groups.items()):
        why = _apart(runs) if len(runs) > 1 else ""
        if why:
            own = _own_names(runs)
            names |= {(group, run): name for run, name in own.items()}
            notes.append(f"{', '.join(sorted(own.values()))}: rows by themselves, no seeds of one pretraining: {why}.")
        elif len(runs) > 1 and not any(record.about.pretraining for record in runs.values()):
            notes.append(f"{group}: nothing says that its {len(runs)} runs were pretrained alike (older records).")
    return tuple(_named(record, names) for record in records), tuple(notes)


def _run(record: "Record") -> Run:
    return record.facts.backbone.id, record.facts.backbone.card


def _apart(runs: "Mapping[Run, Record]") -> str:
    """Why runs are no seeds of one another, in words; empty if they may be."""
    told = [record.about.pretraining for _, record in sorted(runs.items())]
    differ = [name for name in sorted({key for one in told for key in one}) if len({one.get(name) for one in told}) > 1]
    if differ:
        named = [f"{name} {' / '.join(dict.fromkeys(one.get(name, '?') for one in told))}" for name in differ]
        rest = f" and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
        return f"they differ in {', '.join(named[:_NAMED])}{rest}"
    seeds = [record.about.pretraining_seed for record in runs.values()]
    twice = sorted({seed for seed in seeds if seed is not None and seeds.count(seed) > 1})
    return f"seed {twice[0]} is there {seeds.count(twice[0])} times" if twice else ""


def _own_names(runs: "Mapping[Run, Record]") -> dict[Run, str]:
    """What each run is called as a row: its id, with the first digits of its card where two have one."""
    ids = [backbone for backbone, _ in runs]
    return {run: run[0] if ids.count(run[0]) == 1 else f"{run[0]} ({run[1][:_CARD]})" for run in runs}


def _named(record: "Record", names: Mapping[tuple[str, Run], str]) -> "Record":
    name = names.get((record.about.group, _run(record)))
    if name is None:
        return record
    return record.model_copy(update={"about": record.about.model_copy(update={"group": name})})
