"""A store under Lightning: each sample once, epochs in another order, the same again; skipped where it is not there."""

import numpy as np
import pytest
import torch

from seamo.sample import Sample
from seamo.testing.stores import tiny_store
from tests.bench.bench_store import build_store, toy_spec

lightning = pytest.importorskip("lightning.pytorch", reason="lightning is an extra: pip install 'seamo[lightning]'")


@pytest.fixture(scope="module")
def store():
    return tiny_store()


def module_of():
    class Seen(lightning.LightningModule):
        """A linear layer on band means, which notes what it is shown."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(5, 3)
            self.keys = {"train": [], "val": [], "test": []}

        def step(self, batch, split):
            self.keys[split].append((self.current_epoch, tuple(batch["key"])))
            return torch.nn.functional.cross_entropy(self.layer(batch["image"].mean(dim=(1, 3, 4))), batch["label"])

        def training_step(self, batch, _):
            return self.step(batch, "train")

        def validation_step(self, batch, _):
            self.step(batch, "val")

        def test_step(self, batch, _):  # noqa: PT019 - a step of Lightning
            self.step(batch, "test")

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    torch.manual_seed(0)
    return Seen()


def scaled(batch):
    return {**batch, "image": batch["image"].nan_to_num() / 10_000}


def fitted(store, tmp_path, *, seed=0, epochs=2, checkpoint=None):
    from seamo.inputs.datamodule import StoreDataModule

    data = StoreDataModule(store, batch=4, stack="s2", transform=scaled, seed=seed)
    model = module_of()
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, logger=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint)
    return trainer, model, data


def test_each_split_is_shown_once_an_epoch_and_train_in_a_new_order(store, tmp_path):
    trainer, model, data = fitted(store, tmp_path)
    wanted = {split: sorted(store.index["key"][store.rows(split)]) for split in ("train", "val", "test")}
    orders = []
    for epoch in (0, 1):
        shown = [key for at, keys in model.keys["train"] if at == epoch for key in keys]
        assert sorted(shown) == wanted["train"]
        assert sorted(key for at, keys in model.keys["val"] if at == epoch for key in keys) == wanted["val"]
        orders.append(shown)
    assert orders[0] != orders[1]
    trainer.test(model, datamodule=data, verbose=False)
    assert [key for _, keys in model.keys["test"] for key in keys] == list(store.index["key"][store.rows("test")])
    again, other = fitted(store, tmp_path)[1], fitted(store, tmp_path, seed=1)[1]
    assert again.keys["train"] == model.keys["train"] != other.keys["train"]


def test_a_run_that_goes_on_sees_the_epochs_that_are_left(store, tmp_path):
    trainer, first, _ = fitted(store, tmp_path, epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    rest = fitted(store, tmp_path, epochs=3, checkpoint=tmp_path / "one.ckpt")[1]
    whole = fitted(store, tmp_path, epochs=3)[1]
    assert first.keys["train"] + rest.keys["train"] == whole.keys["train"]


def test_what_cannot_be_fed_is_refused(store):
    from seamo.errors import ManifestError, UsageError
    from seamo.inputs.datamodule import StoreDataModule

    with pytest.raises(UsageError, match="has 8 samples, fewer than one batch of 9"):
        StoreDataModule(store, batch=9, stack="s2").train_dataloader()
    with pytest.raises(ManifestError, match="no layer 's9'"):
        StoreDataModule(store, batch=2, stack="s9").val_dataloader()


def test_devices_share_a_split(store):
    from seamo.inputs.datamodule import StoreDataModule

    class Trainer:
        world_size, current_epoch, global_rank = 2, 0, 0

    shown = []
    for rank in (0, 1):
        data = StoreDataModule(store, batch=2, stack="s2")
        data.trainer = Trainer()
        data.trainer.global_rank = rank
        shown.append([key for batch in data.train_dataloader() for key in batch["key"]])
    assert len(shown[0]) == len(shown[1])
    assert sorted(shown[0] + shown[1]) == sorted(store.index["key"][store.rows("train")])


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """Images of three sizes, the largest of which no batch of 8 is filled with."""
    spec = toy_spec(bands=("B02", "B03", "B04"))
    spec = spec.model_copy(update={"layers": (spec.layers[0].model_copy(update={"size": None}),)})
    sides = (8, 8, 8, 40, 40, 70)
    rng = np.random.default_rng(1)
    samples = [
        Sample(
            f"v{i:04d}", {"s2_10m": rng.integers(1, 9999, (1, 3, sides[i % 6], sides[i % 6]), "uint16")}, label=i % 3
        )
        for i in range(48)
    ]
    return build_store(tmp_path_factory.mktemp("varied"), spec, samples)


@pytest.mark.parametrize("world", [1, 2])
def test_no_size_is_too_rare_to_be_trained_on(varied, world):
    from seamo.inputs.datamodule import StoreDataModule

    class Trainer:
        world_size, current_epoch, global_rank = world, 0, 0

    shown = []
    for rank in range(world):
        data = StoreDataModule(varied, batch=8 // world, stack="s2")
        data.trainer = Trainer()
        data.trainer.global_rank = rank
        loader = data.train_dataloader()
        batches = list(loader)
        assert len(loader) == len(batches)
        for batch in batches:
            assert len({int(key[1:]) % 6 // 3 + (int(key[1:]) % 6 == 5) for key in batch["key"]}) == 1  # one size
        shown += [key for batch in batches for key in batch["key"]]
    assert set(shown) == set(varied.index["key"][varied.rows("train")])
    assert len(shown) - len(set(shown)) <= 3 * (world - 1)  # a device's share is as large as the other's
