"""A store as a data module of Lightning: its splits, over the fast loader."""

from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from seamo.data.loader import Loader
from seamo.errors import UsageError
from seamo.inputs.torchform import Sampled, TorchBatches, Transform, default_stack
from seamo.store.reader import open_store
from seamo.store.samples import Samples
from seamo.store.stacks import layer_ids


class StoreDataModule(LightningDataModule):  # type: ignore[misc]  # lightning is an extra, and unknown to the types
    """Train, val and test of one store as batches of dicts: `image`, `label` or `mask`, `bands`, `key` (`store.torch`).

    Nothing is normalised: `transform` does it. Threads of the loader read; there are no worker processes. The order of
    an epoch follows from `seed` and the trainer's epoch, so a run that goes on after an epoch sees what it would have
    seen. On several devices each gets its own equal share; where a split does not divide, the last batch repeats
    samples, as torch's DistributedSampler does, so test on one device. Images that vary in size come in batches of one
    size each; then train's are not all full, down to a batch of one image, so that no size is too rare to be learned
    from.

    Args:
        store: A path or an address, or an open store.
        batch: Samples of a batch on each device.
        stack: Which stack the image is; None: the only one, else the first of Sentinel-2 or colours.
        transform: Called with each batch, of all splits.
        fraction: A subset of train, as in `store.rows`; val and test are whole.
        salt: Which one.
        label_space: Label space of the labels; empty = the task's default.
        seed: Of the order of train.
        workers: Threads that read, of each split.

    Raises:
        UsageError: When batches are asked for: train does not fill one.
        StoreError: Then, too: there is no such split.
        ManifestError: Then, too: there is no such stack.
    """

    def __init__(
        self,
        store: str | Path | Samples,
        *,
        batch: int,
        stack: str | None = None,
        transform: Transform | None = None,
        fraction: float = 1.0,
        salt: int | str = 0,
        label_space: str = "",
        seed: int = 0,
        workers: int = 2,
    ) -> None:
        super().__init__()
        self.store: Samples = open_store(store) if isinstance(store, str | Path) else store
        self.stack = stack or default_stack(self.store)
        self.batch, self.transform, self.label_space = batch, transform, label_space
        self.fraction, self.salt = fraction, salt
        self.seed, self.workers = seed, workers

    def train_dataloader(self) -> DataLoader[Sampled]:
        """Train, shuffled, what does not fill a batch left out; of images that vary in size, nothing is."""
        return self._batches("train", is_train=True)

    def val_dataloader(self) -> DataLoader[Sampled]:
        """Val, in the order of the store."""
        return self._batches("val")

    def test_dataloader(self) -> DataLoader[Sampled]:
        """Test, in the order of the store."""
        return self._batches("test")

    def predict_dataloader(self) -> DataLoader[Sampled]:
        """The same as `test_dataloader`; `key` says whose prediction it is."""
        return self._batches("test")

    def _batches(self, split: str, *, is_train: bool = False) -> DataLoader[Sampled]:
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        rows = self.store.rows(split, self.fraction if is_train else 1.0, self.salt)
        if is_train and len(rows) < self.batch * world:
            fix = "Take a smaller batch, fewer devices or a larger fraction."
            where = f"{self.store.title} split {split}"
            raise UsageError(f"has {len(rows)} samples, fewer than one batch of {self.batch * world}", where, fix)
        vary = any(
            layer.size is None for layer in self.store.spec.only_layers(layer_ids(self.store.spec, [self.stack])).layers
        )
        loader = Loader(
            self.store,
            rows,
            self.batch * world,
            layers=[self.stack],
            label_space=self.label_space,
            seed=self.seed,
            shuffle=is_train,
            drop_last=is_train and not vary,
            rank=rank,
            world=world,
            workers=self.workers,
        )
        batches = TorchBatches(loader, stack=self.stack, transform=self.transform)
        return DataLoader(_OfTrainer(batches, self), batch_size=None)


class _OfTrainer(IterableDataset[Sampled]):
    """Batches that begin, each time they are gone through, with the epoch that the trainer is at."""

    def __init__(self, batches: TorchBatches, module: StoreDataModule) -> None:
        self.batches, self.module = batches, module

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Sampled]:
        trainer = self.module.trainer
        self.batches.epoch = int(trainer.current_epoch) if trainer else 0
        return iter(self.batches)
