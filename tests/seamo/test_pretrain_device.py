"""What training on an accelerator rests on, checked without one: nothing waits for the device, and the graph is whole.

The device is played by torch's `meta` device, whose tensors have shapes and no values: whoever asks for one fails.
"""

import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seamo.data.loader import Loader
from seamo.model.config import DecoderConfig, SeaMoConfig, stage_one
from seamo.model.flops import pretraining_flops
from seamo.model.seamo import SeaMo
from seamo.pretrain.feed import Portion, _ahead
from seamo.pretrain.inputs import InputPlan, plan_inputs
from seamo.pretrain.mixture import training_data
from seamo.pretrain.optimise import Tally, weighted_loss
from seamo.pretrain.recipe import load_recipe
from seamo.pretrain.yardsticks import yardstick_sums
from tests.seamo.small_store import build_small_store

DEVICE = torch.device("meta")
SMALL = ["model.size=16", "model.patch=4", "model.dim=32", "model.depth=2", "model.heads=4"]
SMALL += ["model.decoder={depth: 1, width: 32, heads: 4}", "data.stacks={s2: s2a, s1: s1}", "data.split=all"]
SMALL += ["data.statistics={s2: store, s1: store}"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    return build_small_store(tmp_path_factory.mktemp("store"), 12, absent=(3,))


class Copies(TorchDispatchMode):
    """Writes down every copy of host memory to the device that the host would have to wait for, and what GPUs lack."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.literals = Literals(self.found)

    def __enter__(self):
        self.literals.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.literals.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        made = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        from_host = any(x.device.type == "cpu" and x.ndim for x in given)  # a tensor without axes goes as a number
        if from_host and any(x.device == DEVICE for x in given + made) and not kwargs.get("non_blocking"):
            self.found.append(str(function))
        if function is torch.ops.aten.index.Tensor and args[0].dtype == torch.uint16:
            self.found.append("an index of uint16")  # '"index_cuda" not implemented for 'UInt16'', says torch on a GPU
        return result


class Literals(TorchFunctionMode):
    """The same for lists of Python numbers, which become tensors on the device below all dispatching."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            self.found.append("torch.tensor")
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and args[0].device == DEVICE:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.found += ["an index that is a list" for part in index if isinstance(part, list)]
        return function(*args, **kwargs)


def plan_of(store, stage: int, *changes: str) -> InputPlan:
    recipe = load_recipe("seamo-base", [*SMALL, *changes])
    return plan_inputs(recipe, stage, training_data(recipe, [store]))


def batch_of(store, rows: list[int], plan: InputPlan):
    return next(iter(Loader(store, np.array(rows), len(rows), layers=plan.layer_ids, find_holes=True)))


PLANS: tuple[tuple[int, list[str]], ...] = (
    (2, []),
    (1, []),
    (1, ["data.season_sampling=random"]),
    (2, ["data.scaling=z-score"]),
    (2, ["crop.mode=same_full"]),
    (2, ["crop.mode=none_overlap"]),
    (2, ["model.bands={s2: [B04, B02, B8A], s1: [VH]}"]),
    (2, ["model.mask.kind=independent", "crop.share=false"]),
    (2, ["model.tm={mode: decouple, merge: concat}"]),
)
WHOLE, ABSENT = [0, 1], [2, 3]  # rows whose images are there, and rows of which some are absent


@pytest.mark.parametrize(
    ("stage", "changes", "rows"),
    [
        (*PLANS[0], WHOLE),
        *((*plan, ABSENT) for plan in PLANS),
        *(pytest.param(*plan, WHOLE, marks=pytest.mark.soak) for plan in PLANS[1:]),
    ],
)
def test_a_step_asks_the_device_for_nothing(store, stage: int, changes: list[str], rows: list[int]):
    plan = plan_of(store, stage, *changes)
    batch = batch_of(store, rows, plan)
    model = SeaMo(plan.config).to(DEVICE)
    names = tuple((s, t) for t in range(plan.seasons) for s in plan.config.sensors)
    tally = Tally(names, torch.zeros(len(names), 2, dtype=torch.float64, device=DEVICE))
    with Copies() as copies:
        inputs = plan(batch, DEVICE, epoch=0)
        output = model(inputs.images, noise=inputs.noise, valid=inputs.valid, pixel_valid=inputs.pixel_valid)
        weighted_loss(output, hidden=12, places=2, weight_of=plan.config.weight_of).backward()
        tally.add(output)
        yardsticks = yardstick_sums(inputs, plan.config)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert copies.found == []
    assert yardsticks.keys() == set(names)
    assert (inputs.valid is None) == (rows == [0, 1] or stage == 1)
    assert inputs.pixel_valid is None  # absent images are whole images; nothing is lost within one
    assert all(tensor.device == DEVICE for tensor in inputs.tensors())


def test_the_check_itself_sees_what_waits():
    values = torch.rand(4, 3, device=DEVICE)
    with Copies() as copies:
        values[:, [0, 2]]
        values[torch.tensor([0, 2])]
        torch.tensor([1.0, 2.0]).to(DEVICE)
        torch.tensor([1.0, 2.0], device=DEVICE)
        values.to(torch.uint16)[torch.tensor([0], device=DEVICE)]
    seen = ["an index that is a list", "aten.index.Tensor", "aten._to_copy.default", "torch.tensor", "torch.tensor"]
    assert copies.found == [*seen, "an index of uint16"]
    with pytest.raises(RuntimeError):
        bool(values.any())
    with pytest.raises((RuntimeError, NotImplementedError)):
        values.tolist()


CONFIG = SeaMoConfig(size=16, patch=4, dim=32, depth=1, heads=4, decoder=DecoderConfig(depth=1, width=32, heads=4))


def drawn(config: SeaMoConfig, seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    seasons = 2 if config.temporal else 1
    sides = (config.size, config.size)
    images = {s: torch.rand(2, seasons, len(b), *sides, generator=generator) for s, b in config.bands.items()}
    return images, torch.rand(2, seasons, config.num_patches, generator=generator)


@pytest.mark.parametrize(
    "config", [CONFIG, pytest.param(stage_one(CONFIG), marks=pytest.mark.soak)], ids=["stage 2", "stage 1"]
)
def test_the_model_compiles_to_one_graph_that_no_batch_makes_anew(config: SeaMoConfig):
    torch._dynamo.reset()
    model = SeaMo(config, generator=torch.Generator().manual_seed(0))
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, backend=backend, fullgraph=True)  # refuses to break the graph
    for count in (1, 2):
        for seed in range(3):
            images, noise = drawn(config, seed)
            given = {}
            if count == 2:  # absent images and holes: one more graph, not one a batch
                given["valid"] = {s: image[:, :, 0, 0, 0] > 0.3 for s, image in images.items()}
                given["pixel_valid"] = {s: image > 0.01 for s, image in images.items()}
            wanted = model(images, noise=noise, **given).loss
            torch.testing.assert_close(compiled(images, noise=noise, **given).loss, wanted)
        assert len(graphs) == count


class Attentions(TorchFunctionMode):
    """Writes down what is asked of scaled dot-product attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.scaled_dot_product_attention:
            self.calls.append((args, kwargs or {}))
        return function(*args, **(kwargs or {}))


def test_attention_is_in_the_form_that_flash_kernels_take():
    config = replace(load_recipe("seamo-base").model, depth=2, decoder=DecoderConfig(depth=1))
    with Attentions() as attentions, torch.device("meta"):
        model = SeaMo(config)
        images = {s: torch.empty(2, 4, len(b), 128, 128) for s, b in config.bands.items()}
        model(images, noise=torch.empty(2, 4, 256))
    # two encoder blocks, fusion of two sensors for the first and for the other seasons, two decoders
    assert len(attentions.calls) == 2 + 4 + 2
    for (q, k, v), options in attentions.calls:
        assert options.get("attn_mask") is None
        for x in (q, k, v):  # flash attention takes heads of up to 256, multiples of 8
            assert x.shape[-1] in (32, 64)
            assert x.stride(-1) == 1


def test_on_a_gpu_a_portion_is_made_while_the_one_before_it_is_used(monkeypatch: pytest.MonkeyPatch):
    """The order of things, with a stand-in for the streams of a GPU."""
    said: list[str] = []

    class Stream:
        def __init__(self, name: object) -> None:
            self.name = "side" if isinstance(name, torch.device) else name

        def record_event(self) -> str:
            return f"copied {sum(line.startswith('made') for line in said) - 1}"

        def wait_event(self, event: str) -> None:
            said.append(f"{self.name} waits for {event}")

    class Marked:
        def __init__(self, number: int) -> None:
            self.number = number

        def record_stream(self, stream: Stream) -> None:
            said.append(f"{self.number} lives on {stream.name}")

    class FakeInputs:
        def __init__(self, number: int) -> None:
            self.number = number

        def tensors(self) -> list[Marked]:
            return [Marked(self.number)]

    def source():
        for number in range(3):
            said.append(f"made {number} on {current[-1].name}")
            yield Portion(FakeInputs(number), 0.0)

    current = [Stream("main")]

    @contextmanager
    def on(stream: Stream):
        current.append(stream)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current[-1])
    for portion in _ahead(source(), torch.device("cuda", 0)):
        said.append(f"used {portion.inputs.number}")
    assert said == [
        "made 0 on side",
        "made 1 on side",
        "main waits for copied 0",
        "0 lives on main",
        "used 0",
        "made 2 on side",
        "main waits for copied 1",
        "1 lives on main",
        "used 1",
        "main waits for copied 2",
        "2 lives on main",
        "used 2",
    ]


@pytest.mark.soak
def test_the_measurement_of_a_step_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    perf = Path(__file__).resolve().parents[2] / "perf"
    monkeypatch.syspath_prepend(str(perf))
    small = ["--size", "16", "--dim", "64", "--depth", "1", "--batch", "1", "--rounds", "1", "--dtype", "bf16"]
    monkeypatch.setattr(sys, "argv", ["training.py", *small, "--peak-tflops", "0.0001", "--profile"])
    runpy.run_path(str(perf / "training.py"), run_name="__main__")
    out = capsys.readouterr().out
    line = re.search(r"^training step, SeaMo stage 2: (.*) locations/s, MFU (.*)% of 0.0001 ", out, re.MULTILINE)
    rate, share = line.groups()
    config = SeaMoConfig(size=16, dim=64, depth=1, heads=1, decoder=DecoderConfig(depth=2, width=256, heads=8))
    flops = pretraining_flops(config, seasons=4).training
    assert float(share) == pytest.approx(100 * float(rate) * flops / 1e8, rel=0.01)
    assert "aten::" in out  # the profile
