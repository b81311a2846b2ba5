"""The places of a run: names of its files. No torch: whether there is a run or a model is seen without it."""

from dataclasses import dataclass
from pathlib import Path

from seamo.errors import UsageError
from seamo.model.files import CARD

RECIPE, ENVIRONMENT, RUN = "recipe.yaml", "environment.json", "run.json"
LOCK = ".lock"  # while a process trains there


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
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        """The finished model, as `load_model` reads it."""
        return self.path / "final"


def check_model(path: Path) -> None:
    """Refuse what is neither a run nor a model.

    Raises:
        UsageError: If the folder holds neither.
    """
    if not (path / CARD).is_file() and not (path / RUN).is_file():
        raise UsageError(
            "is neither a run nor a model", where=str(path), fix="Give a folder of `seamo pretrain --out`."
        )
