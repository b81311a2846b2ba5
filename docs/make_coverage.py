"""Write the tables of `docs/coverage.md`: how every pretrained optical backbone meets every optical data set.

`python docs/make_coverage.py`
"""

from collections import Counter
from pathlib import Path

from seamo.bands import SENSORS, is_optical
from seamo.manifest import shipped_manifest
from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.meeting import Meeting, is_optical_card, is_optical_spec, meetings

PAGE = Path(__file__).resolve().parent / "coverage.md"
BEGIN, END = "<!-- table {}: written by docs/make_coverage.py -->", "<!-- end of table {} -->"


def ways() -> str:
    """Backbones that meet all data sets alike share a row."""
    specs = {name: one for name, one in shipped_manifest().items() if one.task.kind != "pretrain"}
    specs = {name: one for name, one in specs.items() if is_optical_spec(one)}
    listed = [one for one in cards().values() if one.card.availability == "weights" and is_optical_card(one.card)]
    met = meetings([(one.card.id, one.card, one.family) for one in listed], specs)
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in listed:
        alike.setdefault(tuple(met[one.card.id, place].way for place in specs), []).append(one.card.id)
    lines = ["| backbones | " + " | ".join(specs) + " |", "|" + "---|" * (len(specs) + 1)]
    lines += [f"| {', '.join(f'`{name}`' for name in names)} | {' | '.join(row)} |" for row, names in alike.items()]
    return "\n".join([*lines, "", counts(list(met.values()))])


def counts(met: list[Meeting]) -> str:
    """How many pairs meet in which way."""
    found = Counter(one.way for one in met)
    told = ", ".join(f"{way} {count}" for way, count in found.most_common())
    return f"{len(met)} pairs: {told}. {found['cannot'] / len(met):.1%} cannot."


def bands() -> str:
    """Centre and width of every optical band."""
    lines = ["| band | centre, nm | width, nm |", "|---|---|---|"]
    for sensor, known in SENSORS.items():
        if is_optical(sensor):
            lines += [f"| {one.id} | {one.wavelength_nm:g} | {one.width_nm:g} |" for one in known]
    return "\n".join(lines)


def filled(text: str) -> str:
    """The page with its tables as they are now."""
    for name, make in (("ways", ways), ("bands", bands)):
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
