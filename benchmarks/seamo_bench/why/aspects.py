"""In which facts two runs differ, and the facts of a run between them: some of the one, some of the other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from seamo.errors import ProtocolError
from seamo.inputs.steps import FROM_STORE
from seamo_bench.facts import AdapterFacts, Facts, InputFacts, SplitFacts, StepFacts, asked_of
from seamo_bench.protocols import find_protocol, protocols

METRIC, TEST, SPLIT = "metric", "test samples", "split"
PARAMETER = "parameter "  # how the name of a protocol's parameter begins
Steps = tuple[StepFacts, ...]
_ABSENT = "(none)"
_SIZE = re.compile(r"\d+ x \d+")
_DATE = re.compile(r"dates? ([\d and]*\d)(?:, then |$)")
_NATIVE = "bicubic antialiased from every layer's own grid"


@dataclass(frozen=True, slots=True)
class Aspect:
    """A fact in which two runs differ.

    Args:
        name: `data`, `split`, `bands`, `parameter C`, `metric`, ...
        a: What the first one says, for readers.
        b: The second.
    """

    name: str
    a: str
    b: str


def aspects_of(a: Facts, b: Facts) -> tuple[Aspect, ...]:
    """The facts in which two runs differ, in the order in which a path changes them.

    What follows from another fact is no fact of its own: the numbers of a store's statistics follow from the store,
    a card's digest from the bands, normalisation, size and kernel that it states, the salt of a subset from the seed.
    """
    found = [*_of_data(a, b), *_of_input(a, b), *_of_protocol(a, b)]
    for name, one, other in (
        ("precision", a.precision, b.precision),
        ("seed", str(a.seed), str(b.seed)),
        ("budget", a.budget, b.budget),
    ):
        if one != other:
            found.append(Aspect(name, one, other))
    return tuple(found)


def _of_data(a: Facts, b: Facts) -> list[Aspect]:
    found = []
    contents = [[(store.id, store.content) for store in facts.stores] for facts in (a, b)]
    if contents[0] != contents[1]:
        found.append(Aspect("data", *(" + ".join(f"{name} {hash_[:12]}" for name, hash_ in one) for one in contents)))
    if a.task != b.task:
        told = [f"{one.task.label_space} ({len(one.task.classes)} classes)" for one in (a, b)]
        found.append(Aspect("label space", *told))
    one, other = a.split, b.split
    changed = one.lists.keys() | other.lists.keys()
    lists = {name for name in changed if one.lists.get(name) != other.lists.get(name)}
    # Lists differ, too, where other samples, labels or shares of them are drawn from.
    rules = [(facts.split.fraction, facts.split.rule, facts.split.salt, facts.budget) for facts in (a, b)]
    drawn = bool(found) or rules[0] != rules[1]
    if lists == {"test"} and {"train", "test"} <= changed:
        found.append(Aspect(TEST, *(f"{s.scheme}, list {s.lists.get('test', '')[:12]}" for s in (one, other))))
    elif one.scheme != other.scheme or (lists and not drawn):
        told = [f"{s.scheme}, lists {' '.join(v[:6] for v in s.lists.values())}" for s in (one, other)]
        found.append(Aspect(SPLIT, *told))
    if (one.fraction, one.rule) != (other.fraction, other.rule):
        found.append(Aspect("label fraction", *(f"{s.fraction:g} by {s.rule}" for s in (one, other))))
    return found


def _of_input(a: Facts, b: Facts) -> list[Aspect]:
    found = []
    if a.adapter is not None and b.adapter is not None:
        found = _of_adapter(a.adapter, b.adapter)
    elif a.adapter != b.adapter:
        found.append(Aspect("bands", *("known" if one.adapter else "not known" for one in (a, b))))
    one, other = a.backbone, b.backbone
    # The same network under another card: its inputs say what is other; a demo card is narrow.
    is_same = (one.id, one.weights) == (other.id, other.weights)
    if not is_same or (one.card != other.card and not found and a.budget == b.budget):
        told = [f"{side.id}, weights {side.weights[:12] or 'none'}, card {side.card[:12]}" for side in (one, other)]
        found.insert(0, Aspect("backbone", *told))
    return found


def _of_adapter(a: AdapterFacts, b: AdapterFacts) -> list[Aspect]:
    found = []
    if _bands(a) != _bands(b):
        found.append(Aspect("bands", *(_bands_text(one) for one in (a, b))))
    theirs = {one.sensor: one for one in b.inputs}
    rules = [(one, theirs[one.sensor]) for one in a.inputs if one.sensor in theirs]
    if any(not same_rule(one, other) for one, other in rules):
        told = ["; ".join(rule_text(pair[side]) for pair in rules) for side in (0, 1)]
        found.append(Aspect("normalisation", *told))
    if a.size != b.size:
        found.append(Aspect("size", *(f"{one.size[0]} x {one.size[1]} px" for one in (a, b))))
    kernels = kernel_of(a.resize), kernel_of(b.resize)
    if kernels[0] != kernels[1] and all(kernels):
        found.append(Aspect("kernel", *kernels))
    if date_of(a.resize) != date_of(b.resize):
        found.append(Aspect("date", *(date_of(one.resize) or "the only one" for one in (a, b))))
    return found


def _bands(one: AdapterFacts) -> Any:
    """What feeds the channels; the policy for missing bands where there was something to do for it."""
    fed = [(given.sensor, given.bands, given.filled, given.sources) for given in one.inputs]
    acted = any(given.filled for given in one.inputs) or one.missing == "new-tokenizer"
    return fed, one.missing if acted else ""


def _bands_text(one: AdapterFacts) -> str:
    told = []
    for given in one.inputs:
        made_up = f" ({','.join(given.filled)}: {one.missing})" if given.filled else ""
        told.append(f"{given.sensor}:{','.join(given.bands)}{made_up}")
    return " ".join(told)


def is_from_store(one: InputFacts) -> bool:
    """Whether the numbers of its steps are those of the store that was read."""
    return one.statistics.startswith(FROM_STORE)


def same_rule(a: InputFacts, b: InputFacts) -> bool:
    """Whether two inputs of one sensor are normalised alike: as the stores' own statistics say, or by equal numbers.

    Numbers are equal channel by channel, or band by band where the order of bands differs.
    """
    if a.unit != b.unit:
        return False
    if is_from_store(a) and is_from_store(b):
        return [step.op for step in a.steps] == [step.op for step in b.steps]
    return a.steps == b.steps or aligned(a.steps, a.bands, b.bands) == b.steps


def aligned(steps: Steps, own: tuple[str, ...], wanted: tuple[str, ...]) -> Steps | None:
    """Steps for other bands, or for another order of them; None where a band has no numbers."""
    if not set(wanted) <= set(own):
        return None

    def pick(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(numbers[own.index(name)] for name in wanted) if len(numbers) == len(own) > 1 else numbers

    return tuple(StepFacts(op=step.op, a=pick(step.a), b=pick(step.b)) for step in steps)


def rule_text(one: InputFacts) -> str:
    """A normalisation in a line: the unit, its steps with the first of their numbers, where these come from."""

    def numbers(values: tuple[float, ...]) -> str:
        return f" {values[0]:g}{',..' if len(values) > 1 else ''}" if values else ""

    steps = ", ".join(f"{step.op}{numbers(step.a)}{numbers(step.b)}" for step in one.steps) or "as it is"
    return f"{one.sensor} in {one.unit}: {steps} ({'store' if is_from_store(one) else one.statistics or 'not said'})"


def kernel_of(resize: str) -> str:
    """`bilinear` or `bicubic-native` (`seamo.inputs.spec.Resize`), else the words; empty where nothing resizes."""
    words = _DATE.sub("", resize)
    if words.startswith(_NATIVE):
        return "bicubic-native"
    if "bilinear antialiased to" in words:
        return "bilinear"
    return "" if "not resized" in words or not words else _SIZE.sub("SIZE", words)


def date_of(resize: str) -> str:
    """Which dates were read, as `resize` says it; empty where a store has one."""
    found = _DATE.match(resize)
    return found[1] if found else ""


def _of_protocol(a: Facts, b: Facts) -> list[Aspect]:
    one, other = a.protocol, b.protocol
    found = []
    if (one.id, one.version) != (other.id, other.version) or one.params.keys() != other.params.keys():
        only = [sorted(x.params.keys() - y.params.keys()) for x, y in ((one, other), (other, one))]
        extra = [f", with {' '.join(names)}" if names and one.id == other.id else "" for names in only]
        told = [f"{side.id} version {side.version}{more}" for side, more in zip((one, other), extra, strict=True)]
        found.append(Aspect("protocol", *told))
    values = [(name, value_text(one.params[name]), value_text(other.params[name])) for name in free_parameters(a, b)]
    return [*found, *(Aspect(PARAMETER + name, ours, theirs) for name, ours, theirs in values)]


def free_parameters(a: Facts, b: Facts) -> tuple[str, ...]:
    """Parameters that differ and can be changed one by one: not those that come with another protocol or budget."""
    if a.protocol.id != b.protocol.id:
        return ()
    set_by_budget: Mapping[str, object] = {}
    if a.budget != b.budget and a.protocol.id in protocols():
        set_by_budget = find_protocol(a.protocol.id).demo
    both = [name for name in a.protocol.params if name in b.protocol.params and name not in set_by_budget]
    return tuple(name for name in both if a.protocol.params[name] != b.protocol.params[name])


def value_text(value: object) -> str:
    """A parameter for readers."""
    if isinstance(value, tuple | list):
        return ", ".join(map(value_text, value)) or _ABSENT
    return f"{value:g}" if isinstance(value, float) else str(value)


def mixed(a: Facts, b: Facts, chosen: frozenset[str]) -> Facts:
    """The facts of a run with the chosen aspects of `b` and all else of `a`.

    Sample lists and a card's digest stay empty where they follow from facts of both: whoever plans the run fills them
    in. With all aspects it is `b`, with none `a`.

    Args:
        a: Facts of the one.
        b: Of the other.
        chosen: Names of aspects of `aspects_of(a, b)`.

    Raises:
        ProtocolError: If no such run can be: the bands of the one have no numbers in the normalisation of the other.
    """
    names = {aspect.name for aspect in aspects_of(a, b)}
    if not names & chosen:
        return a
    if names <= chosen:
        return b

    def side(name: str) -> Facts:
        return b if name in chosen else a

    def one_side(*group: str) -> Facts | None:
        """The facts that all of these aspects are of; None where they are of both."""
        differing = [name for name in group if name in names]
        sides = {name in chosen for name in differing}
        return None if len(sides) > 1 else (b if sides == {True} else a)

    split_name = TEST if TEST in names else SPLIT
    seed, fraction = side("seed").seed, side("label fraction").split.fraction
    whole = one_side("data", "label space", split_name, "label fraction", "seed", "budget")
    split = whole.split if whole is not None else SplitFacts(
        scheme=side(split_name).split.scheme,
        lists={},
        fraction=fraction,
        salt=seed if fraction < 1.0 else 0,
        rule=side("label fraction").split.rule,
    )  # fmt: skip
    fed = one_side("data", "backbone", "bands", "normalisation", "size", "kernel", "date", "budget")
    backbone = side("backbone").backbone
    protocol = side("protocol").protocol
    params = dict(protocol.params)
    if a.protocol.id == b.protocol.id:
        free = free_parameters(a, b)
        for name in params:
            giver = side(PARAMETER + name) if name in free else side("budget")
            params[name] = giver.protocol.params.get(name, params[name])
    return Facts(
        stores=side("data").stores,
        split=split,
        task=side("label space").task,
        backbone=backbone.model_copy(update={"card": ""}) if fed is None else fed.backbone,
        protocol=protocol.model_copy(update={"params": params}),
        adapter=_mixed_adapter(names, side) if fed is None else fed.adapter,
        seed=seed,
        precision=side("precision").precision,
        inputs=_asked(names, side),
        budget=side("budget").budget,
    )


def _asked(names: set[str], side: Any) -> str:
    """What the row asks of the input: sensors and bands with the bands, a size where the two differ in it."""
    size = asked_of(side("size").inputs).size
    adapter = side("size").adapter
    if size is None and "size" in names and adapter is not None:
        size = adapter.size[0] or None
    return replace(asked_of(side("bands").inputs), size=size).line


def _mixed_adapter(names: set[str], side: Any) -> AdapterFacts | None:
    bands, size = side("bands").adapter, side("size").adapter
    rule = side("normalisation").adapter if "normalisation" in names else bands
    words = side("kernel").adapter if "kernel" in names else size
    if bands is None or size is None or rule is None or words is None:
        return None
    rules = {one.sensor: one for one in rule.inputs}
    inputs = tuple(_with_rule(one, rules.get(one.sensor, one)) for one in bands.inputs)
    when = date_of(side("date").adapter.resize)
    kernel = _DATE.sub("", words.resize)
    if size.size[0]:
        kernel = _SIZE.sub(f"{size.size[0]} x {size.size[1]}", kernel)
    dates = f"date{'s' * (' and ' in when)} {when}, then " if when else ""
    return AdapterFacts(inputs=inputs, missing=bands.missing, size=size.size, resize=dates + kernel)


def _with_rule(fed: InputFacts, rule: InputFacts) -> InputFacts:
    """The bands of one input, normalised as another one is."""
    if rule.bands == fed.bands:
        steps: Steps | None = rule.steps
    elif is_from_store(rule):  # made anew, of the statistics of whatever is read
        steps = aligned(rule.steps, rule.bands, fed.bands) or rule.steps
    else:
        steps = aligned(rule.steps, rule.bands, fed.bands)
    if steps is None:
        lacking = sorted(set(fed.bands) - set(rule.bands))
        raise ProtocolError(f"has no numbers of {fed.sensor}:{lacking[0]}", "the other's normalisation")
    return fed.model_copy(update={"unit": rule.unit, "steps": steps, "statistics": rule.statistics})
