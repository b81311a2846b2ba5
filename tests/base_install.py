"""`make base`: the wheel without extras in an environment of its own, held against this one.

A small synthetic store and records are made here, with everything installed; the wheel is built and installed alone,
and the commands that base promises must answer there as they do here, to the byte. What needs an extra must say which.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB = 650
ABSENT = ("torch", "scipy", "sklearn", "rasterio", "xarray", "dask")
INSTALLER = {"pip", "setuptools", "pkg_resources", "_distutils_hack"}  # brought by the environment, not by the wheel
SUITE = {
    "id": "kept",
    "title": "Kept records",
    "rows": [{"store": "eurosat", "protocol": "knn"}, {"store": "eurosat", "protocol": "logreg"}],
}
MAKE = (
    "seamo-prep demo raw --only eurosat --size tiny",
    "seamo-prep build eurosat --raw raw --store stores",
    "seamo-bench run suite.yaml --stores stores --results results --backbones image-statistics",
    "seamo-bench referee --init shared",
    "seamo-bench referee shared --register stores/eurosat --as keeper",
    "seamo-bench submit results shared",
)
SAMPLES = """
import hashlib, seamo
store = seamo.open_store("stores/eurosat")
for i in range(len(store)):
    sample = store[i]
    hashes = [hashlib.sha256(pixels.tobytes()).hexdigest() for _, pixels in sorted(sample.layers.items())]
    print(sample.key, sample.label, *hashes)
print(store.index.to_csv())
"""
# Command -> the extra that its message must name.
MISSING = {
    "seamo-bench run suite.yaml --stores stores --results new --backbones image-statistics": "torch",
    "seamo pretrain seamo-tiny --store stores/eurosat --out run": "torch",
    "seamo-prep build eurosat --raw raw --store new": "prep",
    "seamo-prep init raw": "prep",
}


class Bench:
    """Runs programs of this environment (`here`) and of the bare one (`there`) in one folder.

    Args:
        folder: Where they run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.here = Path(sys.executable).parent
        self.there = folder / "venv" / "bin"
        self.began = time.monotonic()

    def run(self, place: Path, command: list[str], *, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run one program; anything but `status` ends the whole check with what it said."""
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment = bare if place == self.there else dict(os.environ)
        words = [str(place / command[0]), *command[1:]]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != status:
            text = f"{' '.join(command)}: exit {done.returncode} instead of {status}\n{done.stdout}{done.stderr}"
            raise SystemExit(text)
        return done

    def say(self, text: str) -> None:
        """A line with the time since the beginning."""
        sys.stdout.write(f"{time.monotonic() - self.began:5.1f} s  {text}\n")
        sys.stdout.flush()


def make_inputs(bench: Bench) -> Path:
    """A store and records; returns a record that has predictions."""
    (bench.folder / "suite.yaml").write_text(yaml.safe_dump(SUITE), encoding="utf-8")
    for command in MAKE:
        bench.run(bench.here, command.split())
    return next(path for path in sorted((bench.folder / "results").glob("*.json")) if path.with_suffix(".npz").exists())


def install(bench: Bench) -> None:
    """Build the wheel and install it, with nothing else asked for."""
    python = [sys.executable, "-m"]
    wheels, pip = bench.folder / "wheels", ["pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*python, *pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
    bench.say("wheel built")
    subprocess.run([*python, "venv", "--without-pip", str(bench.folder / "venv")], check=True)
    (wheel,) = wheels.glob("seamo-*.whl")
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    target = ["--python", str(bench.there / "python")]
    subprocess.run([*python, *pip, *target, "install", *constraint, str(wheel)], check=True)
    bench.say("installed: base alone")


def check_size(bench: Bench) -> None:
    """What is installed, on disk, with its byte code."""
    (packages,) = (bench.folder / "venv" / "lib").glob("python*/site-packages")
    sizes: dict[str, float] = {}
    for path in packages.rglob("*"):
        name = path.relative_to(packages).parts[0]
        if path.is_file() and name not in INSTALLER:
            sizes[name] = sizes.get(name, 0.0) + path.stat().st_blocks * 512 / 1e6
    total = sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    bench.say(f"{total:.0f} MB: {', '.join(f'{name} {size:.0f}' for name, size in largest)}")
    if total > LIMIT_MB:
        raise SystemExit(f"a base installation takes {total:.0f} MB, more than {LIMIT_MB}")
    there = [name for name in ABSENT if (packages / name).exists()]
    if there:
        raise SystemExit(f"a base installation holds {', '.join(there)}")


def check_commands(bench: Bench, record: Path) -> None:
    """Every base command answers as it does here."""
    commands = [
        "seamo-prep ls stores --json",
        "seamo-prep verify stores/eurosat --deep --leaks --json",
        "seamo-bench table results",
        "seamo-bench table results --json",
        "seamo-bench table results --compute",
        "seamo-bench plan suite.yaml --stores stores --results results --backbones image-statistics",
        f"seamo-bench verify {record}",
        "seamo-bench submit results shared",
        "seamo-bench referee shared --base shared",
        "seamo-bench table shared",
        "seamo-bench report results -o {place}/report.html",
        "seamo-bench figures results --stores stores -o {place}/figures",
        "seamo-prep look stores/eurosat -o {place}/look.png",
        "seamo-prep export stores/eurosat --croissant -o {place}/croissant.json",
    ]
    answers: dict[Path, list[str]] = {bench.here: [], bench.there: []}
    for place, answered in answers.items():
        folder = bench.folder / ("made-in-full" if place == bench.here else "made-in-base")
        folder.mkdir()
        for command in commands:
            done = bench.run(place, command.format(place=folder.name).split())
            answered.append(done.stdout.replace(folder.name, "FOLDER"))
        answered.append(bench.run(place, ["python", "-c", SAMPLES]).stdout)
        answered += [path.read_text() for path in sorted(folder.glob("*.html"))]
        answered += [f"{path.relative_to(folder)}" for path in sorted(folder.rglob("*"))]
    for name, here, there in zip([*commands, "samples", "report"], *answers.values(), strict=False):
        if here != there or not here:
            raise SystemExit(f"{name} answers otherwise without extras:\n{there}\ninstead of\n{here}")
    if answers[bench.here] != answers[bench.there]:
        raise SystemExit("other files are written without extras")
    bench.say(f"{len(commands)} commands and the samples of a store: as with everything installed")


def check_messages(bench: Bench) -> None:
    """What needs an extra names it, in one message."""
    for command, extra in MISSING.items():
        said = bench.run(bench.there, command.split(), status=1).stderr.strip()
        if f"pip install 'seamo[{extra}]'" not in said or "Traceback" in said:
            raise SystemExit(f"{command} does not say which extra it needs:\n{said}")
    bench.say(f"{len(MISSING)} commands that need an extra name it")


def main() -> None:
    """Make, install, check; a failure ends with exit 1 and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="seamo-base-")) if keep is None else keep.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        bench = Bench(folder)
        record = make_inputs(bench)
        bench.say("a store and records made")
        install(bench)
        check_size(bench)
        check_commands(bench, record)
        check_messages(bench)
    finally:
        if keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
