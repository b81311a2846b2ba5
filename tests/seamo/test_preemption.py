"""The job files of `examples/cluster`: what they do with signals and endings; a run that is taken away repeatedly."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from seamo.pretrain.checkpoint import checkpoints
from seamo.pretrain.logs import read_curves
from seamo.pretrain.run import read_run_facts
from tests.conftest import ROOT
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import RECIPE

JOBS = ROOT / "examples" / "cluster"
SCRIPTS = [JOBS / "pretrain.sh", JOBS / "pretrain.sbatch"]


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def attempt(folder: Path, ranks: str, *words: str, script: Path = SCRIPTS[0]) -> subprocess.Popen[str]:
    """A job file whose ranks are a few lines of bash."""
    launch = executable(folder / "launch", ranks)
    around = {**os.environ, "LAUNCH": str(launch), "STORE": "store", "RUN": str(folder / "run"), "RECIPE": "tiny"}
    return subprocess.Popen(["bash", script, *words], env=around, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_they_are_bash(script: Path):
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(
    ("ranks", "status"),
    [
        ('mkdir -p "$RUN"; touch "$RUN/checksums.json"', 0),  # done
        ("exit 1", 1),  # a recipe that is wrong: for ever
        ('mkdir -p "$RUN/checkpoints/step-00000004"; exit 1', 75),  # torchrun ends with 1, whatever its ranks do
        ('mkdir -p "$RUN/checkpoints/step-00000004"; kill -9 $$', 75),
        ("exit 0", 1),  # nothing was written, whatever it says
        ('mkdir -p "$RUN/checkpoints/.step-00000004"; exit 1', 1),  # half a checkpoint is none
    ],
)
def test_the_same_again_only_where_there_was_progress(tmp_path: Path, ranks: str, status: int):
    process = attempt(tmp_path, ranks)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert ("no checkpoint came of this attempt" in errors) == (status == 1)


def test_an_old_checkpoint_is_no_progress(tmp_path: Path):
    (tmp_path / "run" / "checkpoints" / "step-00000004").mkdir(parents=True)
    process = attempt(tmp_path, "exit 1")
    process.communicate(timeout=30)
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_what_asks_it_to_stop_reaches_the_ranks_as_sigterm_and_is_waited_for(tmp_path: Path, number: signal.Signals):
    ranks = """trap 'sleep 0.3; mkdir -p "$RUN/checkpoints/step-00000009"; echo "$@" > "$RUN/asked"; exit 1' TERM
    touch "$RUN.began"; while true; do sleep 0.05; done"""
    process = attempt(tmp_path, ranks, "--set", "seed=3")
    while not (tmp_path / "run.began").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 75
    words = (tmp_path / "run" / "asked").read_text().split()
    assert words == ["-m", "seamo.cli", "pretrain", "tiny", "--store", "store", "--out", str(tmp_path / "run"),
                     "--resume", "--set", "seed=3"]  # fmt: skip


@pytest.mark.parametrize(("ranks", "requeued"), [('mkdir -p "$RUN/checkpoints/step-00000001"; exit 1', True),
                                                ("exit 1", False),
                                                ('mkdir -p "$RUN"; touch "$RUN/checksums.json"', False)])  # fmt: skip
def test_slurm_is_asked_for_the_job_again(tmp_path: Path, ranks: str, requeued: bool):
    """Stand-ins for `srun` and `scontrol` write down what they are asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    executable(tools / "srun", f'echo "$@" > "{tmp_path}/srun"; {ranks}')
    executable(tools / "scontrol", f'echo "$@" >> "{tmp_path}/scontrol"; [ "$1" = show ] && printf "n1\\nn2\\n"')
    around = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "STORE": "store", "RUN": str(tmp_path / "run"),
              "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2",
              "SLURM_GPUS_ON_NODE": "4", "SLURM_SUBMIT_DIR": str(ROOT)}  # fmt: skip
    subprocess.run(["bash", SCRIPTS[1], "--set", "seed=1"], env=around, stderr=subprocess.PIPE, check=False, timeout=30)
    said = (tmp_path / "srun").read_text()
    assert said.startswith("torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3 --rdzv-id 77")
    assert "--rdzv-endpoint n1:29500 -m seamo.cli pretrain seamo-base --store store" in said
    assert said.rstrip().endswith("--resume --set seed=1")
    assert ("requeue 77" in (tmp_path / "scontrol").read_text()) == requeued


class Rehearsal:
    """A run of `pretrain.sh` under torchrun on CPUs (gloo), attempt by attempt."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.recipe, self.run, self.store = folder / "recipe.yaml", folder / "run", store
        plain = {**RECIPE, "stage2": {"epochs": 15, "warmup_epochs": 1}}
        self.recipe.write_text(yaml.safe_dump(plain, sort_keys=False))
        self.steps = 3 * (3 + 15)

    def begin(self, world: int) -> subprocess.Popen[bytes]:
        launch = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node {world} --max-restarts 2"
        around = {**os.environ, "LAUNCH": launch, "STORE": str(self.store), "RUN": str(self.run),
                  "RECIPE": str(self.recipe), "OMP_NUM_THREADS": "1"}  # fmt: skip
        return subprocess.Popen(["bash", SCRIPTS[0], "--device", "cpu"], env=around, stderr=subprocess.PIPE)

    def reach(self, process: subprocess.Popen[bytes], step: int) -> bool:
        """Wait for a step; False if the attempt ended before it with 75: torchrun's own restarts may fail."""
        curves, deadline = self.run / "curves.csv", time.monotonic() + 300
        while not curves.is_file() or curves.read_text().count("\n") <= step:
            if process.poll() is not None:
                assert self.end(process) == 75
                return False
            assert time.monotonic() < deadline, f"step {step} was not reached"
            time.sleep(0.005)
        return True

    def end(self, process: subprocess.Popen[bytes]) -> int:
        _, errors = process.communicate(timeout=300)
        assert process.returncode in (0, 75), errors.decode()[-3000:]
        return process.returncode

    def whole(self, world: int) -> None:
        assert self.end(self.begin(world)) == 0

    def rows(self) -> list[str]:
        return (self.run / "curves.csv").read_text().splitlines()


def ranks_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The ranks below a job file: children of its torchrun that run the command line."""
    found = []
    for line in subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]:
        pid, parent, words = line.split(None, 2)
        if "seamo.cli pretrain" in words and "torch.distributed.run" not in words and _below(int(parent), process.pid):
            found.append(int(pid))
    return found


def _below(pid: int, root: int) -> bool:
    while pid > 1:
        if pid == root:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_store(tmp_path_factory.mktemp("store"), absent=(3, 7)).path


@pytest.fixture(scope="module")
def undisturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    one = Rehearsal(tmp_path_factory.mktemp("undisturbed"), store)
    one.whole(world=2)
    return one


@pytest.mark.soak
def test_a_rank_that_is_killed_and_a_preemption_change_no_byte(undisturbed: Rehearsal, store: Path, tmp_path: Path):
    """Two ranks throughout: torchrun goes on after a kill by itself, the same command after SIGTERM."""
    one = Rehearsal(tmp_path, store)
    process = one.begin(world=2)
    assert one.reach(process, 7)
    os.kill(ranks_of(process)[-1], signal.SIGKILL)
    assert one.reach(process, 20)
    process.send_signal(signal.SIGTERM)
    assert one.end(process) == 75
    stopped = read_curves(one.run)["step"][-1]
    assert 20 <= stopped < one.steps
    assert checkpoints(one.run / "checkpoints")[-1].name == f"step-{int(stopped):08d}"
    one.whole(world=2)
    assert one.rows() == undisturbed.rows()
    weights = Path("final") / "model.safetensors"
    assert (one.run / weights).read_bytes() == (undisturbed.run / weights).read_bytes()


@pytest.mark.soak
def test_another_number_of_ranks_changes_the_order_of_sums_alone(undisturbed: Rehearsal, store: Path, tmp_path: Path):
    """Two ranks, then one, then four: exact until the change; after it the same places, crops and masks."""
    one = Rehearsal(tmp_path, store)
    changes = []
    for world, step in ((2, 10), (1, 25)):
        process = one.begin(world)
        assert one.reach(process, step)
        process.send_signal(signal.SIGTERM)
        assert one.end(process) == 75
        changes.append(int(read_curves(one.run)["step"][-1]))
    one.whole(world=4)
    assert one.rows()[: 1 + changes[0]] == undisturbed.rows()[: 1 + changes[0]]
    got, want = read_curves(one.run), read_curves(undisturbed.run)
    for name in ("step", "stage", "epoch", "images", "lr"):
        assert got[name] == want[name], name
    # The step after a change is computed from weights that are equal to the last bit or nearly.
    np.testing.assert_allclose(got["loss"][: changes[0] + 5], want["loss"][: changes[0] + 5], rtol=1e-5)
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=2e-3)
    assert read_run_facts(one.run) == read_run_facts(undisturbed.run)
