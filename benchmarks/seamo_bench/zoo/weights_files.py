"""Checkpoint files on disk: fetched with their licence accepted, converted to safetensors, checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from seamo.download import Progress, RemoteFile, download
from seamo.errors import CheckpointError, DownloadError
from seamo.identity import file_sha256, write_atomically
from seamo.licences import accept_licence
from seamo_bench.card import BackboneCard
from seamo_bench.family import KeyRules
from seamo_bench.weights import CONVERTED, Coverage, check_values, converted_for, match, open_checkpoint, tensors_at
from seamo_bench.zoo.catalogue import Found, check_published
from seamo_bench.zoo.loading import load_network


@dataclass(frozen=True, slots=True)
class Checked:
    """What a checkpoint file is.

    Args:
        coverage: What became of every key and parameter.
        sha256: Of the file.
        published: How size and hashes compare with the published ones: `matches`, `differs` or `unknown`.
        fingerprint: Mean, standard deviation and first four values of the pooled feature of `probe_inputs`, rounded.
        constant: Keys of weights that hold one number over and over.
    """

    coverage: Coverage
    sha256: str
    published: str
    fingerprint: tuple[float, ...]
    constant: tuple[str, ...] = ()


def fetch_weights(
    card: BackboneCard,
    folder: Path,
    *,
    accept: str = "",
    on_progress: Progress | None = None,
    now: datetime | None = None,
) -> Path:
    """Bring a card's checkpoint into a folder, size and hash checked as far as they are published.

    Args:
        card: The backbone.
        folder: Where the file goes; made if it is not there.
        accept: Licence that the user accepts, where it forbids commercial use; remembered in the folder.
        on_progress: Called with (bytes so far, bytes expected or None).
        now: Time of acceptance, for tests.

    Raises:
        UsageError: If a non-commercial licence has not been accepted.
        CheckpointError: If there are no public weights or no direct link.
        DownloadError: As `seamo.download`, and if the hash is not the published one.
    """
    weights = card.weights
    if weights is None:
        raise CheckpointError(f"has no weights to fetch ({card.availability})", card.id)
    folder.mkdir(parents=True, exist_ok=True)
    if weights.noncommercial:
        what = f"its weights are licensed {weights.licence}: not for commercial use"
        accept_licence(folder, weights.licence, accept, what=what, where=card.id, now=now)
    if not weights.urls:
        raise CheckpointError("has no direct link", card.id, f"{weights.how} Save it as {folder / weights.filename}.")
    whole = weights.sha256 if len(weights.sha256) == 64 else None
    remote = RemoteFile(weights.filename, weights.urls, weights.bytes, weights.md5 or None, whole)
    path = download(remote, folder, on_progress=on_progress)
    if weights.sha256 and not file_sha256(path).startswith(weights.sha256):
        quarantine = path.with_name(f"{path.name}.quarantine")
        path.replace(quarantine)
        raise DownloadError(f"its sha256 does not begin with {weights.sha256}", str(quarantine), "Fetch it again.")
    return path


def coverage_of(found: Found, path: Path) -> tuple[Coverage, dict[str, torch.Tensor]]:
    """Match a file with a backbone on the meta device, and hand out the file's tensors.

    Raises:
        CheckpointError: As `seamo_bench.weights.match`.
    """
    family = found.family
    if family.build is None:
        raise CheckpointError("its family states no key rules", found.card.id, "It loads its weights in its own way.")
    if found.card.weights is None:
        raise CheckpointError("there is no published file of it to compare with", found.card.id)
    rules = family.rules_of(found.card)
    with torch.device("meta"):
        wanted = family.build(found.card).state_dict()
    owner = converted_for(path)
    if owner:
        if owner != found.card.owner:  # a card with quirks has the weights of the card without
            raise CheckpointError(f"was converted for {owner}, not for {found.card.id}", str(path))
        state = open_checkpoint(path)
        rules = KeyRules(init=rules.init)
    else:
        state = tensors_at(open_checkpoint(path), rules, str(path))
    return match(wanted, state, rules, where=str(path)), state


def convert(found: Found, source: Path, folder: Path) -> Path:
    """Write the encoder of a published file as safetensors, with a JSON card beside it.

    Args:
        found: The backbone.
        source: The published file.
        folder: Where `<backbone>.safetensors` and `.json` go.

    Raises:
        CheckpointError: If the file does not fit the backbone, key by key, or is not the published one.
    """
    coverage, state = coverage_of(found, source)
    check_values({key: state[key] for key in coverage.consumed}, str(source))
    if found.card.weights is not None:
        check_published(found.card.id, found.card.weights, source)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{found.card.id}.safetensors"
    part = folder / f"{found.card.id}.part"
    tensors = {name: state[key].contiguous().clone() for key, name in coverage.consumed.items()}
    save_file(tensors, part, metadata={CONVERTED: found.card.id, "format": "pt"})
    weights = found.card.weights
    card: dict[str, Any] = {
        "backbone": found.card.id,
        "source": list(weights.urls) if weights else [],
        "source_file": source.name,
        "source_sha256": file_sha256(source),
        "sha256": file_sha256(part),
        "licence": weights.licence if weights else "",
        "noncommercial": weights.noncommercial if weights else False,
        "key_map": dict(coverage.consumed),
        "dropped": list(coverage.dropped),
        "initial": list(coverage.initial),
    }
    write_atomically(target.with_suffix(".json"), json.dumps(card, indent=1).encode())
    part.chmod(target.with_suffix(".json").stat().st_mode)  # safetensors lets nobody else read it
    part.replace(target)
    return target


def check(found: Found, path: Path) -> Checked:
    """Key coverage and a feature fingerprint of a file.

    Raises:
        CheckpointError: If the file does not fit the backbone, or is dead: see `seamo_bench.weights.check_values`; or
            two images of noise have the same features, or features that are not finite.
    """
    coverage, state = coverage_of(found, path)
    constant = check_values({key: state[key] for key in coverage.consumed}, str(path))
    network = load_network(found.family, found.card, path, 0)
    with torch.inference_mode():
        pooled, other = (network.forward_features(probe_inputs(found.card, seed)).pooled[0].double() for seed in (0, 1))
    if not pooled.isfinite().all():
        raise CheckpointError("gives features that are not finite", str(path), _DEAD)
    if torch.allclose(pooled, other, rtol=1e-6, atol=0.0):
        raise CheckpointError("gives the same features for every image", str(path), _DEAD)
    numbers = [pooled.mean().item(), pooled.std().item(), *pooled[:4].tolist()]
    return Checked(
        coverage, file_sha256(path), _published(found, path), tuple(round(number, 4) for number in numbers), constant
    )


_DEAD = "The file is damaged, or was saved before it was trained."


def _published(found: Found, path: Path) -> str:
    """What is known about the file: whether size, sha256 and md5 are the published ones."""
    weights = found.card.weights
    if converted_for(path) or weights is None or not (weights.sha256 or weights.md5):
        return "unknown"
    try:
        check_published(found.card.id, weights, path)
    except CheckpointError:
        return "differs"
    return "matches"


def probe_inputs(card: BackboneCard, seed: int = 0) -> Mapping[str, torch.Tensor]:
    """One image of uniform noise for each sensor; the first where they are alternatives of one stem."""
    generator = torch.Generator().manual_seed(seed)
    size = card.size or 32
    specs = card.inputs if len({len(spec.bands) for spec in card.inputs}) > 1 or card.joint else card.inputs[:1]
    return {spec.sensor: torch.rand(1, len(spec.bands), size, size, generator=generator) for spec in specs}


def guess(path: Path, known: Mapping[str, Found]) -> list[Found]:
    """Backbones that a file may belong to: by its conversion mark, else by its published name."""
    owner = converted_for(path)
    if owner:
        return [known[owner]] if owner in known else []
    return [one for one in known.values() if one.card.weights is not None and one.card.weights.filename == path.name]
