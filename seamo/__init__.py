"""seamo: remote-sensing foundation models, from published archives to a leaderboard that holds."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["open_store"]

if TYPE_CHECKING:
    from seamo.store.reader import open_store


def __getattr__(name: str) -> Any:
    # `import seamo` must stay light: the store needs numpy, pandas and pyarrow.
    if name == "open_store":
        from seamo.store.reader import open_store

        return open_store
    raise AttributeError(f"module 'seamo' has no attribute {name!r}")
