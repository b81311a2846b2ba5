"""Reference outputs of official model codes, compared field by field with our networks.

The folder format (`card.json`, published-format checkpoints, `case_*.safetensors`) is described in the README that
comes with the outputs; `golden_rigs` knows how each model is fed.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as read_tensors
from torch import Tensor

from seamo.errors import CheckpointError, SeamoError, UsageError
from seamo_bench.card import BackboneCard, Option
from seamo_bench.network import Network
from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.golden_rigs import RIGS, Case, Rig
from seamo_bench.zoo.loading import load_network

# An 8-bit rule may put a value that lies on the edge of a step on either side: 1/255, on this share of the pixels.
EDGE_SHARE = 1e-3
EDGE_STEP = 1 / 255 + 1e-6
ROUNDINGS = 32  # of float32 at a field's largest value that processors may lie apart, whatever tolerance a card asks
# What an unforeseen fixture can make fail; each becomes a row, so that the other models are still compared.
_FAILURES = (SeamoError, OSError, LookupError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One compared field.

    Args:
        id: model/case/field.
        model: Folder's model.
        case: Input case; empty for what concerns the whole model.
        field: Name of the reference field.
        max_abs: Largest absolute difference; None where nothing could be compared.
        verdict: `ok`, `outside` (of the card's tolerance), `unknown field`, or `outside: <why>` where it failed.
    """

    id: str
    model: str
    case: str
    field: str
    max_abs: float | None
    verdict: str


def models_in(folder: Path) -> list[Path]:
    """Model folders (those with a `card.json`) in a folder of reference outputs, sorted; the folder may be one itself.

    Raises:
        UsageError: If there is none.
    """
    if (folder / "card.json").is_file():
        return [folder]
    found = sorted(path.parent for path in folder.rglob("card.json"))
    if not found:
        raise UsageError("holds no card.json", str(folder), "Give a folder of reference outputs.")
    return found


def compare_model(folder: Path) -> Iterator[GoldenRow]:
    """Compare one model with its reference outputs.

    Args:
        folder: Holds `card.json`, the checkpoint(s) and the cases.

    Yields:
        One row a field; a model that cannot be built or loaded, and a case that fails, give one row that says why.
    """
    facts = json.loads((folder / "card.json").read_text())
    model = str(facts["model"])
    rig = RIGS.get(model)
    if rig is None:
        yield GoldenRow(f"{model}//", model, "", "", None, "outside: no backbone for this model")
        return
    try:
        card = shrunk_card(rig, facts)
        files = [folder / entry["file"] for entry in facts["checkpoint"]]
        network = _load(rig, card, files[0])
        for extra in files[1:]:
            yield _same_weights(model, extra, network, _load(rig, card, extra))
    except _FAILURES as error:
        yield GoldenRow(f"{model}//checkpoint", model, "", "checkpoint", None, f"outside: {error}")
        return
    for entry in facts["cases"]:
        yield from _compare_case(folder, facts, entry, rig, card, network)


def shrunk_card(rig: Rig, facts: Mapping[str, Any]) -> BackboneCard:
    """Our card with the constructor numbers of the reference network in place of the published ones."""
    card = cards()[rig.backbone].card
    given = facts["constructor"].get("shrunk", {})
    variant = tuple((name, _option(given.get(rig.alias.get(name, name), value))) for name, value in card.variant)
    return replace(card, variant=variant)


def _option(value: Any) -> Option:
    if isinstance(value, str):  # "Bottleneck (1x1, ...)" -> "bottleneck", "BasicBlock" -> "basic"
        return value.split()[0].lower().removesuffix("block")
    if isinstance(value, list | tuple):
        inner = tuple(tuple(item) if isinstance(item, list | tuple) else item for item in value)
        return inner[0] if len(inner) == 1 and isinstance(inner[0], int) else inner
    option: Option = value
    return option


def _load(rig: Rig, card: BackboneCard, path: Path) -> Network:
    return load_network(cards()[rig.backbone].family, card, path, 0)


def _same_weights(model: str, path: Path, one: Network, other: Network) -> GoldenRow:
    differences = [(a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    worst = max(differences)
    return GoldenRow(f"{model}//{path.name}", model, "", path.name, worst, "ok" if worst == 0 else "outside")


def _compare_case(
    folder: Path, facts: Mapping[str, Any], entry: Mapping[str, Any], rig: Rig, card: BackboneCard, network: Network
) -> Iterator[GoldenRow]:
    model, name = str(facts["model"]), str(entry["name"])
    tensors = read_tensors(folder / entry["file"])
    missing = set(entry.get("fields", {})) - set(tensors)
    for field in sorted(missing):
        yield GoldenRow(f"{model}/{name}/{field}", model, name, field, None, "outside: the file lacks this field")
    try:
        with torch.inference_mode():
            found = rig.feed(network, card, Case(name, tensors, entry, facts))
    except _FAILURES as error:
        yield GoldenRow(f"{model}/{name}/", model, name, "", None, f"outside: {error}")
        return
    tolerance = facts["tolerance"]
    for field, wanted in tensors.items():
        if field not in found and any(fnmatchcase(field, pattern) for pattern in ("input.*.raw", *rig.given)):
            continue  # what the case is fed with
        where = f"{model}/{name}/{field}"
        if field not in found:
            yield GoldenRow(where, model, name, field, None, "unknown field")
        elif found[field].shape != wanted.shape:
            what = f"outside: shape {tuple(found[field].shape)}, not {tuple(wanted.shape)}"
            yield GoldenRow(where, model, name, field, None, what)
        else:
            worst, fine = _compare(found[field], wanted, field, atol=tolerance["atol"], rtol=tolerance["rtol"])
            finite = worst if math.isfinite(worst) else None
            yield GoldenRow(where, model, name, field, finite, "ok" if fine else "outside")


def _compare(found: Tensor, wanted: Tensor, field: str, *, atol: float, rtol: float) -> tuple[float, bool]:
    if not wanted.is_floating_point():
        return (found.double() - wanted.double()).abs().max().item(), torch.equal(found.to(wanted.dtype), wanted)
    difference = (found.double() - wanted.double()).abs()
    worst = difference.max().item()
    if not field.startswith("input."):  # of a network: sums are rounded at their largest terms, in any order
        atol = max(atol, ROUNDINGS * torch.finfo(torch.float32).eps * wanted.abs().max().item())
    if torch.allclose(found.double(), wanted.double(), atol=atol, rtol=rtol):
        return worst, True
    edges = difference > atol
    on_edge = field.endswith(".norm") and worst <= EDGE_STEP and edges.double().mean().item() <= EDGE_SHARE
    return worst, on_edge


def compare(folder: Path) -> Iterator[GoldenRow]:
    """Compare every model in a folder of reference outputs.

    Args:
        folder: See `models_in`.

    Raises:
        UsageError: If the folder holds no reference outputs.
        CheckpointError: If a `card.json` cannot be read.
    """
    for path in models_in(folder):
        try:
            yield from compare_model(path)
        except (json.JSONDecodeError, KeyError) as error:
            raise CheckpointError(f"is not a reference card ({error!r})", str(path / "card.json")) from error
