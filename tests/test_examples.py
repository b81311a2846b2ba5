"""The examples run, and hold the code of the guides word for word."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT
from tests.pages import BLOCK

EXAMPLES = ROOT / "examples"
# Guide -> kind of its first block -> the example that holds it.
COPIES = [
    ("adding_a_dataset.md", "yaml", "lakes_package/my_lakes.yaml"),
    ("adding_a_dataset.md", "python", "lakes_package/my_lakes.py"),
    ("adding_a_backbone.md", "python", "my_models/rgb_conv.py"),
    ("adding_a_protocol.md", "python", "my_models/centroid.py"),
]


def first_block(page: str, kind: str) -> str:
    blocks = BLOCK.findall((ROOT / "docs" / page).read_text("utf-8"))
    return next(text for name, text in blocks if name == kind)


@pytest.mark.parametrize(("page", "kind", "copy"), COPIES)
def test_guide_and_example_are_the_same_text(page, kind, copy):
    assert (EXAMPLES / copy).read_text("utf-8") == first_block(page, kind)


def test_the_template_has_the_entry_points_of_the_guides():
    points = tomllib.loads((EXAMPLES / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    want = {}
    for page in ("adding_a_dataset.md", "adding_a_backbone.md", "adding_a_protocol.md"):
        want |= tomllib.loads(first_block(page, "toml"))["project"]["entry-points"]
    assert points == want


def output_of(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "synthetic" in lines[0]  # no number without what it is made of
    return lines


def test_a_data_set_of_ones_own_is_read_with_its_bands_in_order():
    lines = output_of("own_dataset.py")
    assert lines[1] == "sample 000: s1 (1, 2, 48, 48), label land"
    assert lines[2].startswith("batch of 4: s1 (4, 1, 2, 48, 48)")
    power = {band: float(text.split()[0]) for band, text in (line.split(": ") for line in lines[3:])}
    assert list(power) == ["VV", "VH"]  # the archive's files have VH first
    assert power["VV"] > power["VH"] + 3


def test_a_backbone_of_ones_own_is_fed_what_its_card_says():
    lines = output_of("own_backbone.py")
    assert lines[1] == "Random convolution on RGB is fed B04, B03, B02 of s2, in dn"
    assert lines[2] == "pooled (8, 32), levels [(8, 32, 8, 8)]"
    scores = [re.fullmatch(r"([\w-]+): top-1 ([\d.]+) % of 20 test samples", line).groups() for line in lines[3:]]
    assert [name for name, _ in scores] == ["rgb-conv", "image-statistics"]
    assert all(float(score) % 5 == 0 for _, score in scores)  # of 20 samples


@pytest.mark.soak
def test_a_protocol_of_ones_own_obeys_its_parameter():
    first, second = (
        re.fullmatch(r"temperature .*: top1 (.*), nll (.*)", line) for line in output_of("own_protocol.py")[1:]
    )
    assert first[1] == second[1]  # the order of the classes does not depend on it
    assert float(first[2]) < float(second[2])  # sharper scores of a poor model are surer of what is wrong
