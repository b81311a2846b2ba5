"""A protocol of your own, and a check of it: `python examples/own_protocol.py`. The data are synthetic."""

import tempfile
from pathlib import Path

from outside import as_installed, synthetic_store

import seamo_bench


def main() -> None:
    """Run `my_models/centroid.py` with two temperatures: the order of the classes must not depend on it."""
    with tempfile.TemporaryDirectory() as folder:
        as_installed(Path(folder, "site"))
        store = synthetic_store(Path(folder), "eurosat")
        print(store.title)
        backbone = seamo_bench.load_backbone("image-statistics", store=store)
        for temperature in (1.0, 0.5):
            (result,) = seamo_bench.evaluate(backbone, store, "centroid", params={"temperature": temperature})
            scores = {name: round(value, 4) for name, value in result.scores.items() if value is not None}
            print(f"temperature {temperature}: top1 {scores['top1']}, nll {scores['nll']}")


if __name__ == "__main__":
    main()
