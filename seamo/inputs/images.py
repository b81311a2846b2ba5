"""Images of any origin as a data set of one layer a sensor, so that they go the way of a store's samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.data.batch import Batch
from seamo.manifest import DatasetSpec, parse_spec


def image_spec(
    bands: Mapping[str, Sequence[str]],
    units: Mapping[str, Unit],
    size: tuple[int, int],
    *,
    gsd_m: float = 1.0,
) -> DatasetSpec:
    """Images as a data set: each sensor's bands in one layer of float32, NaN where there is no measurement.

    Args:
        bands: Sensor -> names of its bands, in the order of the pixels.
        units: Sensor -> what its numbers mean.
        size: (H, W) of the images, in pixels.
        gsd_m: Ground sampling distance in metres; decides nothing where all images are on one grid.

    Raises:
        ManifestError: If a band is none of its sensor's.
    """
    layers = [
        {
            "id": sensor,
            "stack": sensor,
            "sensor": sensor,
            "bands": list(names),
            "gsd_m": gsd_m,
            "dtype": "float32",
            "unit": units[sensor].value,
            "fill": "nan",
            "size": list(size),
        }
        for sensor, names in bands.items()
    ]
    about = {"id": "image", "title": "Image", "summary": "of the user's", "licence": "its own", "citation": "none"}
    return parse_spec({**about, "layers": layers, "task": {"kind": "none"}}, "image")


def image_batch(spec: DatasetSpec, pixels: Mapping[str, NDArray[np.float32]]) -> Batch:
    """Images as a batch.

    Args:
        spec: From `image_spec`.
        pixels: Sensor -> (B, C, H, W), NaN where there is no measurement.
    """
    count, _, height, width = next(iter(pixels.values())).shape
    return Batch(
        spec=spec,
        rows=torch.arange(count),
        keys=tuple(str(number) for number in range(count)),
        layers={sensor: torch.from_numpy(image[:, None]) for sensor, image in pixels.items()},
        valid={sensor: torch.ones(count, 1, dtype=torch.bool) for sensor in pixels},
        times={},
        size=torch.tensor([[height, width]]).expand(count, 2),
        label=None,
        mask=None,
        padding=torch.zeros(count, dtype=torch.bool),
    )
