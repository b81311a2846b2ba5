"""Published normalisations as card steps, and the statistics that several families share. No torch here."""

from collections.abc import Mapping, Sequence

from seamo.bands import S2_L1C
from seamo_bench.card import Step

# Sentinel-2 statistics of BigEarthNet, as the loaders of SeCo, CaCo, DINO-MM and SSL4EO-S12 publish them.
BEN_MEAN = {
    "B01": 340.76769064, "B02": 429.9430203, "B03": 614.21682446, "B04": 590.23569706, "B05": 950.68368468,
    "B06": 1792.46290469, "B07": 2075.46795189, "B08": 2218.94553375, "B8A": 2266.46036911, "B09": 2246.0605464,
    "B11": 1594.42694882, "B12": 1009.32729131,
}  # fmt: skip
BEN_STD = {
    "B01": 554.81258967, "B02": 572.41639287, "B03": 582.87945694, "B04": 675.88746967, "B05": 729.89827633,
    "B06": 1096.01480586, "B07": 1273.45393088, "B08": 1365.45589904, "B8A": 1356.13789355, "B09": 1302.3292881,
    "B11": 1079.19066363, "B12": 818.86747235,
}  # fmt: skip
# fMoW-Sentinel statistics of SatMAE (`SentinelNormalize`), also used by SatMAE++ and SpectralGPT.
FMOW_MEAN = dict(
    zip(
        S2_L1C,
        (
            1370.19151926, 1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151, 1846.87040806,
            1762.59530783, 1972.62420416, 582.72633433, 14.77112979, 1732.16362238, 1247.91870117,
        ),
        strict=True,
    )
)  # fmt: skip
FMOW_STD = dict(
    zip(
        S2_L1C,
        (
            633.15169573, 650.2842772, 712.12507725, 965.23119807, 948.9819932, 1108.06650639, 1258.36394548,
            1233.1492281, 1364.38688993, 472.37967789, 14.3114637, 1310.36996126, 1087.6020813,
        ),
        strict=True,
    )
)  # fmt: skip
TO_UNIT = Step("affine", (0.0,), (255.0,))  # 8 bit to [0, 1]
IMAGENET = (TO_UNIT, Step("affine", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
DN_TO_8BIT = (Step("affine", (0.0,), (10000.0,)), Step("scale", (255.0,)), Step("truncate-uint8"), TO_UNIT)
DN_TO_8BIT_WRAPPED = (Step("affine", (0.0,), (10000.0,)), Step("scale", (255.0,)), Step("wrap-uint8"), TO_UNIT)


def in_order(numbers: Mapping[str, float], bands: Sequence[str]) -> tuple[float, ...]:
    """Per-band numbers in the order of `bands`."""
    return tuple(numbers[band] for band in bands)


def two_sigma_8bit(mean: Sequence[float], std: Sequence[float]) -> tuple[Step, ...]:
    """[mean - 2 std, mean + 2 std] to 0..255, limited, truncated to 8 bit, then to [0, 1]."""
    low = tuple(m - 2 * s for m, s in zip(mean, std, strict=True))
    return (
        Step("affine", low, tuple(4 * s for s in std)),
        Step("scale", (255.0,)),
        Step("truncate-uint8"),
        TO_UNIT,
    )


def zscore(mean: Sequence[float], std: Sequence[float]) -> tuple[Step, ...]:
    """(x - mean) / std."""
    return (Step("affine", tuple(mean), tuple(std)),)


# ESA's true-colour image of L1C: DN 3558 is the brightest 8-bit value (Sentinel-2 Products Specification Document).
TRUE_COLOUR = (Step("affine", (0.0,), (3558.0,)), Step("scale", (255.0,)), Step("truncate-uint8"))
# Sentinel-1 in dB, VV and VH (SSL4EO-S12, FG-MAE): limited to each image's own 1 % and 99 % quantiles, then
# mean +- 2 sigma in 8 bit.
SSL4EO_S1 = (Step("image-quantile-clip", (0.01,), (0.99,)), *two_sigma_8bit((-12.59, -20.26), (5.26, 5.91)))
