"""Building without a terminal, for tests."""

from pathlib import Path

from seamo_prep.build import Built, Options, build
from seamo_prep.engines import Engine

IDS = ("ssl4eo-s12", "eurosat", "eurosat-sar", "bigearthnet-v1")


def build_quietly(dataset: str, raw: Path, root: Path, *, workers: int = 1, say=None, **options) -> Built:
    return build(
        dataset,
        raw=raw,
        root=root,
        options=Options(**options),
        engine=Engine(workers),
        say=say or (lambda _: None),
        progress=lambda _done, _total: None,
    )
