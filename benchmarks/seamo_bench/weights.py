"""Published weights: opened without running their code, matched key by key, loaded whole or not at all."""

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from seamo.errors import CheckpointError
from seamo_bench.card import owner_of
from seamo_bench.family import KeyRules, renamed

# Classes that published files hold beside their tensors. They open as an empty `Holder` that never runs their code.
HELD = (
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
CONVERTED = "seamo_backbone"  # safetensors metadata key: the file holds parameters of this backbone, already renamed


N = TypeVar("N", bound=nn.Module)


class Holder:
    """What stands in for an object of a published pickle that is not a tensor: its fields, none of its code."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of every key of a file and every parameter of a network.

    Args:
        consumed: Keys of the file that fill a parameter, file key -> parameter.
        dropped: Keys on the drop list.
        initial: Parameters on the init list that keep their initial value.
    """

    consumed: Mapping[str, str]
    dropped: tuple[str, ...]
    initial: tuple[str, ...]


def open_checkpoint(path: Path) -> dict[str, Any]:
    """Open a published file: safetensors, or a torch pickle with a closed list of globals.

    Args:
        path: The file.

    Returns:
        Its top-level entries. Objects other than tensors and plain values are `Holder`s.

    Raises:
        CheckpointError: If the file is not there, cut off, damaged, or names a global that is not on the list.
    """
    if not path.is_file():
        raise CheckpointError("there is no such file", str(path), "Fetch it first, or check the path.")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", str(path), "Check its permissions.") from error
    if len(head) == 16 and head[8:9] == b"{":  # 8 bytes of header length, then its JSON
        return _open_safetensors(path)
    zipped = head[:2] == b"PK"
    if zipped:
        _check_zip(path)
    _check_pickles(path, zipped=zipped)
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [(Holder, name) for name in HELD]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an odd pickle protocol: what it may hold is the same
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except _UNREADABLE as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0][:200].strip()
        raise CheckpointError(f"cannot be read ({reason})", str(path), _AGAIN) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"holds a {type(content).__name__}, not named tensors", str(path), "Is it a checkpoint?")
    return content


_AGAIN = "Fetch the file again."
# What torch's restricted unpickler and zipfile raise on bytes that end early or make no sense.
_UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError,
    RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def _check_zip(path: Path) -> None:
    """Checksums of every part; torch compresses none of them, so that all are no larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = next((one.filename for one in members if one.compress_type != zipfile.ZIP_STORED), "")
            if packed or sum(one.file_size for one in members) > path.stat().st_size:
                what = f"its part {packed} is compressed" if packed else "its parts are larger than the file"
                raise CheckpointError(f"is no file that torch.save wrote: {what}", str(path), _AGAIN)
            bad = archive.testzip()
    except _UNREADABLE as error:
        raise CheckpointError(f"is cut off or damaged ({error})", str(path), _AGAIN) from error
    if bad:
        raise CheckpointError(f"is damaged: the checksum of its part {bad} is wrong", str(path), _AGAIN)


def _check_pickles(path: Path, *, zipped: bool) -> None:
    """Refuse what torch's own closed list lets through: a `bytearray` of any size that the file asks for."""
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                pickles = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
        else:
            with path.open("rb") as file:
                for _ in range(_LEGACY_PICKLES):
                    for _ in pickletools.genops(file):
                        pass
                size = file.tell()
                file.seek(0)
                pickles = [file.read(size)]
    except _UNREADABLE as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0][:200].strip()
        raise CheckpointError(f"cannot be read ({reason})", str(path), _AGAIN) from error
    if any(b"\nbytearray\n" in one for one in pickles):
        raise _refusal(path, "GLOBAL builtins.bytearray")


_LEGACY_PICKLES = 4  # a magic number, a version, facts of the machine, the content; numbers follow


def _refusal(path: Path, message: str) -> CheckpointError:
    found = re.search(r"GLOBAL (\S+)", message) or re.search(
        r"(?:class|function|call)\w* [`'\"]?([\w.]+\.[\w.]+)", message
    )
    if found:
        return CheckpointError(
            f"names {found.group(1)}, which is not on the closed list of what a checkpoint may hold; it could run code",
            str(path),
            "Take the file from its official address; do not unpickle it.",
        )
    reason = re.sub(r"\s+", " ", message.split("WeightsUnpickler error:")[-1]).strip()[:200]
    return CheckpointError(f"is not a readable checkpoint ({reason})", str(path), _AGAIN)


def _open_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in sorted(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"is cut off or damaged ({error})", str(path), _AGAIN) from error


def converted_for(path: Path) -> str:
    """Id of the backbone that a converted file belongs to; empty for any other file.

    Raises:
        CheckpointError: If it is cut off or damaged.
    """
    if path.suffix != ".safetensors":
        return ""
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get(CONVERTED, ""))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"is cut off or damaged ({error})", str(path), _AGAIN) from error


def tensors_at(content: Mapping[str, Any], rules: KeyRules, where: str = "") -> dict[str, Tensor]:
    """The state dict inside a file, nested dicts joined by `/`.

    Raises:
        CheckpointError: If none of the places of `rules` is there, or it holds no tensor.
    """
    for place in rules.places:
        inside = content if place == "" else content.get(place)
        if isinstance(inside, Mapping):
            found = _flatten(inside, where)
            state = dict(found)
            if len(state) != len(found):
                raise CheckpointError("two of its tensors have one name", where, "The file is not as published.")
            if state:
                return state
    wanted = " or ".join(repr(place) for place in rules.places if place) or "named tensors"
    raise CheckpointError(
        f"has no {wanted}; its entries: {', '.join(map(str, list(content)[:8]))}",
        where,
        "This is the checkpoint of another model.",
    )


def _flatten(mapping: Mapping[str, Any], where: str) -> list[tuple[str, Tensor]]:
    """Tensors by the path to them; without recursion, and every mapping once: a pickle may hold one in itself."""
    found: list[tuple[str, Tensor]] = []
    seen = {id(mapping)}
    waiting: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter(mapping.items()))]
    while waiting:
        prefix, items = waiting[-1]
        item = next(items, None)
        if item is None:
            waiting.pop()
            continue
        key, value = item
        if isinstance(value, Tensor):
            found.append((f"{prefix}{key}", value))
        elif isinstance(value, Mapping):
            if id(value) in seen:
                raise CheckpointError(f"{prefix}{key} stands in two places", where, "The file is not as published.")
            seen.add(id(value))
            waiting.append((f"{prefix}{key}/", iter(value.items())))
    return found


def match(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], rules: KeyRules, *, where: str = "") -> Coverage:
    """Decide about every key and every parameter, by name and shape; nothing is copied.

    Args:
        wanted: The network's `state_dict()`.
        state: The file's tensors, keys as in the file.
        rules: The family's rules.
        where: File name for messages.

    Raises:
        CheckpointError: If a key has no use, a parameter no value, two keys mean one parameter, or a shape differs.
    """
    consumed: dict[str, str] = {}
    dropped: list[str] = []
    unknown: list[str] = []
    shapes: list[str] = []
    for key, tensor in state.items():
        if any(fnmatchcase(key, pattern) for pattern in rules.drop):
            dropped.append(key)
            continue
        name = renamed(key, rules)
        if name not in wanted:
            unknown.append(key)
        elif name in consumed.values():
            raise CheckpointError(
                f"two keys mean parameter {name}, one is {key}", where, "The file is not as published."
            )
        else:
            consumed[key] = name
            if not _is_plain(tensor) and not (tensor.is_meta and wanted[name].is_meta):  # shapes alone: no numbers yet
                raise CheckpointError(f"{key} is no plain array of numbers", where, "The file is not as published.")
            if tensor.shape != wanted[name].shape:
                shapes.append(f"{key} is {_text(tensor)} in the file and {_text(wanted[name])} in the network")
            elif not tensor.is_meta and _kind(tensor) != _kind(
                wanted[name]
            ):  # torch would round, or drop imaginary parts
                shapes.append(f"{key} holds {_kind(tensor)} in the file and {_kind(wanted[name])} in the network")
    filled = set(consumed.values())
    absent = [name for name in wanted if name not in filled]
    initial = [name for name in absent if any(fnmatchcase(name, pattern) for pattern in rules.init)]
    missing = [name for name in absent if name not in set(initial)]
    problems = []
    if shapes:
        problems.append(f"{len(shapes)} shapes differ, first: {shapes[0]}")
    if unknown:
        problems.append(f"{len(unknown)} keys of the file have no use: {_some(unknown)}")
    if missing:
        problems.append(f"{len(missing)} parameters have no value in the file: {_some(missing)}")
    if problems:
        fix = "It is another size of this model" if shapes and not unknown else "It is the checkpoint of another model"
        raise CheckpointError("; ".join(problems), where, f"{fix}, or not as published. Nothing was loaded.")
    return Coverage(consumed, tuple(dropped), tuple(initial))


def _is_plain(tensor: Tensor) -> bool:
    return (
        not tensor.is_nested
        and not tensor.is_quantized
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
    )


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex numbers"
    return "fractions" if tensor.is_floating_point() else "truth values" if tensor.dtype == torch.bool else "integers"


def check_values(tensors: Mapping[str, Tensor], where: str = "") -> tuple[str, ...]:
    """Look at the numbers that a network is, or would be, filled with.

    Args:
        tensors: Those that are used, by their key in the file or their name in the network.
        where: File name for messages.

    Returns:
        Keys of those with at least two dimensions that hold one number over and over. A few may be right (positions
        that begin at zero); whoever asks can name them.

    Raises:
        CheckpointError: If a number is not finite, or there are weights of two dimensions and more and all of them
            are constant (a failed save, a placeholder): no feature could tell two images apart.
    """
    floats = {key: tensor for key, tensor in tensors.items() if tensor.is_floating_point()}
    bad = [key for key, tensor in floats.items() if not tensor.isfinite().all()]
    if bad:
        raise CheckpointError(
            f"{len(bad)} tensors hold NaN or infinity: {_some(bad)}", where, "The file is damaged. " + _AGAIN
        )
    weights = {key: tensor for key, tensor in floats.items() if tensor.ndim > 1 and tensor.numel() > 1}
    constant = tuple(key for key, tensor in weights.items() if bool((tensor == tensor.flatten()[0]).all()))
    if weights and len(constant) == len(weights):
        zero = not any(bool(tensor.any()) for tensor in weights.values())
        raise CheckpointError(
            f"all {len(weights)} weights are {'zero' if zero else 'constant'}, as {_some(constant)}",
            where,
            "Nothing was saved in it. " + _AGAIN,
        )
    return constant


def _text(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a number"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def load_exact(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    rules: KeyRules | None = None,
    drop: Sequence[str] = (),
    init: Sequence[str] = (),
    where: str = "",
) -> Coverage:
    """Fill a network from named tensors, whole or not at all.

    Args:
        network: The network to fill.
        state: Named tensors, keys as in the file.
        rules: The family's rules; by default keys are parameter names.
        drop: Further patterns of keys that are no part of the trunk.
        init: Further patterns of parameters that keep their initial value.
        where: File name for messages.

    Returns:
        What became of every key and parameter.

    Raises:
        CheckpointError: As `match` and `check_values`; the network is then unchanged.
    """
    rules = rules or KeyRules()
    rules = KeyRules(rules.places, rules.strip, rules.rename, (*rules.drop, *drop), (*rules.init, *init))
    wanted = network.state_dict()
    coverage = match(wanted, state, rules, where=where)
    check_values({key: state[key] for key in coverage.consumed}, where)
    with torch.no_grad():
        for key, name in coverage.consumed.items():
            wanted[name].copy_(state[key])
    return coverage


def load_file(network: nn.Module, path: Path, *, rules: KeyRules, backbone: str, new: Sequence[str] = ()) -> Coverage:
    """Fill a network from a published file, or from one that `weights convert` wrote.

    Args:
        network: The network to fill.
        path: The file.
        rules: The family's rules for the published file.
        backbone: Id of the card, compared with that of a converted file.
        new: Layers that are left as they are; the file has values for them, which are not read.

    Raises:
        CheckpointError: As `open_checkpoint` and `match`.
    """
    owner = converted_for(path)
    if owner and owner != owner_of(backbone):  # a card with quirks has the weights of the card without
        raise CheckpointError(
            f"was converted for {owner}, not for {backbone}", str(path), "Convert the right checkpoint."
        )
    content = open_checkpoint(path)
    own = KeyRules(init=rules.init) if owner else rules
    state = content if owner else tensors_at(content, rules, str(path))
    read = {key: one for key, one in state.items() if not renamed(key, own).startswith(tuple(f"{it}." for it in new))}
    if new and len(read) == len(state):
        raise CheckpointError(f"has no {', '.join(new)}: what is to begin anew would be nothing new", str(path), _AGAIN)
    return load_exact(network, read, rules=own, init=[f"{layer}.*" for layer in new], where=str(path))


def assemble(
    build: Callable[[], N], *, rules: KeyRules, weights: Path | None, seed: int, backbone: str, new: Sequence[str] = ()
) -> N:
    """Build a network and load its weights; without weights its values are random from `seed` alone.

    Args:
        build: Makes the network.
        rules: The family's key rules.
        weights: Published or converted file, or None for a random network.
        seed: Seed of every initial value (the caller's random state is left as it is).
        backbone: Id of the card.
        new: Layers that keep their initial values, whatever the file has for them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
    if weights is not None:
        load_file(network, weights, rules=rules, backbone=backbone, new=new)
    return network.eval()
