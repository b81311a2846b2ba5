"""Addresses of files and folders: a path of a local disk, a bucket, or a web server, as one line of text.

An address holds no secret: who may read a bucket is for the provider's own variables and profiles to say
(`seamo.files`), so user names, queries and fragments are refused before anything is asked.
"""

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from seamo.errors import StoreError

BUCKETS = ("s3", "gs", "az", "abfss")
WEB = ("https", "http")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)  # a Path swallows one slash
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HOST = re.compile(rf"({_NAME.pattern}|\[[0-9A-Fa-f:.]+\])(:[0-9]{{1,5}})?")
_KINDS = "Name a path, or s3://BUCKET/..., gs://, az://, abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/..., https://."


_COPY = "Work on a local disk and copy the store."


class Location(NamedTuple):
    """The parts of an address that is not on a local disk.

    Args:
        scheme: One of `BUCKETS` and `WEB`.
        authority: The bucket, the container (of `abfss` with its account), or the host with its port.
        path: Below it, without a slash at either end.
    """

    scheme: str
    authority: str
    path: str

    @property
    def url(self) -> str:
        """The one text of it."""
        return f"{self.scheme}://{self.authority}" + (f"/{self.path}" if self.path else "")


def address_of(place: str | Path) -> str:
    """The one text of an address: a path as it is, `scheme://authority/path` of anything else.

    Args:
        place: A path, or a url of a known scheme; also one that a `Path` has swallowed a slash of.

    Raises:
        StoreError: If it names no place, or says more than the place.

    Example:
        >>> address_of("s3://bucket//stores/"), address_of(Path("s3://bucket/stores"))
        ('s3://bucket/stores', 's3://bucket/stores')
        >>> address_of("file:///tmp/stores")
        '/tmp/stores'
    """
    found = location(place)
    return str(disk_path(place)) if found is None else found.url


def disk_path(place: str | Path) -> Path | None:
    """The path, if an address is on a local disk; None if it is not.

    Raises:
        StoreError: If it names no place.
    """
    found = _ADDRESS.fullmatch(str(place))
    if found is None:
        return Path(place)
    if found[1].lower() == "file":
        return Path("/" + unquote(found[2]))
    location(place)
    return None


def local_path(place: str | Path) -> Path:
    """The path of an address that must be on a local disk.

    Raises:
        StoreError: If it is a bucket or a web server, or names no place.
    """
    path = disk_path(place)
    if path is None:
        scheme = str(place).partition(":")[0]
        raise StoreError(f"{scheme}:// addresses are not supported yet", shown(place), _COPY)
    return path


def location(place: str | Path) -> Location | None:
    """The parts of an address; None if it is on a local disk.

    Raises:
        StoreError: If it names no place, or says more than the place.
    """
    text = str(place)
    found = _ADDRESS.fullmatch(text)
    if found is None or found[1].lower() == "file":
        return None
    scheme, rest = found[1].lower(), found[2]
    if scheme not in (*BUCKETS, *WEB):
        raise StoreError(f"{scheme}:// is no kind of address that holds stores", shown(text), _KINDS)
    for sign in "?#":
        if sign in rest:
            fix = "Leave it out; credentials come from the provider's variables and profiles."
            raise StoreError(f"an address has no part after {sign!r}", shown(text), fix)
    authority, _, path = rest.partition("/")
    _check_authority(scheme, authority, text)
    return Location(scheme, authority, _clean(path, text))


def join(place: str | Path, *names: str) -> str:
    """The address of a name below an address.

    Args:
        place: An address.
        names: Relative, with `/`.

    Raises:
        StoreError: If a name leads out of the address.

    Example:
        >>> join("s3://bucket/stores", "eurosat", "views/0123abcd")
        's3://bucket/stores/eurosat/views/0123abcd'
    """
    below = [name for one in names if (name := checked_name(one))]
    path = disk_path(place)
    return str(path.joinpath(*below)) if path is not None else "/".join((address_of(place), *below))


def parent(place: str | Path) -> str:
    """The address one name up.

    Raises:
        StoreError: If there is none.

    Example:
        >>> parent("s3://bucket/stores/eurosat")
        's3://bucket/stores'
    """
    found = location(place)
    if found is None:
        return str(Path(address_of(place)).parent)
    if not found.path:
        raise StoreError("has nothing above it", shown(place))
    return found._replace(path=found.path.rpartition("/")[0]).url


def last_name(place: str | Path) -> str:
    """The last name of an address; empty of a whole bucket.

    Example:
        >>> last_name("s3://bucket/stores/eurosat"), last_name("s3://bucket")
        ('eurosat', '')
    """
    found = location(place)
    return Path(address_of(place)).name if found is None else found.path.rpartition("/")[2]


def checked_name(name: str) -> str:
    """A name below a folder, as it is.

    Raises:
        StoreError: If it is absolute, leads out of the folder, or has an empty part.
    """
    if name and not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise StoreError("is no name of a file below a folder", name)
    if "\0" in name or "\n" in name:
        raise StoreError("is no name of a file below a folder", repr(name))
    return name


def is_web(place: str | Path) -> bool:
    """Whether an address is on a web server: read only, and without listings."""
    found = location(place)
    return found is not None and found.scheme in WEB


def shown(place: str | Path) -> str:
    """An address for a message: without a user's name and password, and without a query, which may be signed."""
    text = re.sub(r"[?#].*", "", str(place), flags=re.DOTALL)
    return text if text[:6].lower() == "abfss:" else re.sub(r"(:/+)[^/]*@", r"\1", text)


def _check_authority(scheme: str, authority: str, text: str) -> None:
    name = authority
    if scheme == "abfss":
        container, at, name = authority.partition("@")
        if not at or not _NAME.fullmatch(container) or "." not in name:
            fix = "Write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/..."
            raise StoreError("does not name a container and an account", shown(text), fix)
    elif "@" in authority:
        fix = "Leave out the part before @; credentials come from the provider's variables and profiles."
        raise StoreError("an address names no user", shown(text), fix)
    if scheme not in WEB:
        if not _NAME.fullmatch(name):
            raise StoreError("names no bucket", shown(text), _KINDS)
        return
    found = _HOST.fullmatch(name)
    if found is None:
        raise StoreError("names no host", shown(text), _KINDS)
    if scheme == "http" and not _is_near(found[1].strip("[]")):
        raise StoreError("http:// is for servers of the own network", shown(text), "Use https://.")


def _is_near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))


def _clean(path: str, text: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise StoreError("an address has no '..'", shown(text), "Write where it leads to.")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in path):
        raise StoreError("an address has no control characters", repr(shown(text)))
    return "/".join(parts)
