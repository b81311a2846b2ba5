"""A backbone of your own, from inputs to a score: `python examples/own_backbone.py`. The data are synthetic."""

import tempfile
from pathlib import Path

from outside import as_installed, synthetic_store

import seamo_bench


def main() -> None:
    """Run `my_models/rgb_conv.py` on a synthetic EuroSAT, beside a floor."""
    with tempfile.TemporaryDirectory() as folder:
        as_installed(Path(folder, "site"))
        store = synthetic_store(Path(folder), "eurosat")
        print(store.title)
        backbone = seamo_bench.load_backbone("rgb-conv", store=store)
        (fed,) = backbone.card.inputs
        print(f"{backbone.card.title} is fed {', '.join(fed.bands)} of {fed.sensor}, in {fed.unit}")
        batch = next(iter(store.loader("test", 8)))
        features = backbone.features(batch)
        print(f"pooled {tuple(features.pooled.shape)}, levels {[tuple(level.shape) for level in features.levels]}")
        for name in ("rgb-conv", "image-statistics"):
            (result,) = seamo_bench.evaluate(seamo_bench.load_backbone(name, store=store), store, "knn")
            print(f"{name}: top-1 {100 * result.scores['top1']:.1f} % of {len(result.predictions.keys)} test samples")


if __name__ == "__main__":
    main()
