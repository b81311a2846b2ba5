"""The errors of seamo: one small tree, each saying what is wrong, where, and what to do."""


class SeamoError(Exception):
    """Base of every error that a user is meant to read.

    Args:
        what: What is wrong, as a sentence without a full stop.
        where: The file, key, layer or setting it is wrong in.
        fix: What to do about it, as a sentence.
    """

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)  # args hold all three, so that the error pickles
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.fix}" if self.fix else text


class UsageError(SeamoError, ValueError):
    """A command or function was called with something it cannot take (exit status 2)."""


class ManifestError(SeamoError, ValueError):
    """The manifest, or another YAML that a person wrote, does not say what it must."""


class BandError(SeamoError, LookupError):
    """A band or a sensor is unknown, missing or named twice."""


class SampleError(SeamoError, ValueError):
    """A sample breaks a rule of `seamo.sample`."""


class ArchiveError(SeamoError, ValueError):
    """A published archive is incomplete, damaged or not what the manifest says it is."""


class DownloadError(SeamoError, OSError):
    """A file could not be brought, or is not the one that was published."""

    # OSError would otherwise read the second argument as a file name and drop the rest.
    def __str__(self) -> str:
        return SeamoError.__str__(self)


class StoreError(SeamoError, ValueError):
    """A store is missing, unfinished, damaged or does not hold what is asked for."""


class MissingRowError(StoreError, IndexError):
    """There is no such row in a store; an IndexError too, as Python's loops over `store[i]` expect."""


class RecipeError(SeamoError, ValueError):
    """A pretraining recipe or a model configuration is illegal."""


class CheckpointError(SeamoError, ValueError):
    """Weights do not fit the model they are loaded into, or the file is damaged."""


class TrainingError(SeamoError, RuntimeError):
    """Training cannot go on (loss not finite, no data, no space)."""


class ProtocolError(SeamoError, ValueError):
    """A protocol, suite or record is unknown or cannot be run as asked."""


class MissingLibraryError(SeamoError, ImportError):
    """What was called needs a library that is not installed; says which extra has it."""
