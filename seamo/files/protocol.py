"""What a folder of files is, wherever it lies."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

Change = Callable[[bytes | None], bytes]
"""From the bytes that are there (None: none) to those that shall be, or its argument if nothing is to change.

Doing it twice must be as doing it once, since an answer may get lost: adding an entry by its name, never counting.
"""

BLOCK = 8 * 2**20  # bytes of a piece of a stream
PROBE = ".probe-"  # what the names of files begin with that only try a server


class ListedFile(NamedTuple):
    """A file as a listing has it.

    Args:
        name: Of it.
        bytes: Its size.
        mark: What tells one state of it from another, as far as its place knows: an ETag, times of change.
    """

    name: str
    bytes: int
    mark: str


class Files(Protocol):
    """Files below one address. Names are relative, with `/`. Thread-safe; pickles as its address.

    Every method raises a StoreError that says what is wrong where, and what to do about it.
    """

    @property
    def url(self) -> str:
        """The address that names are below."""

    def where(self, name: str) -> str:
        """The address of a name, for messages."""

    def read(self, name: str) -> bytes:
        """All bytes of a file."""

    def find(self, name: str) -> bytes | None:
        """All bytes of a file; None if it is not there."""

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; fewer than asked for only where the file ends early."""

    def read_ranges(self, name: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Several ranges of one file, each as `read_range` gives it; near ones are fetched together."""

    def stream(self, name: str) -> Iterator[bytes]:
        """All bytes of a file, piece by piece."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it is not there."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def names(self, below: str = "") -> Iterator[str]:
        """Every file below a name (a folder), in no order. A listing: slow and paid for in buckets."""

    def listing(self, below: str = "") -> Iterator[ListedFile]:
        """The same, with what a listing says of each."""

    def folders(self, below: str = "") -> list[str]:
        """Names of the folders that lie directly in a folder, sorted. A listing, too."""

    def put_once(self, name: str, data: bytes) -> bytes | None:
        """Write a file that is not there yet.

        Returns:
            None if these bytes are there now, ours or an equal writer's; else the other bytes that are there.
        """

    def swap(self, name: str, change: Change) -> bytes:
        """Change one small file as if nobody else did at the same time; `change` is called again if somebody did.

        Returns:
            The bytes that `change` gave.
        """

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are not there are no error."""

    def probe(self) -> None:
        """Try whether conditions are honoured here, on a file that is gone afterwards: before the first write.

        Raises:
            StoreError: If they are not, so that two writers would overwrite each other.
        """
