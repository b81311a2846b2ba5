"""Bytes from outside: what a decoder raises over them becomes our error, and how far they may inflate."""

import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager

from seamo.errors import ArchiveError, SeamoError

FREE_BYTES = 64 << 20
"""What anything may inflate to, whatever its size."""
MOST_RATIO = 1100
"""Beyond `FREE_BYTES`: bytes that one stored byte may become. Deflate, the commonest, reaches 1,032."""

# Everything that the decoders in use (zipfile, tarfile, zlib, lzma, numcodecs, pyarrow, GDAL, numpy) were seen to raise
# over damaged bytes, and what Python raises for them: fuzzed in tests/prep/test_fuzz.py. SeamoError passes.
DAMAGE = (
    ValueError, LookupError, ArithmeticError, RuntimeError, TypeError, AttributeError, OSError, EOFError, MemoryError,
    AssertionError, SyntaxError, BufferError, struct.error, zlib.error, lzma.LZMAError, pickle.PickleError,
    zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip


@contextmanager
def reading(where: str, what: str, fix: str) -> Generator[None]:
    """Whatever a decoder raises inside, as an `ArchiveError`; errors of ours pass as they are.

    Args:
        where: The file, for messages.
        what: Is wrong, as a sentence without a full stop; the decoder's words are added in brackets.
        fix: What to do about it.

    Example:
        >>> with reading("a.zip", "cannot be read", "Fetch it again."):
        ...     {}["data"]
        Traceback (most recent call last):
        seamo.errors.ArchiveError: a.zip: cannot be read (KeyError: 'data'). Fetch it again.
    """
    try:
        yield
    except SeamoError:
        raise
    except DAMAGE as error:
        raise ArchiveError(f"{what} ({words(error)})", where, fix) from error


def words(error: BaseException) -> str:
    """What an exception says, in one line that names it where it says too little by itself."""
    said = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError) or not said:
        return "it asks for more memory than there is" if isinstance(error, MemoryError) else type(error).__name__
    return f"{type(error).__name__}: {said}" if isinstance(error, LookupError) else said


def is_too_much(promised: int, stored: int) -> bool:
    """Whether more is promised than a file of that size is believed.

    Args:
        promised: Bytes, decoded.
        stored: Bytes of the file.

    Example:
        >>> is_too_much(60_000 * 60_000 * 200, 700), is_too_much(2**20, 700)
        (True, False)
    """
    return promised > max(FREE_BYTES, MOST_RATIO * stored)
