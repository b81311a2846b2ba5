"""The Dockerfile, as far as it can be tried without Docker: what it names is there, its lines make the wheel."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILE = (ROOT / "Dockerfile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "USER", "CMD"}


def stages() -> list[list[tuple[str, str]]]:
    """(instruction, what follows) of each stage."""
    found: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\\\n\s*", " ", FILE).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def copied() -> list[tuple[list[str], str]]:
    """What comes from the checkout, and where it goes."""
    lines = [rest for stage in stages() for word, rest in stage if word == "COPY" and not rest.startswith("--from")]
    return [(shlex.split(line)[:-1], shlex.split(line)[-1]) for line in lines]


def ignored() -> list[str]:
    return (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_what_it_names_is_there() -> None:
    wheel, image = stages()
    assert {word for stage in (wheel, image) for word, _ in stage} <= KNOWN
    allowed = {line[1:] for line in ignored() if line.startswith("!")}
    assert ignored()[0] == "*"
    for sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists()
            assert source in allowed  # else Docker would not see it
    bases = {rest.split()[0] for stage in (wheel, image) for word, rest in stage if word == "FROM"}
    version = re.search(r"^PYTHON \?= python(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert bases == {f"python:{version[1]}-slim"}
    assert ("--from=wheel /wheels /wheels") in dict.fromkeys(rest for word, rest in image if word == "COPY")
    extras = next(rest for word, rest in image if word == "ARG").removeprefix("EXTRAS=").split(",")
    page = (ROOT / "docs/docker.md").read_text("utf-8")
    for extra in [*extras, *re.findall(r"EXTRAS=(\w+)", page)]:
        assert extra in PROJECT["optional-dependencies"]


def test_it_ends_as_a_user_without_rights_who_has_the_programs() -> None:
    words = [word for word, _ in stages()[1]]
    assert "RUN" not in words[words.index("USER") :]  # nothing is installed by that user, nothing as root afterwards
    user = dict(stages()[1])["USER"]
    made = next(rest for word, rest in stages()[1] if word == "RUN" and "useradd" in rest)
    assert re.search(rf"useradd .*\b{user}\b.*--owner {user} {dict(stages()[1])['WORKDIR']}$", made)
    program = re.findall(r'"([\w-]+)"', dict(stages()[1])["CMD"])[0]
    assert program in PROJECT["scripts"]


@pytest.mark.soak
def test_its_lines_make_a_wheel_of_what_it_copies_and_install_it(tmp_path: Path) -> None:
    source, wheels = tmp_path / "src", tmp_path / "wheels"
    for names, place in copied():
        for name in names:
            to = source / (name if place == "./" else place.lstrip("/"))
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, to, ignore=shutil.ignore_patterns("__pycache__", "kernels.so"))
            else:
                shutil.copyfile(ROOT / name, to)
    python = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(python)], check=True)
    runs = [rest for stage in stages() for word, rest in stage if word == "RUN" and "pip" in rest]
    # The packages of this environment stand for those of an index: nothing is built apart, nothing else installed.
    shown = f"import site; site.addsitedir({next(p for p in sys.path if p.endswith('site-packages'))!r})"
    (next((python / "lib").glob("python*")) / "site-packages" / "these.pth").write_text(shown + "\n")
    env = {**os.environ, "PATH": f"{python / 'bin'}:{os.environ['PATH']}", "EXTRAS": "aws", "PYTHONPATH": ""}
    for line in runs:
        line = line.replace("/wheels", str(wheels)).replace("/tmp/constraints.txt", str(ROOT / "constraints.txt"))  # noqa: S108
        line = line.replace("pip wheel", "pip wheel --no-build-isolation").replace(
            "pip install", "pip install --no-deps --ignore-installed"
        )
        if "pip install" in line:
            kept = next(wheels.glob("seamo-*.whl"))
            with zipfile.ZipFile(kept) as file:
                names = set(file.namelist())
            assert {"seamo/data_manifest.yaml", "seamo_prep/cli/__init__.py", "seamo_bench/cli/__init__.py"} <= names
        subprocess.run(["bash", "-ec", line], cwd=source, env=env, check=True)
    assert not wheels.exists()
    for program in PROJECT["scripts"]:
        answer = subprocess.run(
            [python / "bin" / program, "--version"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        assert re.search(r"\d+\.\d+\.\d+", answer.stdout)
