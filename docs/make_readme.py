"""Writes the figures of README.md from docs/figures/demo.json: `python docs/make_readme.py [--run FOLDER]`.

`--run` measures first: act 2 of the demo in several synthetic worlds and with several seeds of pretraining. The recipe
was chosen with none of them. A test holds the README against the kept figures.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "figures" / "demo.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: make readme-figures writes from here -->\n", "<!-- to here -->\n"
WORLDS, SEEDS = (505, 606), (20, 21, 22)
PROTOCOLS = ("logreg", "knn")
SCRATCH = ROOT / "docs" / "figures" / "resnet18.yaml"  # one cell, of the protocol finetune
MEAN = "seamo-demo-pretrain-statistics-tiles"
POOLINGS = {"mean": MEAN, "mean + std": f"{MEAN}-mean-std"}
ROWS = {
    "image-statistics": "image statistics",
    "texture-statistics": "statistics + autocorrelation + band ratios",
    "tokenizer-statistics": "tokenizer, untrained, mean + std",
    **{
        f"{row}{twin}": f"{title} ({{seeds}}), {pooling}"
        for pooling, row in POOLINGS.items()
        for twin, title in (("", "SeaMo, pretrained"), ("-random", "the same network, random weights"))
    },
}
YARDSTICKS = {
    "zero": "zero",
    "mean": "mean of the visible",
    "nearest": "nearest visible patch",
    "oracle": "its own band means",
}


def table(kept: Mapping[str, Any]) -> str:
    """The table of the README, in Markdown."""
    worlds = list(kept["worlds"])
    columns = [(world, protocol) for protocol in PROTOCOLS for world in worlds]
    lines = [
        f"Top-1 in percent on {kept['num_test']} test images of a synthetic EuroSAT; frozen features, 95 % intervals.",
        "",
        f"| backbone | {' | '.join(f'`{protocol}`, world {world}' for world, protocol in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    seeds = f"{len(kept['seeds'])} seed" + "s" * (len(kept["seeds"]) > 1)
    for backbone, title in ROWS.items():
        cells = [kept["worlds"][world]["scores"][backbone][protocol] for world, protocol in columns]
        shown = " | ".join(map(_shown, cells))
        lines.append(f"| {title.format(seeds=seeds)} | {shown} |")
    told = []
    for pooling in POOLINGS:
        gains = [kept["worlds"][world]["gains"][pooling][protocol][:3] for world, protocol in columns]
        shown = " | ".join(f"{100 * mid:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]" for mid, low, high in gains)
        lines.append(f"| *pretrained minus random weights, {pooling}* | {shown} |")
        above, below = sum(low > 0 for _, low, _ in gains), sum(high < 0 for _, _, high in gains)
        told.append(f"with {pooling} {above} of {len(gains)} intervals lie above 0 and {below} below")
    scratch = " and ".join(
        f"{_shown(one['scores']['resnet18']['finetune'])} in world {world}" for world, one in kept["worlds"].items()
    )
    beside = f"ResNet-18, trained from scratch on the same labels by `finetune` (one seed): {scratch}."
    paired = "samples and seeds" if len(kept["seeds"]) > 1 else "samples, and one seed says nothing of others"
    lines += ["", f"{beside} Differences are paired over {paired}: {'; '.join(told)}. {losses(kept)}"]
    return "\n".join(lines) + "\n"


def _shown(score: Sequence[float]) -> str:
    mid, low, high = score
    return f"{100 * mid:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def losses(kept: Mapping[str, Any]) -> str:
    """What the runs say of their loss at the end of stage 1, beside the trivial predictors of the same patches."""
    told = []
    for world, one in kept["worlds"].items():
        runs = list(one["learnt"].values())
        mean = {name: sum(run[name] for run in runs) / len(runs) for name in ("loss", *YARDSTICKS)}
        beside = ", ".join(f"{title} {mean[name]:.3f}" for name, title in YARDSTICKS.items())
        told.append(f"world {world}: **{mean['loss']:.3f}** ({beside})")
    return f"Squared error on hidden patches of Sentinel-2 at the end of stage 1, {'; '.join(told)}."


def written(readme: str, kept: Mapping[str, Any]) -> str:
    """The README with the table of the kept figures between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(kept) + END + after


def measure(folder: Path, worlds: Sequence[int], seeds: Sequence[int]) -> None:
    """Run the demo in every world with every seed, below `folder/world<number>`; what was done is kept.

    Then what it trained is pooled in the other way, too, and a ResNet-18 is trained from scratch.
    """
    for world in worlds:
        for seed in seeds:
            command = [sys.executable, "examples/demo", str(folder / f"world{world}")]
            options = ["--world", str(world), "--seed", str(seed)]
            subprocess.run(command + options, check=True, cwd=ROOT)  # noqa: S603 (our own)
        at = folder / f"world{world}"
        runs = [f"{at}/runs/seamo-demo-seed{seed}@pretrain+tiles+std" for seed in seeds]
        twins = [f"{run}+random:{seed}" for run, seed in zip(runs, seeds, strict=True)]
        where = ["--stores", f"{at}/stores", "--results", f"{at}/results", "--threads", "1"]
        command = [sys.executable, "-m", "seamo_bench.cli", "run"]
        for words in (["first", "--backbones", ",".join(runs + twins)], [str(SCRATCH)]):
            subprocess.run([*command, *words, *where], check=True, cwd=ROOT)  # noqa: S603 (our own)


def collect(folder: Path, worlds: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    """What the records of all runs say: of scores and gains the value and the ends of the interval, and p.

    Raises:
        ValueError: If a world was not run with exactly these seeds.
    """
    found: dict[str, Any] = {"seeds": list(seeds), "worlds": {}}
    for world in worlds:
        results = folder / f"world{world}" / "results"
        scores: dict[str, dict[str, list[float]]] = {}
        for row in asked("table", results):
            if row["status"] == "ok":
                scores.setdefault(row["backbone"], {})[row["protocol"]] = [row["value"], row["low"], row["high"]]
                if row["backbone"] in POOLINGS.values() and row["num_seeds"] != len(seeds):
                    raise ValueError(f"world {world}: {row['num_seeds']} pretrainings instead of {len(seeds)}")
                found["num_test"] = row["num_test"]
        gains = {}
        for pooling, name in POOLINGS.items():
            pairs = asked("compare", results, name, f"{name}-random")
            gains[pooling] = {
                row["id"].split("/")[1]: [row[key] for key in ("difference", "low", "high", "p")] for row in pairs
            }
        runs = {str(seed): learnt(folder / f"world{world}" / "runs" / f"seamo-demo-seed{seed}") for seed in seeds}
        found["worlds"][str(world)] = {"scores": scores, "gains": gains, "learnt": runs}
    return found


def learnt(run: Path) -> dict[str, float]:
    """Loss and trivial predictors of Sentinel-2 at the end of stage 1."""
    from seamo.pretrain.learnt import what_was_learnt
    from seamo.pretrain.logs import read_curves

    (found,) = (one for one in what_was_learnt(read_curves(run), 1) if one.sensor == "s2")
    return {"loss": found.loss, **found.yardsticks}


def asked(*words: object) -> list[dict[str, Any]]:
    """Rows of a verb of seamo-bench."""
    command = [sys.executable, "-m", "seamo_bench.cli", *map(str, words), "--json"]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE)  # noqa: S603 (our own)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def main() -> None:
    """Measure if asked to; then write the README."""
    parser = argparse.ArgumentParser(description="Write the figures of README.md.")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="measure first, below this folder")
    folder = parser.parse_args().run
    if folder is not None:
        measure(folder.resolve(), WORLDS, SEEDS)
        found = collect(folder.resolve(), WORLDS, SEEDS)
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    kept = json.loads(KEPT.read_bytes())
    README.write_text(written(README.read_text(encoding="utf-8"), kept), encoding="utf-8")


if __name__ == "__main__":
    main()
