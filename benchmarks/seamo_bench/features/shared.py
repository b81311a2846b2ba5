"""Feature caches at an address, for runs of other machines. A help: without it features are computed again."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from seamo.errors import StoreError
from seamo.files import Files

_AT_ONCE = 4  # files that are fetched
_log = logging.getLogger(__name__)


class SharedCaches:
    """Caches below one address, `<address>/<folder>/<cache>/`: the files of `seamo_bench.features.parts`.

    Args:
        files: At the address.
        folder: Of all caches there.
    """

    def __init__(self, files: Files, folder: str) -> None:
        self._files, self._folder = files, folder
        self._fetched: set[str] = set()
        self._is_lost = False  # whoever cannot put one part does not try each of a thousand

    def fetch(self, cache: Path) -> None:
        """Bring what is there of a cache into its folder, once; seals are for whoever reads it to check."""
        if cache.name in self._fetched:
            return
        self._fetched.add(cache.name)
        below = f"{self._folder}/{cache.name}"
        try:
            listed = (name for name in self._files.names(below) if not _last(name).startswith("."))
            names = [name for name in listed if not (cache / _last(name)).exists()]
            cache.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for _ in pool.map(partial(self._bring, cache), names):
                    pass
        except StoreError as error:
            _log.warning("kept features are not fetched, what is missing is computed: %s", error)

    def put(self, cache: Path, names: Sequence[str]) -> None:
        """Put files of a cache, in this order. Parts are named by what they hold: other bytes there are damage."""
        if self._is_lost:
            return
        try:
            for name in names:
                there, data = f"{self._folder}/{cache.name}/{name}", (cache / name).read_bytes()
                if self._files.put_once(there, data) is not None:
                    self._files.swap(there, lambda _, data=data: data)  # type: ignore[misc]
        except StoreError as error:
            self._is_lost = True
            _log.warning("features are not kept for other machines: %s", error)

    def _bring(self, cache: Path, name: str) -> None:
        part = cache / f".{_last(name)}.part"  # swept with a cache's own
        with part.open("wb") as file:
            for block in self._files.stream(name):
                file.write(block)
        part.replace(cache / _last(name))


def _last(name: str) -> str:
    return name.rpartition("/")[2]
