"""The page about testing one's own package, taken at its word on the example package."""

import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_tests_of_the_page_pass_on_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = BLOCK.findall((ROOT / "docs" / "testing.md").read_text("utf-8"))
    monkeypatch.syspath_prepend(ROOT / "examples")
    names: dict[str, object] = {}
    exec(compile(code, "docs/testing.md", "exec"), names)  # noqa: S102 - our own page
    names["test_the_archive"](tmp_path / "archive")  # type: ignore[operator]
    names["test_the_backbones"]()  # type: ignore[operator]
    names["test_the_protocol"](tmp_path / "protocol")  # type: ignore[operator]
    for name in [one for one in sys.modules if one.partition(".")[0] in ("my_models", "lakes_package")]:
        del sys.modules[name]
