"""Which extra of the distribution brings a package: base, or `pip install 'seamo[prep,torch]'`."""

# Package, as it is imported -> extra; tests/test_dependencies.py holds it against pyproject.toml.
EXTRA_OF = {
    "affine": "prep",
    "dask": "prep",
    "distributed": "prep",
    "rasterio": "prep",
    "rioxarray": "prep",
    "tifffile": "prep",
    "xarray": "prep",
    "zarr": "prep",
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
    return extra and f"this needs {error.name}, which is not installed. Run `pip install 'seamo[{extra}]'`."
