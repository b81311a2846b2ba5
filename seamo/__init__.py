"""seamo: remote-sensing foundation models, from published archives to a leaderboard that holds."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["open_store"]  # not `create_model`: `from seamo import *` must work where torch is not

if TYPE_CHECKING:
    from seamo.store.reader import open_store
    from seamo.use.timmform import create_model as create_model


def __getattr__(name: str) -> Any:
    # `import seamo` must stay light: the store needs numpy, pandas and pyarrow.
    if name == "open_store":
        from seamo.store.reader import open_store

        return open_store
    if name == "create_model":
        from seamo.extras import needing

        with needing("seamo.create_model"):
            from seamo.use.timmform import create_model

        return create_model
    raise AttributeError(f"module 'seamo' has no attribute {name!r}")
