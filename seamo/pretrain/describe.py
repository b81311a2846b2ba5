"""What a run or a model is, as plain facts."""

from pathlib import Path
from typing import Any

from seamo.model.checkpoint import ENCODER_FORMAT, read_card
from seamo.model.config import parse_config
from seamo.model.flops import pretraining_flops
from seamo.pretrain.checkpoint import FACTS, checkpoints, describe_checkpoint
from seamo.pretrain.journal import CURVES, read_curves
from seamo.pretrain.places import RUN, RunFolder
from seamo.pretrain.run import find_model, read_run


def describe(path: Path) -> dict[str, Any]:
    """Facts of a run, a checkpoint or a model.

    Raises:
        UsageError: If the folder is none of them.
    """
    if not (path / RUN).is_file():
        return _describe_model(find_model(path))
    run, facts = RunFolder(path), read_run(path)
    described: dict[str, Any] = {
        "recipe": facts["recipe"]["name"],
        "finished": run.final.is_dir(),
        "store": facts["store"],
        "seamo": facts["environment"]["seamo"],
        "code": facts["environment"]["code"],
    }
    if (path / CURVES).is_file():
        curves = read_curves(path)
        if curves:
            described["last"] = {name: curves[name][-1] for name in ("step", "stage", "epoch", "loss", "lr")}
    described["checkpoints"] = [one.name for one in checkpoints(run.checkpoints)]
    if described["finished"] or described["checkpoints"]:
        described["model"] = _describe_model(run.final if described["finished"] else checkpoints(run.checkpoints)[-1])
    return described


def _describe_model(path: Path) -> dict[str, Any]:
    card = read_card(path)
    config = parse_config(card["config"])
    seasons = 4 if config.temporal else 1
    facts: dict[str, Any] = {
        "path": str(path),
        "holds": "tokenizers and encoder" if card["format"] == ENCODER_FORMAT else "the whole model",
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
        facts["checkpoint"] = {name: value for name, value in describe_checkpoint(path).items() if name != "files"}
    return facts
