"""S1S2-Water, Sentinel-2 on its own grid; see `seamo_prep.archives._s1s2_water`."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from seamo.manifest import DatasetSpec
from seamo.sample import Sample
from seamo.testing.world import World
from seamo_prep.archives import _s1s2_water
from seamo_prep.unpack import Raw


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    return _s1s2_water.index(raw, spec, "s2")


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    return _s1s2_water.read(raw, rows, spec, "s2")


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; the archive holds both sensors."""
    _s1s2_water.demo(raw, world, size)
