"""Opening and loading checkpoints: exactly, or not at all, and never by running what is inside."""

import os
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from seamo.errors import CheckpointError
from seamo_bench.family import KeyRules
from seamo_bench.weights import assemble, load_exact, load_file, open_checkpoint, tensors_at
from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.loading import load_network
from seamo_bench.zoo.weights_files import convert


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/seamo-bomb-went-off",)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def values(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def other() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return values(net())


def unchanged(network: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_everything_is_loaded_buffers_too() -> None:
    network, state = net(), other()
    state["1.running_mean"] += 3
    coverage = load_exact(network, state)
    assert unchanged(network, state)
    assert set(coverage.consumed) == set(state)


@pytest.mark.parametrize("kind", ["renamed", "missing", "extra", "shape", "nan"])
def test_what_does_not_fit_is_named_and_nothing_is_loaded(kind: str) -> None:
    network, state = net(), other()
    before = values(network)
    if kind == "renamed":
        state["0.wight"] = state.pop("0.weight")
        wanted = r"no use: 0\.wight; 1 parameters have no value in the file: 0\.weight"
    elif kind == "missing":
        del state["1.running_var"]
        wanted = r"no value in the file: 1\.running_var"
    elif kind == "extra":
        state["2.weight"] = torch.zeros(1)
        wanted = r"no use: 2\.weight"
    elif kind == "shape":
        state["0.weight"] = torch.zeros(4, 5)
        wanted = r"0\.weight is 4x5 in the file and 4x3 in the network.*another size"
    else:
        state["0.bias"][1] = float("nan")
        wanted = "NaN or infinity: 0.bias"
    with pytest.raises(CheckpointError, match=wanted):
        load_exact(network, state)
    assert unchanged(network, before)


def test_drop_and_init_lists_are_by_name() -> None:
    network, state = net(), other()
    del state["0.bias"]
    state["head.weight"] = torch.zeros(2)
    coverage = load_exact(network, state, drop=("head.*",), init=("0.bias",))
    assert coverage.dropped == ("head.weight",)
    assert coverage.initial == ("0.bias",)


def test_two_keys_for_one_parameter_are_refused() -> None:
    state = other()
    state["module.0.bias"] = state["0.bias"]
    with pytest.raises(CheckpointError, match=r"two keys mean parameter 0\.bias"):
        load_exact(net(), state, rules=KeyRules(strip=("module.",)))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path: Path, *, legacy: bool) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"model": other(), "args": Bomb()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"system.* not on the closed list"):
        open_checkpoint(path)
    assert not Path("/tmp/seamo-bomb-went-off").exists()  # noqa: S108 (the bomb's own path)


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        open_checkpoint(path)
    assert not Path("/tmp/seamo-bomb-went-off").exists()  # noqa: S108


def test_namespaces_of_published_files_open_as_holders(golden: Path) -> None:
    content = open_checkpoint(golden / "dev" / "satmae" / "checkpoint.pt")
    assert type(content["args"]).__name__ == "Holder"
    assert vars(content["args"])["patch_size"] == 8


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "cut"
    if kind == "safetensors":
        save_file(other(), path)
    else:
        torch.save(other(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"cut off|damaged|cannot be read|not a readable"):
        open_checkpoint(path)


def test_a_flipped_bit_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt"
    torch.save({"w": torch.arange(1000.0)}, path)
    data = bytearray(path.read_bytes())
    position = data.index(torch.arange(500.0, 510.0).numpy().tobytes())
    data[position + 6] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        open_checkpoint(path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(tmp_path / "nothing.pt")
    (tmp_path / "page.pth").write_text("<html>404</html>")
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / "page.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        open_checkpoint(tmp_path / "list.pt")


def test_the_state_dict_is_found_where_the_rules_say() -> None:
    rules = KeyRules(places=("model", ""))
    inner = OrderedDict(a=torch.zeros(1))
    assert set(tensors_at({"model": inner, "epoch": 3}, rules)) == {"a"}
    assert set(tensors_at({"a": torch.zeros(1), "b": {"c": torch.zeros(1)}}, rules)) == {"a", "b/c"}
    with pytest.raises(CheckpointError, match="has no 'teacher'; its entries: model"):
        tensors_at({"model": inner}, KeyRules(places=("teacher",)))


def test_another_model_s_and_another_size_s_checkpoint_are_refused(golden: Path) -> None:
    found = cards()["ssl4eo-mae-vits16-s2"]
    dev = golden / "dev"
    with pytest.raises(CheckpointError, match=r"shapes differ.*another size"):
        load_network(found.family, found.card, dev / "ssl4eo_mae_s2" / "checkpoint.pt", 0)
    with pytest.raises(CheckpointError, match="another model"):
        load_network(found.family, found.card, dev / "seco_r18" / "checkpoint.pt", 0)


def test_initial_values_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = assemble(net, rules=KeyRules(), weights=None, seed=5, backbone="x")
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    second = assemble(net, rules=KeyRules(), weights=None, seed=5, backbone="x")
    third = assemble(net, rules=KeyRules(), weights=None, seed=6, backbone="x")
    assert unchanged(first, values(second))
    assert not unchanged(first, values(third))
    assert not first.training


def test_a_file_converted_for_another_backbone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(other(), path, metadata={"seamo_backbone": "backbone-a"})
    load_file(net(), path, rules=KeyRules(), backbone="backbone-a")
    with pytest.raises(CheckpointError, match="converted for backbone-a, not for backbone-b"):
        load_file(net(), path, rules=KeyRules(), backbone="backbone-b")


def test_loading_from_a_card_is_the_same_after_conversion(golden: Path, tmp_path: Path) -> None:
    found = cards()["galileo-nano"]
    source = golden / "weights" / "galileo_nano" / "encoder.pt"
    path = convert(found, source, tmp_path)
    one, two = (load_network(found.family, found.card, file, seed) for seed, file in enumerate((source, path)))
    assert unchanged(one, values(two))
    assert replace(found.card) == found.card
