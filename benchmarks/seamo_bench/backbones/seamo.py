"""SeaMo: a run's folder, one of its checkpoints or an exported folder; and the same architecture with random weights.

Names: `PATH` normalises with the kind of the model's card and the statistics of the store at hand (data sets differ in
product level); `PATH@pretrain` with the statistics of pretraining; `PATH@random:SEED` is the architecture of PATH
with random weights, `PATH@pretrain+random:SEED` the same with the statistics of pretraining; `seamo-random` is
`seamo-base` with random weights of seed 0.

Two more words behind `@` say how an image is looked at. `tiles`: as the store has it, cut into tiles of the model's own
size; without it images are resized to that size, and a model of small images sees half of the pixels that it learned
from. `std`: beside the mean of all tokens their standard deviation, which holds how much an image varies whatever was
learnt. `PATH@pretrain+tiles+std`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamo.bands import S1, S2_L2A, Unit
from seamo.errors import UsageError
from seamo.inputs.pretrained import RESIZE, expects_of
from seamo.model.card import read_card
from seamo.model.files import CARD
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.network import Network

NUM_LEVELS = 4
_WORDS = ("pretrain", "tiles", "std")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+://[^/]+/[^@]*)(?:@(.*))?")

_RANDOM = BackboneCard(
    id="seamo-random",
    family="seamo",
    title="SeaMo base, random init",
    inputs=(
        InputSpec("s2", S2_L2A, Unit.DN, (Step("store-2std"),), "store", product="L2A", fill=0.5),
        InputSpec("s1", S1, Unit.DB, (Step("store-2std"),), "store", product="GRD", fill=0.5),
    ),
    embed_dim=768,
    size=128,
    multiple_of=8,
    pos_interp="sine-cosine, computed for the grid",
    pooling="mean of all tokens after the final norm",
    levels=((768, 8),) * NUM_LEVELS,
    code_licence="Apache-2.0",
    availability="none needed",
    source="arXiv 2412.19237; this project",
    verified=("package",),
    variant=(("floor", "random init"), ("seed", 0)),
    resize=RESIZE,
)


def card_of(name: str) -> BackboneCard | None:
    """The card of a folder or address that holds a SeaMo model; None if `name` names no such folder.

    Raises:
        UsageError: If what stands behind `@` is none of `pretrain`, `tiles`, `std` and `random:SEED`.
        CheckpointError: If the folder's card is damaged.
    """
    address = _ADDRESS.fullmatch(name)  # whose account may have an @
    path, how = (address[1], address[2] or "") if address else (name.partition("@")[0], name.partition("@")[2])
    # A relative name would be looked for under --weights.
    folder = _brought(path) if address else _model_folder(Path(path).absolute())
    if folder is None:
        return None
    words, seed = _how(how, name)
    described = read_card(folder)
    config, provenance = described["config"], described["provenance"]
    own, tiles, spread = (word in words for word in _WORDS)
    run = _run_name(folder)
    suffix = "-pretrain-statistics" * own + "-tiles" * tiles + "-mean-std" * spread
    variant = dict(_variant(provenance, run))
    group = f"{variant['group']}{suffix}"
    note = ", statistics of pretraining" * own + ", native tiles" * tiles + ", mean and std" * spread
    looks = (("tile", int(config["size"])),) * tiles + (("pooling", "mean-std"),) * spread
    card = replace(
        _RANDOM,
        id=f"{run}{suffix}",
        title=f"SeaMo ({run}{note})",
        inputs=expects_of(described, run, own=config["bands"] if own else ()).inputs,
        embed_dim=int(config["dim"]) * (2 if spread else 1),
        size=0 if tiles else int(config["size"]),
        multiple_of=int(config["size"] if tiles else config["patch"]),
        pooling=f"mean {'and standard deviation ' * spread}of all tokens after the final norm",
        levels=((int(config["dim"]), int(config["patch"])),) * min(NUM_LEVELS, int(config["depth"])),
        availability="weights",
        weights=Weights((), str(folder / "model.safetensors"), "of the run", sha256=described["weights"]["sha256"]),
        pretrained_on=_pretrained_on(provenance),
        variant=(*{**variant, "group": group}.items(), *looks),
        pretraining=_pretraining(described),
    )
    if seed is None:
        return card
    return replace(
        card,
        id=f"{card.id}-random-{seed}",
        title=f"SeaMo ({variant['group']}, random init{note})",
        availability="none needed",
        weights=None,
        pretrained_on=(),
        pretraining=tuple(_flat(config, "model")),
        variant=(
            ("floor", "random init"),
            ("seed", seed),
            ("group", f"{group}-random"),
            ("pretraining_seed", seed),
            ("config", json.dumps(config, sort_keys=True)),
            *looks,
        ),
    )


def _how(text: str, name: str) -> tuple[set[str], int | None]:
    """What stands behind `@`: words of `_WORDS`, and the seed of random weights."""
    words, seed = set[str](), None
    for part in text.split("+") if text else ():
        if part in _WORDS:
            words.add(part)
        elif part.startswith("random:") and part[7:].isdecimal():
            seed = int(part[7:])
        else:
            raise UsageError(f"{part!r} behind @ is neither {', '.join(_WORDS)} nor random:SEED", where=name)
    return words, seed


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """The encoder. The seed of random weights is the card's; `seed` is added to it.

    Args:
        card: Its inputs hold the sensors and bands that will be fed; with policy `new-tokenizer` what the model does
            not have just so gets a new tokenizer.
        weights: `model.safetensors` inside a model's folder; None for random weights.
        seed: 0, or the seed of a training run that starts from random weights or new tokenizers.
    """
    import torch

    from seamo.model.checkpoint import load_model
    from seamo.model.config import SeaMoConfig, parse_config, stage_one
    from seamo.model.seamo import SeaMo
    from seamo.use.bands import new_tokenizer
    from seamo_bench.networks.seamo import SeaMoNetwork

    if weights is not None:
        model, _ = load_model(weights.parent)
    else:
        options = dict(card.variant)
        config = parse_config(json.loads(str(options["config"]))) if "config" in options else SeaMoConfig()
        generator = torch.Generator().manual_seed(int(str(options["seed"])) + 1000 * seed)
        model = SeaMo(stage_one(config), generator=generator)  # the encoder is the same in both stages
    bands, new = {one.sensor: one.bands for one in card.inputs}, list[str]()
    if card.missing == "new-tokenizer":
        new = [sensor for sensor, names in bands.items() if model.config.bands.get(sensor) != names]
        model = new_tokenizer(model, bands, torch.Generator().manual_seed(seed))
    looks = dict(card.variant)
    return SeaMoNetwork(
        model, bands, num_levels=len(card.levels), new=new, tiled="tile" in looks, spread="pooling" in looks
    ).eval()


def _narrow(card: BackboneCard) -> BackboneCard:
    """The same architecture, narrow: what `--budget demo` trains instead of a random `seamo-base`.

    Only for `seamo-random`; what is made of a run keeps the run's own shape.
    """
    if card.id != _RANDOM.id:
        return card
    bands = {one.sensor: list(one.bands) for one in card.inputs}
    config = {"bands": bands, "size": 128, "patch": 16, "dim": 64, "depth": 4, "heads": 4}
    return replace(
        card,
        title=f"{card.title}, narrow for the demo budget",
        embed_dim=64,
        multiple_of=16,
        levels=((64, 16),) * NUM_LEVELS,
        variant=(*card.variant, ("config", json.dumps(config, sort_keys=True))),
    )


def _brought(address: str) -> Path | None:
    """The model of an address, brought to this disk for as long as the process needs it; None if there is none."""
    from seamo.pretrain.places import check_model

    check_model(address)
    from seamo.pretrain.fetched import model_folder

    return model_folder(address)


def _model_folder(path: Path) -> Path | None:
    for folder in (path, path / "final"):
        if (folder / CARD).is_file():
            return folder
    return None


def _run_name(folder: Path) -> str:
    folder = folder.resolve()
    if folder.name == "final":
        return folder.parent.name
    return f"{folder.parent.parent.name}-{folder.name}" if folder.parent.name == "checkpoints" else folder.name


def _pretrained_on(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    known = provenance.get("pretrained_on")
    if isinstance(known, list):  # of a mixture
        return tuple(one for one in known if isinstance(one, str))
    return (known,) if isinstance(known, str) else ()


def _pretraining(described: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What decided a pretraining but its seed: settings, steps, data; of cards without settings what else they say."""
    made = described["provenance"]
    settings = made.get("settings")
    if not isinstance(settings, Mapping):
        settings = {name: made.get(name) for name in ("recipe", "crop", "stacks")} | {"model": described["config"]}
    store = made.get("store")
    data = {"content": store.get("content"), "samples": made.get("samples")} if isinstance(store, Mapping) else {}
    told = {**settings, "stage": made.get("stage"), "step": made.get("step"), "pretrained_on": data}
    return tuple(sorted(_flat(told)))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value, sort_keys=True)


def _variant(provenance: Mapping[str, Any], run: str) -> tuple[tuple[str, str | int], ...]:
    """Runs that differ only in their seed are one group: named by the run's folder without its seed."""
    seed = provenance.get("seed")
    if not isinstance(seed, int):
        return (("group", run),)
    group = run
    for tail in (f"-seed{seed}", f"-seed-{seed}", f"-s{seed}", f"-{seed}"):
        group = group.removesuffix(tail)
    return (("group", group), ("pretraining_seed", seed))


FAMILY = Family(cards=(_RANDOM,), load=load, selects_columns=True, new_tokenizer=True, card_of=card_of, narrow=_narrow)
