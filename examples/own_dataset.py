"""A data set of your own, from its archive to a batch: `python examples/own_dataset.py`. The data are synthetic."""

import tempfile
from pathlib import Path

from outside import as_installed, synthetic_store


def main() -> None:
    """Write the synthetic archive of `lakes_package/my_lakes.py`, build its store, and read it."""
    with tempfile.TemporaryDirectory() as folder:
        as_installed(Path(folder, "site"))
        store = synthetic_store(Path(folder), "my-lakes")
        classes = store.spec.label_spaces[store.spec.task.label_space].classes
        print(f"{store.title}, content {store.content[:12]}")
        sample = store[0]
        print(f"sample {sample.key}: s1 {sample.layers['s1'].shape}, label {classes[sample.label].name}")
        batch = next(iter(store.loader("train", 4)))
        print(f"batch of {len(batch.keys)}: s1 {tuple(batch.layers['s1'].shape)}, labels {batch.label.tolist()}")
        for band, values in zip(store.spec.layer("s1").bands, sample.layers["s1"][0], strict=True):
            print(f"{band}: {values.mean():.1f} dB on average")


if __name__ == "__main__":
    main()
