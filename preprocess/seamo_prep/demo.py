"""Demo archives: small synthetic stand-ins in the published layouts, one folder a data set."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from seamo.addresses import local_path
from seamo.errors import UsageError
from seamo.testing.world import Form, World
from seamo_prep.archives import archive_ids, load_archive
from seamo_prep.unpack import SYNTHETIC
from seamo_prep.workers import deaf_workers, ended_with_us

Size = Literal["tiny", "small"]
DEMO_SEED = 7


class _World(TypedDict):
    """What of the synthetic world an archive shows, as its declaration says."""

    seed: int
    seasons: bool
    size: Size
    form: NotRequired[Form]  # only of the drawn forms, so that archives of the plain one stay what they were


def write_demos(
    raw: Path,
    *,
    only: Sequence[str] = (),
    size: Size = "tiny",
    seasons: bool = True,
    seed: int = DEMO_SEED,
    form: Form = "plain",
    workers: int = 2,
    tell: Callable[[str, str], None],
) -> list[Path]:
    """Write `raw/<id>` for every data set; an archive that is complete is kept as it is.

    Args:
        raw: Where the folders go.
        only: Ids; empty takes all.
        size: `tiny` for tests, `small` for `make demo`.
        seasons: False stops the phenology of the synthetic world.
        seed: Chooses the world: other places, materials and weather, the same rules.
        form: How the world is drawn: see `World`.
        workers: Processes.
        tell: Called with (id, what happened).

    Returns:
        The folders, in the order of ids.

    Raises:
        UsageError: For an unknown id, or a folder of that name that is no demo archive or one of another world or size.
    """
    known = (*archive_ids(), "folder")
    ids = tuple(dict.fromkeys(only)) or archive_ids()
    for dataset_id in ids:
        if dataset_id not in known:
            raise UsageError(f"no data set {dataset_id!r}", fix=f"Known: {', '.join(known)}.")
    raw = local_path(raw)
    raw.mkdir(parents=True, exist_ok=True)
    world: _World = {"seed": seed, "seasons": seasons, "size": size}
    if form != "plain":
        world["form"] = form
    missing = []
    for dataset_id in ids:
        declared = raw / dataset_id / SYNTHETIC
        if declared.is_file():
            found = json.loads(declared.read_bytes())
            if found.get("world") != world:
                what = f"is there already and shows another world ({found.get('world')}, asked for {world})"
                raise UsageError(what, str(raw / dataset_id), "Remove it, or name another folder.")
            tell(dataset_id, f"kept ({found['what']})")
        elif (raw / dataset_id).exists():
            # Archives are renamed into place whole, so this is none of ours, and perhaps somebody's data.
            raise UsageError("is there already and is no demo archive", str(raw / dataset_id), "Name another folder.")
        else:
            missing.append(dataset_id)
    if workers == 1 or len(missing) < 2:
        for dataset_id in missing:
            _write(dataset_id, raw, world)
            tell(dataset_id, "written")
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool, ended_with_us():
            with deaf_workers():
                running = {pool.submit(_write, dataset_id, raw, world): dataset_id for dataset_id in missing}
            for future in as_completed(running):
                future.result()
                tell(running[future], "written")
    return [raw / dataset_id for dataset_id in ids]


def _write(dataset_id: str, raw: Path, world: _World) -> None:
    part = raw / f".{dataset_id}.partial"
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    part.mkdir()
    shown = World(world["seed"], seasons=world["seasons"], form=world.get("form", "plain"))
    load_archive(dataset_id).demo(part, shown, world["size"])
    # The world is part of what a store is made from: files of two worlds have the same names and often the same sizes.
    declared = part / SYNTHETIC
    declared.write_text(json.dumps(json.loads(declared.read_bytes()) | {"world": world}, indent=1) + "\n")
    part.rename(raw / dataset_id)
