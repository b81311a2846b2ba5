"""Layers by the name of their stack, and whole images: the layers of a stack on one grid."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.bands import canonical, positions
from seamo.manifest import DatasetSpec
from seamo.resample import Kernel, resize
from seamo.sample import valid_pixels
from seamo.store.samples import Images


def layer_ids(spec: DatasetSpec, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Ids of the layers that are asked for by layer or stack id; None = all.

    Raises:
        ManifestError: If there is no such layer.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> layer_ids(tiny_store().spec, ["s1", "s2_20m"])
        ('s1', 's2_20m')
    """
    if wanted is None:
        return tuple(layer.id for layer in spec.layers)
    chosen: list[str] = []
    for name in wanted:
        if name in spec.stacks:
            chosen.extend(layer.id for layer in spec.stack_layers(name))
        else:
            chosen.append(spec.layer(name).id)
    return tuple(dict.fromkeys(chosen))


def stack_bands(spec: DatasetSpec, stack: str) -> tuple[str, ...]:
    """Bands of `read_stack`, in canonical order.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> stack_bands(tiny_store().spec, "s2")
        ('B02', 'B03', 'B04', 'B08', 'B11')
    """
    layers = spec.stack_layers(stack)
    return canonical(layers[0].sensor, [name for layer in layers for name in layer.bands])


def read_stack(samples: Images, i: int, stack: str, kernel: Kernel) -> NDArray[np.float32]:
    """A whole image: every layer of a stack resampled to the finest grid of the stack.

    Args:
        samples: A store.
        i: Row.
        stack: Stack id.
        kernel: The resampling of the coarser layers (`seamo.resample`).

    Returns:
        (T, C, H, W) float32, bands as `stack_bands`, NaN where missing.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> read_stack(tiny_store(), 0, "s2", "bilinear").shape
        (2, 5, 24, 24)
    """
    layers = samples.spec.stack_layers(stack)
    height, width = samples.shape(i, layers[0].id)[-2:]
    images = []
    for layer in layers:
        pixels = samples.read_layer(i, layer.id)
        values = pixels.astype(np.float32)
        values[~valid_pixels(pixels, layer)] = np.nan
        if not samples.is_valid(i, layer.id):
            values[...] = np.nan  # also where no fill value tells
        images.append(resize(values, (height, width), kernel))
    have = [name for layer in layers for name in layer.bands]
    return np.ascontiguousarray(np.concatenate(images, axis=1)[:, positions(have, stack_bands(samples.spec, stack))])
