"""Texture statistics: of every band and of every index that a store has, how large, how varied, how fast it changes.

Fixed measurements from the literature, no weights. Fixed measurements of this kind and a linear classifier reach 96 %
on EuroSAT with 33 numbers an image (github.com/calebrob6/eurosat-min-params): frozen features of a pretrained network
must show above them what learning adds. The numbers here are not those 33; they were chosen from the definitions
below and for no data set.

* Level and spread: mean, standard deviation, 10th and 90th percentile, as `image-statistics` has them.
* Texture: the autocorrelation at lags of 1, 2, 4 and 8 pixels, mean of rows and columns (Haralick 1979, "Statistical
  and structural approaches to texture", Proc. IEEE 67(5), section II A; one minus the variogram over the variance of
  Woodcock, Strahler and Jupp 1988, Remote Sensing of Environment 25). It is free of scale: brightness and contrast
  cancel, arrangement stays.
* Indices: normalised differences (a - b) / (a + b) of two bands, measured like a band. Radar backscatter in decibel is
  a logarithm, so that the difference a - b is the logarithm of a ratio.

Levels are in reflectance, in 8-bit values over 255, or in bel (powers of ten): then they are about as large as
autocorrelations and indices, and neighbours by the cosine see all three. A linear head standardises, and does not care.
"""

from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.backbones._inputs import any_bands
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.network import Network

LAGS = (1, 2, 4, 8)  # pixels
# Sensor -> (a, b) of (a - b) / (a + b); only those are measured whose two bands a store has.
INDICES: dict[str, tuple[tuple[str, str], ...]] = {
    "s2": (
        ("B08", "B04"),  # NDVI: Rouse et al. 1974, NASA SP-351
        ("B03", "B04"),  # NGRDI: Tucker 1979, Remote Sensing of Environment 8
        ("B06", "B05"),  # red edge, 750 and 705 nm: Gitelson and Merzlyak 1994, J. Plant Physiology 143
        ("B03", "B08"),  # NDWI of water: McFeeters 1996, Int. J. Remote Sensing 17
        ("B03", "B11"),  # MNDWI: Xu 2006, Int. J. Remote Sensing 27
        ("B8A", "B11"),  # NDWI of leaves: Gao 1996, Remote Sensing of Environment 58; about minus the NDBI of buildings
        ("B08", "B12"),  # NBR: Key and Benson 2006, USDA RMRS-GTR-164
    ),
    "s1": (("VV", "VH"),),  # the cross-polarisation ratio, in decibel
    "rgb": (
        ("G", "R"),  # NGRDI: Tucker 1979
        ("G", "B"),
        ("R", "B"),
    ),
}

SCALES = {Unit.DN: 1e-4, Unit.UINT8: 1 / 255, Unit.DB: 0.1}  # units in which stores' values arrive

CARDS = (
    BackboneCard(
        id="texture-statistics",
        family="texture",
        title="Texture statistics",
        inputs=any_bands((), "raw values, not normalised", fill=float("nan")),
        embed_dim=0,
        size=0,
        multiple_of=1,
        pooling="mean, standard deviation, 10th and 90th percentile, and autocorrelation at lags of 1, 2, 4 and 8 "
        "pixels, of each band and of normalised differences of two bands",
        code_licence="Apache-2.0",
        availability="none needed",
        source="this project, after the definitions that the family lists",
        verified=("package",),
        trainable=False,
        variant=(
            ("floor", "image statistics"),
            ("lags", LAGS),
            ("scales", " ".join(f"{unit.value}:{scale:.6g}" for unit, scale in SCALES.items())),
            ("indices", " ".join(f"{sensor}:{a}/{b}" for sensor, pairs in INDICES.items() for a, b in pairs)),
        ),
    ),
)


def _build(card: BackboneCard) -> "Network":
    from seamo_bench.networks.texture import TextureStatistics

    pairs = {
        spec.sensor: tuple(
            (spec.bands.index(a), spec.bands.index(b))
            for a, b in INDICES[spec.sensor]
            if a in spec.bands and b in spec.bands
        )
        for spec in card.inputs
    }
    scales = {spec.sensor: SCALES[spec.unit] for spec in card.inputs}
    return TextureStatistics(pairs, scales=scales, logarithmic=("s1",), lags=LAGS)


FAMILY = Family(cards=CARDS, build=_build)
