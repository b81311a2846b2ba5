"""Examples run: those of every public docstring that has one, and those of the page about stores."""

import doctest
import importlib

import pytest

from tests.conftest import ROOT
from tests.test_layers import modules

FLAGS = doctest.NORMALIZE_WHITESPACE
WITH_EXAMPLES = sorted(name for name, path in modules().items() if ">>> " in path.read_text("utf-8"))
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if ">>> " in path.read_text("utf-8"))


def test_examples_are_found():
    assert len(WITH_EXAMPLES) > 20
    assert {"seamo.data.loader", "seamo.store.reader", "seamo.stats"} <= set(WITH_EXAMPLES)
    assert [path.name for path in PAGES] == ["store.md"]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name):
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=FLAGS)
    assert not failed
    written = sum(line.lstrip().startswith(">>> ") for line in modules()[name].read_text("utf-8").splitlines())
    assert attempted == written  # an example that stands where nobody looks for one does not run


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_no_example_is_skipped(name):
    assert "doctest: +SKIP" not in modules()[name].read_text("utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_examples_of_pages_run(path):
    failed, attempted = doctest.testfile(str(path), module_relative=False, optionflags=FLAGS)
    assert attempted
    assert not failed
