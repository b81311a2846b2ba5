"""Files below one address: the same methods for a folder of a local disk and for a bucket or a web server.

What is put is there whole or not at all, and is never changed (`put_once`); the one small object that changes does so
by compare-and-swap (`swap`). On a local disk that is a link and a lock of the kernel, in a bucket a condition that the
server checks.
"""

from pathlib import Path

from seamo.addresses import disk_path
from seamo.files.disk import DiskFiles
from seamo.files.protocol import Change, Files, ListedFile

__all__ = ["Change", "Files", "ListedFile", "open_files"]


def open_files(place: str | Path) -> Files:
    """The files below an address. Nothing is asked yet.

    Raises:
        StoreError: If it is no address.

    Example:
        >>> import tempfile
        >>> files = open_files(tempfile.mkdtemp())
        >>> files.put_once("a/b", b"one"), files.put_once("a/b", b"one"), files.put_once("a/b", b"two")
        (None, None, b'one')
    """
    path = disk_path(place)
    if path is not None:
        return DiskFiles(path)
    from seamo.files.bucket import BucketFiles

    return BucketFiles(str(place))
