"""Tensors of a file that `torch.save` wrote, without torch and without executing its pickle.

Such a file is a zip: `<top>/data.pkl` describes the tensors, `<top>/data/<n>` holds the numbers of one storage each,
uncompressed. The pickle is opened with a closed list of instructions and of names, each of which stands for something
here that does no more than write down what it was given; anything else is refused by name before the first instruction
is followed. Numbers are memory-mapped; at an address rows are read by ranges.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ArchiveError
from seamo_prep.containers import bytes_of
from seamo_prep.far import FarFile
from seamo_prep.outside import reading
from seamo_prep.zips import read_member

_STORAGES = {
    "ByteStorage": "u1", "CharStorage": "i1", "BoolStorage": "?", "ShortStorage": "<i2", "IntStorage": "<i4",
    "LongStorage": "<i8", "HalfStorage": "<f2", "FloatStorage": "<f4", "DoubleStorage": "<f8",
}  # fmt: skip
_MAX_PICKLE = 1 << 20  # bytes; a few tensors take a kilobyte
_MAX_TUPLES = 10_000  # a tensor takes four
# What a dictionary of tensors takes. None of them sets attributes (BUILD) or makes objects (NEWOBJ, INST).
_INSTRUCTIONS = {
    "PROTO", "FRAME", "STOP", "MARK", "EMPTY_DICT", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SETITEM",
    "SETITEMS", "BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NONE", "NEWTRUE",
    "NEWFALSE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "MEMOIZE",
}  # fmt: skip
_ONLY = "Only dictionaries of tensors are opened."
_FETCH_AGAIN = "This is not the published file; fetch it again."


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Rows:
    """A tensor at an address: as much of an array as reading its rows takes.

    Args:
        file: Where it lies.
        start: Byte of its first number.
        shape, dtype: Of it; rows follow one another.
    """

    def __init__(self, file: FarFile, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file, self._start, self._dtype, self.shape, self.ndim = file, start, dtype, shape, len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: int | slice) -> NDArray[Any]:
        """One row, or some that follow one another."""
        first, stop, _ = at.indices(len(self)) if isinstance(at, slice) else (at, at + 1, 1)
        if not 0 <= first < len(self):
            raise IndexError(at)
        each = math.prod(self.shape[1:]) * self._dtype.itemsize
        data = self._file.shelf.read_at(self._file.at, self._start + first * each, (stop - first) * each)
        found = np.frombuffer(data, self._dtype).reshape(stop - first, *self.shape[1:])
        return found if isinstance(at, slice) else found[0]


def open_tensors(path: Path | FarFile) -> dict[str, NDArray[Any] | Rows]:
    """The tensors of a dictionary of tensors, as read-only arrays that lie in the file.

    Raises:
        ArchiveError: If the file is no such zip, its pickle names anything but tensors, or a tensor reaches beyond
            its storage.
    """
    where = str(path)
    cut = reading(where, "is not a zip, or cut short", _FETCH_AGAIN)
    with cut, path.open("rb") as opened, zipfile.ZipFile(opened) as file:
        members = {info.filename: info for info in file.infolist()}
        heads = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(heads) != 1 or members[heads[0]].file_size > _MAX_PICKLE:
            raise ArchiveError("is not a file that torch.save wrote", where, _FETCH_AGAIN)
        lead = heads[0].removesuffix("data.pkl")
        order = members.get(lead + "byteorder")
        if order is not None and (order.file_size > 64 or read_member(file, order, where).strip() != b"little"):
            raise ArchiveError("holds big-endian numbers", where, _FETCH_AGAIN)
        described = _described(read_member(file, members[heads[0]], where), where)
    storages = {one.storage.key: members.get(f"{lead}data/{one.storage.key}") for one in described.values()}
    with reading(where, "has tensors that reach beyond it", _FETCH_AGAIN):
        return {
            name: _array(path, storages[one.storage.key], one, f"{where}!{name}") for name, one in described.items()
        }


def _described(data: bytes, where: str) -> Mapping[str, _Tensor]:
    with reading(where, "has a damaged pickle", _FETCH_AGAIN):
        tuples = 0
        for code, argument, _ in pickletools.genops(data):
            # A far index would make the unpickler lay out a memory of that size.
            if code.name not in _INSTRUCTIONS or (code.name == "LONG_BINPUT" and (argument or 0) > _MAX_PICKLE):
                raise ArchiveError(f"its pickle holds {code.name}, which is not followed", where, _ONLY)
            # Each may hold the one before it, and hashing a hundred thousand within each other overruns the stack.
            tuples += code.name.startswith("TUPLE")
            if tuples > _MAX_TUPLES:
                raise ArchiveError(f"its pickle holds more than {_MAX_TUPLES:,} tuples", where, _ONLY)
        found = _Unpickler(data, where).load()
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(one, _Tensor) for name, one in found.items()
    ):
        raise ArchiveError("does not hold a dictionary of tensors", where, _FETCH_AGAIN)
    return found


class _Unpickler(pickle.Unpickler):
    """Opens the pickle; every name it may mention stands for something inert."""

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data))
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        known: dict[str, Any] = {"torch._utils._rebuild_tensor_v2": _rebuild, "collections.OrderedDict": _no_hooks}
        known |= {f"torch.{storage}": dtype for storage, dtype in _STORAGES.items()}
        if f"{module}.{name}" not in known:
            raise ArchiveError(f"its pickle asks for {module}.{name}, which is not opened", self._where, _ONLY)
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, by the tuple that torch writes for it."""
        kind, dtype, key, _, numel = pid
        if kind != "storage" or dtype not in _STORAGES.values() or not isinstance(key, str) or type(numel) is not int:
            raise ArchiveError("its pickle refers to something that is no storage", self._where, _ONLY)
        return _Storage(dtype, key, numel)


def _rebuild(storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise TypeError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _no_hooks() -> dict[str, Any]:
    return {}


def _array(path: Path | FarFile, member: zipfile.ZipInfo | None, tensor: _Tensor, where: str) -> NDArray[Any] | Rows:
    dtype = np.dtype(tensor.storage.dtype)
    if member is None or member.compress_type != zipfile.ZIP_STORED:
        raise ArchiveError("its numbers are not there, or compressed", where, _FETCH_AGAIN)
    if len(tensor.shape) != len(tensor.stride) or min((0, tensor.offset, *tensor.shape, *tensor.stride)) < 0:
        raise ArchiveError(f"shape {tensor.shape}, stride {tensor.stride} make no tensor", where, _FETCH_AGAIN)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    numel = member.file_size // dtype.itemsize
    if 0 not in tensor.shape and last >= min(numel, tensor.storage.numel):
        raise ArchiveError(f"needs {last + 1} numbers, its storage has {numel}", where, "Fetch it again.")
    if math.prod(tensor.shape) > numel:  # a stride of 0 makes any size of one number
        raise ArchiveError(f"has {math.prod(tensor.shape):,} numbers, its storage {numel:,}", where, _FETCH_AGAIN)
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(30)
        if len(head) != 30 or head[:4] != b"PK\3\4":
            raise ArchiveError("has no member where the zip says", where, "Fetch it again.")
        name_bytes, extra_bytes = struct.unpack("<HH", head[26:30])
    start = member.header_offset + 30 + name_bytes + extra_bytes
    if start + member.file_size > bytes_of(path):
        raise ArchiveError("is cut short", where, "Fetch it again.")
    if isinstance(path, FarFile):
        plain = tuple(math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
        if tensor.stride != plain or not tensor.shape:
            raise ArchiveError("has rows that do not follow one another", where, "Bring the file to a disk.")
        return Rows(path, start + tensor.offset * dtype.itemsize, tensor.shape, dtype)
    flat = np.memmap(path, dtype=dtype, mode="r", offset=start, shape=(numel,)) if numel else np.empty(0, dtype)
    steps = tuple(step * dtype.itemsize for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps, writeable=False)


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write a dictionary of arrays as `torch.save` writes one of tensors; for demo archives.

    Args:
        path: The file.
        tensors: C-contiguous arrays of a type that torch has.
    """
    names = {np.dtype(code): name for name, code in _STORAGES.items()}
    out = [b"\x80\x02}("]  # protocol 2, empty dict, mark
    for number, (name, array) in enumerate(tensors.items()):
        strides = tuple(step // array.dtype.itemsize for step in array.strides)
        storage = [_text("storage"), b"ctorch\n", names[array.dtype].encode(), b"\n", _text(str(number)), _text("cpu")]
        out += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", b"(", *storage, _number(array.size), b"tQ"]
        out += [_number(0), _tuple(array.shape), _tuple(strides), b"\x89", b"ccollections\nOrderedDict\n)R", b"tR"]
    out.append(b"u.")
    top = path.stem
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        members = {"data.pkl": b"".join(out), "byteorder": b"little"}
        members |= {f"data/{number}": array.tobytes() for number, array in enumerate(tensors.values())}
        for name, data in {**members, "version": b"3\n"}.items():
            file.writestr(zipfile.ZipInfo(f"{top}/{name}"), data)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(_number(one) for one in values) + b"t"
