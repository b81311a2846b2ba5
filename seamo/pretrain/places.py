"""The places of a run: names of its files. No torch: whether there is a run or a model is seen without it."""

from dataclasses import dataclass
from pathlib import Path

from seamo.errors import UsageError
from seamo.files import open_files
from seamo.model.files import CARD

RECIPE, ENVIRONMENT, RUN = "recipe.yaml", "environment.json", "run.json"
LOCK = ".lock"  # while a process trains there
_STORE = "store.json"  # `seamo.store.format.META_NAME`, which loads numpy
CHECKPOINTS, FINAL = "checkpoints", "final"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's places.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def final(self) -> Path:
        """The finished model, as `load_model` reads it."""
        return self.path / FINAL


def check_model(place: str | Path) -> None:
    """Refuse what is neither a run nor a model.

    Args:
        place: A folder, or the address of one.

    Raises:
        UsageError: If it holds neither.
        StoreError: If it is no address, or does not answer.
    """
    files = open_files(place)
    if not files.exists(CARD) and not files.exists(RUN):
        if files.exists(_STORE):
            how = f"`seamo-prep stats {files.url}` describes it, `seamo-prep look {files.url} -o FILE.png` draws it."
            raise UsageError("is a store, not a run or a model", files.url, how)
        raise UsageError("is neither a run nor a model", files.url, "Give a folder of `seamo pretrain --out`.")
