"""Statistics without outliers: held against scipy's, and against what the pixels were before clouds were put in."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from seamo.bands import Unit
from seamo.errors import StoreError
from seamo.inputs.clipped import SAMPLES, clipped_statistics
from seamo.manifest import LayerSpec


class Pixels:
    """A store of two layers, which counts what is read of it."""

    def __init__(self, layers: dict[str, np.ndarray], *, fill: int | str | None, train: bool = True) -> None:
        self.layers, self.read = layers, set()
        specs = [
            LayerSpec(id=name, stack="s2", sensor="s2", bands=bands, gsd_m=10, unit=Unit.DN, fill=fill,
                      dtype=str(layers[name].dtype), size=layers[name].shape[-2:], times=layers[name].shape[1])
            for name, bands in (("fine", ("B02", "B08")), ("coarse", ("B11",)))
        ]  # fmt: skip
        self.spec = SimpleNamespace(stack_layers=lambda _: specs)
        self.meta = SimpleNamespace(counts=SimpleNamespace(splits={"train": len(self)} if train else {}))
        self.title, self.content = "toy", "c" * 64

    def __len__(self) -> int:
        return len(next(iter(self.layers.values())))

    def rows(self, _: str) -> np.ndarray:
        return np.arange(len(self))

    def is_valid(self, i: int, _: str) -> bool:
        return i != 3

    def read_layer(self, i: int, layer: str) -> np.ndarray:
        self.read.add(i)
        return self.layers[layer][i]


def made(num: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    fine = np.stack([rng.normal(1100, 200, (num, 2, 24, 24)), rng.normal(2500, 700, (num, 2, 24, 24))], axis=2)
    return {"fine": fine.clip(1), "coarse": rng.normal(1800, 500, (num, 2, 1, 12, 12)).clip(1)}


def test_clouds_do_not_move_the_numbers() -> None:
    clear = made()
    cloudy = {name: pixels.copy() for name, pixels in clear.items()}
    for name, pixels in cloudy.items():
        cut = pixels.shape[-1] // 2
        pixels[::5, :, :, :cut] = 6500  # one date in five, half of the picture
        cloudy[name] = pixels.astype(np.uint16)
    found = clipped_statistics(Pixels(cloudy, fill=0), "s2")
    plain = cloudy["fine"][:, :, 0]
    assert plain.std() > 5 * 200
    for band, truth in (("B02", clear["fine"][:, :, 0]), ("B08", clear["fine"][:, :, 1]), ("B11", clear["coarse"])):
        assert found.mean[band] == pytest.approx(truth.mean(), rel=0.03)
        assert found.std[band] == pytest.approx(truth.std(), rel=0.08)


def test_numbers_are_those_of_scipy() -> None:
    layers = {name: pixels.astype(np.float32) for name, pixels in made().items()}
    layers["fine"][2, 0, 0, :4] = np.nan
    layers["coarse"][5] = -9  # the fill
    found = clipped_statistics(Pixels(layers, fill=-9, train=False), "s2")
    there = [i for i in range(20) if i != 3]
    for band, values in (("B02", layers["fine"][there, :, 0]), ("B11", layers["coarse"][there])):
        values = values[np.isfinite(values) & (values != -9)].astype(float)
        away = np.abs(values - np.median(values))
        kept = values[away <= 3 * stats.median_abs_deviation(values, scale="normal")]
        assert found.mean[band] == pytest.approx(kept.mean(), rel=1e-5)
        assert found.std[band] == pytest.approx(kept.std(), rel=1e-4)
    assert "20 all samples without outliers" in found.source
    assert found.unit is Unit.DN


def test_a_large_store_is_read_in_part_and_an_empty_band_refused() -> None:
    store = Pixels({name: pixels.astype(np.uint16) for name, pixels in made(200).items()}, fill=0)
    clipped_statistics(store, "s2")
    assert len(store.read) <= SAMPLES
    assert {0, 199} <= store.read
    store.layers["coarse"][:] = 0
    with pytest.raises(StoreError, match="no valid pixel of coarse B11"):
        clipped_statistics(store, "s2")
