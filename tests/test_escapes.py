"""Text of others where it goes: nothing in it is a command for a terminal, Markdown, LaTeX or a spreadsheet."""

import csv
import io
import logging
import os
import re
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.markdown import Markdown

from seamo.escapes import csv_text, latex, markdown, printable
from seamo.pretrain.journal import Journal
from seamo.progress import Progress
from seamo.terminal import remark, say, table
from seamo.testing.stores import tiny_store
from seamo_prep.tiff import write_tiff

HOSTILE = "Lakes\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.\r\nsecond\u2066 "
HOSTILE += "a|b <img src=x onerror=1> `c` $d$ ~e~ *f* [g](h) \\"
# Typed from the Unicode charts: C0, DEL and C1; marks, embeddings, overrides and isolates of direction; characters
# without a width; separators of lines; tags; halves of surrogates.
FORBIDDEN = [
    *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F),
    *range(0x2060, 0x2065), *range(0x2066, 0x2070), 0xFEFF, *range(0xE0020, 0xE0080), *range(0xD800, 0xE000),
]  # fmt: skip


def commands(text: str) -> list[str]:
    """Characters that a terminal would obey or not show."""
    return [char for char in text if ord(char) in FORBIDDEN and char != "\n"]


def test_nothing_forbidden_is_printed() -> None:
    shown = printable("".join(map(chr, FORBIDDEN)))
    assert commands(shown) == []
    assert shown.isascii()
    assert "\n" not in shown


def test_ordinary_text_of_any_script_stays() -> None:
    for text in ("plain", "Zürich, 東京 かな", "\u0642\u0627\u0639", "\u0645\u06cc\u200c\u062e", "क्\u200dष", "a\u0301"):
        assert printable(text) == text


def test_names_of_files_that_are_no_unicode_can_be_printed() -> None:
    assert printable(os.fsdecode(b"a\xff.tif")).encode() == rb"a\udcff.tif"


def test_everything_that_prints_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    remark(HOSTILE)
    say(table([HOSTILE, "n"], [[HOSTILE, 1]], title=HOSTILE))
    out, err = capsys.readouterr()
    assert commands(out) == commands(err) == []
    assert out.count("\n") == 2 + 4  # say keeps lines; a table has a title, heads, a rule and a row
    stream = io.StringIO()
    with_title = Progress(stream, "cells", 3, title=HOSTILE)
    with_title.at(3, note=HOSTILE)
    assert "owned" in stream.getvalue()
    assert commands(stream.getvalue()) == []


def test_logs_warnings_and_errors_escape() -> None:
    program = (
        "import sys, types, typer; from seamo.terminal import run; app = typer.Typer()\n"
        "@app.command()\n"
        "def trial():\n"
        "    import logging, warnings; from seamo.errors import StoreError\n"
        f"    text = {HOSTILE!r}; logging.getLogger('seamo').warning('%s', text); warnings.warn(text)\n"
        "    raise StoreError(text, text, text)\n"
        "made = types.ModuleType('trial_program'); made.app = app; sys.modules['trial_program'] = made\n"
        "sys.argv = ['trial']; run('trial', 'trial_program')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("owned") >= 5
    assert commands(done.stderr) == []


@pytest.mark.parametrize(
    "text", [HOSTILE, "<script>alert(1)</script>", "&lt;b&gt;", "a_b_c", "# no head", "[x](javascript:1)"]
)
def test_markdown_renders_as_the_text_itself(text: str) -> None:
    tokens = Markdown(f"| head |\n| --- |\n| {markdown(text)} |\n").parsed
    (cell,) = [one.children for before, one in pairwise(tokens) if before.type == "td_open"]
    assert {one.type for one in cell or ()} == {"text"}  # no html_inline, code_inline, em, link
    assert "".join(one.content for one in cell or ()) == printable(" ".join(text.split()))


def test_latex_signs() -> None:
    assert latex("<a> & b|c {d} #1 5 % $x$ y_z ~ ^ \\") == (
        r"\textless{}a\textgreater{} \& b\textbar{}c \{d\} \#1 5 \% \$x\$ y\_z \textasciitilde{} "
        r"\textasciicircum{} \textbackslash{}"
    )
    assert latex("1--2") == "1-{}-2"
    assert latex("[0, 1]") == "{}[0, 1]"  # else it is an option of the \\ before it
    bare = re.sub(r"\\(text[a-z]+\{\}|[&%$#_{}])|\{\}|-", "", latex(HOSTILE))
    assert not set(bare) & set('\\&%$#_{}~^<>|"`')
    assert commands(latex(HOSTILE)) == []


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "\uff1d1"])
def test_no_cell_is_a_formula(text: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([csv_text(text), 1])
    ((cell, _),) = csv.reader(io.StringIO(buffer.getvalue()))
    assert cell.startswith("'")
    assert cell[1:] == text.replace("\r", "\\r")


@pytest.mark.parametrize("text", ["-0.5", "+1", "-1e-05", "3", "plain", "a=b", "", "27 of 100", "{}"])
def test_numbers_and_plain_cells_stay(text: str) -> None:
    assert csv_text(text) == text


def test_a_title_commands_no_terminal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = tmp_path / "raw"
    raw.mkdir()
    layer = {"id": "s2", "stack": "s2", "sensor": "s2", "bands": ["B02", "B03"], "gsd_m": 10, "dtype": "uint16",
             "unit": "dn", "fill": 65535, "size": [16, 16]}  # fmt: skip
    entry = {"title": HOSTILE, "summary": "s", "licence": "none", "citation": "none", "layers": [layer],
             "task": {"kind": "single-label", "label_space": "w"},
             "label_spaces": {"w": {"classes": [{"name": HOSTILE}, {"name": "dry"}]}}}  # fmt: skip
    (raw / "seamo.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}}), encoding="utf-8")
    lines = ["key,s2,label,split"]
    for i in range(8):
        write_tiff(raw / f"i{i}.tif", rng.integers(300, 3000, (2, 16, 16)).astype(np.uint16), epsg=32632,
                   transform=(10, 0, 500_000 + 160 * i, 0, -10, 5_000_000))  # fmt: skip
        lines.append(f"i{i},i{i}.tif,dry,{('train', 'val', 'test')[i % 3]}")
    (raw / "samples.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def told(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "seamo_prep.cli", *words], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    told_all = [told("build", "folder", "--raw", str(raw), "--store", str(tmp_path / "stores"), "--workers", "1")]
    (store,) = (path.parent for path in (tmp_path / "stores").rglob("store.json"))
    told_all += [told("ls", str(tmp_path / "stores")), told("verify", str(store)), told("stats", str(store))]
    assert sum("owned" in text for text in told_all) >= 2
    assert [commands(text) for text in told_all] == [[], [], [], []]


def test_no_name_of_a_machine_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "zanzibar-7"
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", name, "1", "1", "x86_64")))
    monkeypatch.setenv("USER", name)
    monkeypatch.setenv("LOGNAME", name)
    (tmp_path / "run").mkdir()
    journal = Journal(tmp_path / "run", ["s2"], done=0, total=1)
    journal.flush()
    journal.close()
    store = tiny_store(tmp_path / "stores")
    for path in [*(tmp_path / "run").rglob("*"), *store.path.rglob("*")]:
        assert name not in str(path)
        assert not path.is_file() or name.encode() not in path.read_bytes(), path


def test_logging_is_left_as_it_was() -> None:
    assert not any("Lines" in type(one.formatter).__name__ for one in logging.getLogger().handlers)
