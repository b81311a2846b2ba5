"""The model card of an exported encoder: README.md with YAML front matter, as Hugging Face's hub reads it.

Source of the fields: https://huggingface.co/docs/hub/model-cards.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from seamo.escapes import markdown, markdown_table
from seamo.licences import hub_licence


def model_card(name: str, card: Mapping[str, Any]) -> str:
    """README.md beside `model.safetensors`. What the card does not say is not in it.

    Args:
        name: Of the model.
        card: What `seamo.model.card.read_card` gives.
    """
    config, made = card["config"], card["provenance"]
    licence = str(card.get("licence", "not stated"))
    data: Mapping[str, Mapping[str, str]] = made.get("data", {})
    store = made.get("store")
    about = store if isinstance(store, Mapping) else {}
    is_synthetic = bool(about.get("synthetic"))
    front: dict[str, Any] = {
        "license": hub_licence(licence),
        "library_name": "seamo",
        "tags": ["remote-sensing", *config["bands"], *(["synthetic"] if is_synthetic else [])],
    }
    if data:
        front["datasets"] = list(data)
    facts = {
        "Weights": f"{card['weights']['bytes']:,} bytes, sha256 {card['weights']['sha256']}",
        "Licence of the weights": licence,
        "Image side, patch (pixels)": f"{config['size']}, {config['patch']}",
        "Width, depth, heads": f"{config['dim']}, {config['depth']}, {config['heads']}",
        "Recipe": made.get("recipe"),
        "Trained on": about.get("title"),
        "Samples": made.get("samples"),
        "Step": made.get("step"),
        "Seed": made.get("seed"),
        "seamo": card["seamo"],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {markdown(name)}",
        "Tokenizers and encoder of a SeaMo model, for satellite images.",
        *(["It was trained on synthetic images: its features mean nothing on the ground."] if is_synthetic else []),
        markdown_table(("what", "is"), [(what, said) for what, said in facts.items() if said not in (None, "")]),
        "## Inputs",
        "Bands in this order, normalised with these numbers.",
        markdown_table(("sensor", "band", "unit", "normalisation", "mean", "std"), _inputs(card)),
    ]
    if data:
        rows = [(one, said["licence"], said["attribution"] or "not stated") for one, said in data.items()]
        parts += ["## Data", markdown_table(("data set", "licence", "attribution"), rows)]
    first = next(iter(config["bands"]))
    parts += [
        "## Use",
        f'```python\nfrom seamo.use.export import load_module\n\nmodule = load_module("FOLDER", "{first}")\n```',
        "`card.json` says the same for programs; `checksums.json` seals it and the weights.",
    ]
    return "\n\n".join(parts) + "\n"


def _inputs(card: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows = []
    for sensor, names in card["config"]["bands"].items():
        how = card["normalisation"][sensor]
        rows += [(sensor, one, how["unit"], how["kind"], how["mean"][one], how["std"][one]) for one in names]
    return rows
