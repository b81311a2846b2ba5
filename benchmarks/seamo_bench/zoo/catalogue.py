"""What there is: backbone families and their cards, found by listing a folder and entry points. No torch here."""

import hashlib
import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import seamo_bench.backbones
from seamo.discovery import outside_modules, own_modules, unknown
from seamo.errors import CheckpointError, ProtocolError, UsageError
from seamo.identity import digest
from seamo.inputs.spec import SELECT_NM
from seamo.seal import parse_json
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

if TYPE_CHECKING:  # listing backbones loads neither torch nor numpy
    from seamo.inputs.wiring import Wiring
    from seamo_bench.network import Network


@dataclass(frozen=True, slots=True)
class Found:
    """A card and the module that made it."""

    card: BackboneCard
    module: str

    @property
    def family(self) -> Family:
        """The family that the module declares."""
        return family(self.module)


@dataclass(frozen=True, slots=True)
class BackboneSource:
    """Where a network comes from: found and checked, not loaded.

    Args:
        family: Its family.
        card: Its card, whole.
        weights: Its checkpoint file; None where it has none.
    """

    family: Family
    card: BackboneCard
    weights: Path | None


def families() -> list[str]:
    """Modules of all backbone families, our own first, then those of other packages, each sorted."""
    return [*own_modules(seamo_bench.backbones), *outside_modules("seamo.backbones")]


def family(module: str) -> Family:
    """Import one family (its top level loads no torch).

    Raises:
        ProtocolError: If an outside module cannot be imported, or declares no family.
    """
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ProtocolError(f"cannot be imported ({error})", module, "Repair or uninstall the package.") from error
    match vars(found):
        case {"FAMILY": Family() as declared}:
            return declared
        case {"CARDS": tuple() | list() as listed, "load": load, **others} if callable(load):
            return _of_plain_module(tuple(listed), load, others)
        case _:
            raise ProtocolError("declares no family", module, "A backbone module needs FAMILY, or CARDS and load.")


def _of_plain_module(
    listed: tuple[BackboneCard, ...], load: Callable[..., "Network"], others: Mapping[str, Any]
) -> Family:
    """The family of a module of another package that is written as `CARDS`, `load` and module-level options.

    It switches its own quirks on, in its `card_of`.
    """
    names = {
        "build": "build",
        "rules": "rules",
        "card_of": "card_of",
        "demo_card": "narrow",
        "SELECTS_COLUMNS": "selects_columns",
        "NEW_TOKENIZER": "new_tokenizer",
    }
    return Family(cards=listed, load=load, **{names[name]: value for name, value in others.items() if name in names})


@lru_cache(maxsize=1)
def cards() -> dict[str, Found]:
    """Every listed card by id.

    Raises:
        ProtocolError: If two families claim one id.
    """
    found: dict[str, Found] = {}
    for module in families():
        for card in family(module).cards:
            if card.id in found:
                raise ProtocolError(f"backbone {card.id} is also in {found[card.id].module}", module)
            found[card.id] = Found(card, module)
    return found


def find_card(name: str) -> Found:
    """The card of a name: a listed id, whatever a family makes of it (a run folder, `timm:<id>`), or `<id>+<quirk>`.

    Raises:
        UsageError: If no family knows it; names the nearest id. If a card has no such quirk; names those it has.
    """
    known = cards()
    if name in known:
        return known[name]
    for module in families():
        card = family(module).card_of(name)
        if card is not None:
            return Found(card, module)
    base, *quirks = name.split("+")
    if base in known:
        return Found(_with_quirks(known[base], quirks), known[base].module)
    raise unknown("backbone", name, list(known), "It is no folder of a SeaMo run either. ")


def _with_quirks(found: Found, quirks: Sequence[str]) -> BackboneCard:
    card, switches = found.card, found.family.quirks
    described = [text.partition(":")[0] for text in card.quirks]
    names = [name for name in described if name in switches]  # a module of another package may switch its own on
    for quirk in quirks:
        if quirk not in names:
            raise UsageError(f"has no quirk {quirk!r}", card.id, f"Its quirks: {', '.join(names) or 'none'}.")
        card = switches[quirk](card)
    return replace(card, id="+".join((card.id, *quirks)), title=f"{card.title} (official: {', '.join(quirks)})")


def budget_card(found: Found, budget: str) -> BackboneCard:
    """The card of a budget: in the demo budget, what has no weights to load is made narrow by its family.

    The card's digest is part of the key.
    """
    if budget != "demo" or found.card.weights is not None:
        return found.card
    return found.family.narrow(found.card)


def check_selection(wiring: "Wiring", family: Family) -> None:
    """Refuse `select-columns`, `new-tokenizer` and `wavelength` for families whose input layer cannot do that.

    Raises:
        ProtocolError: With the backbone and what its input layer cannot do.
    """
    if wiring.way == "wavelength" and not family.wavelengths:
        raise ProtocolError("its input layer is not made from wavelengths", wiring.network.id, "Choose another policy.")
    if any(sensor.dropped for sensor in wiring.sensors) and not family.can_select:
        raise ProtocolError("its input layer cannot lose columns", wiring.network.id, "Choose another policy.")
    if any(sensor.new for sensor in wiring.sensors) and not family.can_begin_anew:
        raise ProtocolError("its input layer cannot begin anew", wiring.network.id, "Choose another policy.")


def check_available(card: BackboneCard) -> None:
    """Refuse what is listed and cannot be run.

    Raises:
        ProtocolError: If there are no public weights, or nobody can load them here.
    """
    if card.availability == "quoted only":
        raise ProtocolError("has no public weights: its published numbers are quoted only", card.id)
    if card.availability == "no loader":
        raise ProtocolError("its weights are public, but nothing here loads them", card.id, card.source)


def weights_path(card: BackboneCard, given: Path | None) -> Path | None:
    """The checkpoint file of a card: the given one, or the one that lies where the card says.

    Where the published file is not there, the one that `weights convert` made of it (`<id>.safetensors`, in the same
    folder) is taken.

    Raises:
        CheckpointError: If the card needs weights that are not there, or the file is not the published one.
        ProtocolError: If there are no public weights, or nobody can load them here.
    """
    check_available(card)
    if card.weights is None:
        if given is not None and card.availability == "none needed" and not card.trainable:
            raise CheckpointError("takes no weights", card.id)
        return given
    path = given if given is not None else Path(card.weights.filename)
    converted = path.with_name(f"{card.owner}.safetensors")  # quirks do not change the file
    for found in (path, converted):
        if found.is_file():
            check_published(card.id, card.weights, found)
            return found
    raise CheckpointError(f"weights {path.name} are not there", card.id, _how_to_get(card.id, card.weights))


def check_published(backbone: str, weights: Weights, path: Path) -> None:
    """Compare a file with what is published about it: size, sha256 (or its first digits), md5.

    Of a converted file only the sha256 of its source is known; the rest was checked when it was converted.

    Raises:
        CheckpointError: If one of them differs.
    """
    digest = weights_digest(path)
    problem = ""
    if weights.sha256 and not digest.startswith(weights.sha256):
        problem = f"its sha256 begins with {digest[: len(weights.sha256)][:16]}, not with {weights.sha256[:16]}"
    elif digest == _hash_of(path, "sha256"):  # the published file itself
        size = path.stat().st_size
        if weights.bytes is not None and size != weights.bytes:
            problem = f"it has {size} bytes instead of {weights.bytes}"
        elif weights.md5 and _hash_of(path, "md5") != weights.md5:
            problem = f"its md5 is not {weights.md5}"
    if problem:
        fix = f"Remove it. {_how_to_get(backbone, weights)}"
        if Path(weights.filename).is_absolute():  # of a run
            fix = "The run was changed; copy or train it again."
        raise CheckpointError(f"weights {path.name} are not the published file: {problem}", backbone, fix)


def _how_to_get(backbone: str, weights: Weights) -> str:
    if Path(weights.filename).is_absolute():  # of a run of one's own; a reason names no folder
        return "The run has a card and not its weights: copy its folder again, or go on with its training."
    if not weights.urls:
        by_hand = f"{weights.how} " if weights.how else ""
        return f"{by_hand}Save the file as {weights.filename} in the folder of --weights, or name the file."
    accept = f" --accept {weights.licence}" if weights.noncommercial else ""
    limited = f" (licence {weights.licence}: not for commercial use)" if weights.noncommercial else ""
    return f"`seamo-bench weights fetch {backbone}{accept}` gets them{limited}; or name the file."


def weights_digest(path: Path | None) -> str:
    """What a record says about the weights: sha256 of the published file; empty where nothing is loaded.

    A converted file counts as the published one that it was made of, which its card names.

    Raises:
        CheckpointError: If a converted file is not the one that its card describes.
    """
    if path is None:
        return ""
    own = _hash_of(path, "sha256")
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.is_file():
        return own
    try:
        data = beside.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", str(beside), _CONVERT_AGAIN) from error
    made = parse_json(data, str(beside), error=CheckpointError, fix=_CONVERT_AGAIN)
    if "source_sha256" not in made:
        return own
    if made.get("sha256") != own:
        raise CheckpointError("is not the file that the card beside it describes", str(path), _CONVERT_AGAIN)
    source = made["source_sha256"]
    if not isinstance(source, str) or not re.fullmatch("[0-9a-f]{64}", source):
        raise CheckpointError("its source_sha256 is no sha256", str(beside), _CONVERT_AGAIN)
    return source


_CONVERT_AGAIN = "`seamo-bench weights convert` writes both again."


def _hash_of(path: Path, kind: str) -> str:
    """Hash of a file, computed once in a process as long as its size and time of change stay."""
    try:
        facts = path.stat()
        return _hash(path, kind, (facts.st_size, facts.st_mtime_ns))
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", str(path), "Check its permissions.") from error


@lru_cache(maxsize=256)
def _hash(path: Path, kind: str, _facts: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


@lru_cache(maxsize=256)
def card_digest(card: BackboneCard) -> str:
    """Digest of `card_document`."""
    return digest(card_document(card))


def card_document(card: BackboneCard) -> dict[str, Any]:
    """The whole card as plain values, except where its weights lie and what else is told of their making."""
    plain = asdict(card)
    del plain["pretraining"]
    if card.resize == "bilinear":  # what every card said before there was a choice: their digests stay
        del plain["resize"]
    if card.select_nm == SELECT_NM:  # nor did any card state a limit
        del plain["select_nm"]
    if card.weights is not None:
        plain["weights"] = {"sha256": card.weights.sha256, "licence": card.weights.licence}
    return {name: _finite(value) for name, value in plain.items()}


def _finite(value: Any) -> Any:
    """NaN (a card's fill) as text, because canonical JSON has none."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value
