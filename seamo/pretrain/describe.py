"""What a run or a model is, as plain facts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from seamo.addresses import address_of, disk_path
from seamo.errors import TrainingError
from seamo.model.card import holds_encoder_alone, read_card
from seamo.model.checkpoint import check_weights
from seamo.model.config import parse_config
from seamo.model.files import WEIGHTS
from seamo.model.flops import pretraining_flops
from seamo.pretrain.checkpoint import FACTS, checkpoint_damages, checkpoints, read_checkpoint_facts
from seamo.pretrain.facts import read_run
from seamo.pretrain.fetched import run_on_disk
from seamo.pretrain.learnt import in_words, what_was_learnt
from seamo.pretrain.logs import CURVES, read_curves
from seamo.pretrain.places import RUN, RunFolder
from seamo.pretrain.probed import HEADS, first_of, gains, read_probes
from seamo.pretrain.run import find_model, run_damages

_FIX = "Go on with --resume, which makes again what it can, or copy it from where it is whole."


def describe(place: str | Path) -> dict[str, Any]:
    """Facts of a run, a checkpoint or a model, every file of which was read and is what was written.

    Args:
        place: Its folder, or its address.

    Raises:
        UsageError: If it is none of them.
        TrainingError, CheckpointError: If a file is damaged.
        StoreError: If an address cannot be read.
    """
    with run_on_disk(place) as path:
        facts = _describe(path)
    if disk_path(place) is None:  # where it is, and not where its copy was
        model = facts.get("model", facts)
        model["path"] = model["path"].replace(str(path), address_of(place))
    return facts


def _describe(path: Path) -> dict[str, Any]:
    if not (path / RUN).is_file():
        return _describe_model(find_model(path))
    damaged = run_damages(path)
    if damaged:
        more = f"; and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        raise TrainingError("; ".join(f"{one.name} {one.what}" for one in damaged[:5]) + more, str(path), _FIX)
    run, facts = RunFolder(path), read_run(path)
    described: dict[str, Any] = {
        "recipe": facts["recipe"]["name"],
        "finished": run.final.is_dir(),
        "store": facts["store"],
        "seamo": facts["environment"]["seamo"],
        "code": facts["environment"]["code"],
    }
    if "mix" in facts:
        described["mix"] = {str(n): one for n, one in enumerate(facts["mix"], start=1)}
    if (path / CURVES).is_file():
        curves = read_curves(path)
        if curves:
            described["last"] = {name: curves[name][-1] for name in ("step", "stage", "epoch", "loss", "lr")}
            found = what_was_learnt(curves, int(curves["stage"][-1]))
            if found:
                described["learnt"] = {one.sensor: in_words(one) for one in found}
    described |= _probed(path)
    described["checkpoints"] = [one.name for one in checkpoints(run.checkpoints)]
    if described["finished"] or described["checkpoints"]:
        described["model"] = _describe_model(run.final if described["finished"] else checkpoints(run.checkpoints)[-1])
    return described


def _probed(path: Path) -> dict[str, Any]:
    """The last probe of a run against its first, where it was probed."""
    rows = read_probes(path)
    start = first_of(rows)
    if start is None or rows[-1].step == 0:
        return {}
    said: dict[str, Any] = {head: asdict(one) for head, one in gains(rows[-1], start).items()}
    return {"probe": {"step": rows[-1].step, "images": len(rows[-1].right[HEADS[0]]), **said}}


def _describe_model(path: Path) -> dict[str, Any]:
    card = read_card(path)
    check_weights(path / WEIGHTS, card)
    config = parse_config(card["config"])
    seasons = 4 if config.temporal else 1
    facts: dict[str, Any] = {
        "path": str(path),
        "holds": "tokenizers and encoder" if holds_encoder_alone(card) else "the whole model",
        "sensors": {sensor: " ".join(bands) for sensor, bands in config.bands.items()},
        "size": config.size,
        "patch": config.patch,
        "encoder": f"{config.depth} blocks of {config.dim}, {config.heads} heads",
        "weights_bytes": card["weights"]["bytes"],
        "training_gflop_a_location": round(pretraining_flops(config, seasons=seasons).training / 1e9, 3),
        "normalisation": {sensor: numbers["source"] for sensor, numbers in card["normalisation"].items()},
        "provenance": card["provenance"],
    }
    if (path / FACTS).is_file():
        said = read_checkpoint_facts(path)
        damaged = next(checkpoint_damages(path, said), None)
        if damaged:
            raise TrainingError(f"{damaged.name} {damaged.what}", str(path), _FIX)
        facts["checkpoint"] = {**asdict(said.progress), "loss": said.loss}
    return facts
