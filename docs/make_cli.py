"""Write docs/reference/cli.md from the commands' own help: `python docs/make_cli.py` (`--check`: fail if it is old)."""

import sys
from pathlib import Path
from typing import Any

import typer

from seamo.cli.program import app as seamo_app
from seamo_bench.cli.program import app as bench_app
from seamo_prep.cli.program import app as prep_app

PAGE = Path(__file__).parent / "reference" / "cli.md"
INTRO = """# Commands

Written by `docs/make_cli.py` from the commands' own `--help`; do not edit.

Results go to stdout, progress and remarks to stderr. With `--json` the result is one document, a list of objects with
`id`. An error is one message, which says how to go on. Exit status: 0 done, 1 the work failed or nothing could be
done, 2 wrong usage (an unknown id, suite or backbone, too), 75 stopped by a signal, 130 by Ctrl-C: run it again (`seamo
pretrain` with `--resume`).

Everywhere: `--debug` shows the traceback of an error and all logs, `--log LEVEL` what is logged (`debug`, `info`,
`warning`, `error`), `--version` the version.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRO]
    for name, app in (("seamo-prep", prep_app), ("seamo", seamo_app), ("seamo-bench", bench_app)):
        group = typer.main.get_command(app)
        parts.append(f"## {name}\n\n{_first(group.help)}\n")
        parts.extend(_verbs(group, name))
    return "\n".join(parts)


def _verbs(group: Any, prefix: str) -> list[str]:
    found = []
    for name, command in getattr(group, "commands", {}).items():
        full = f"{prefix} {name}"
        if getattr(command, "commands", None):
            found.extend(_verbs(command, full))
            continue
        usage = [full]
        rows = []
        for one in command.params:
            if one.param_type_name == "argument":
                label = (one.metavar or one.name).strip("{}[].").upper()
                usage.append(label if one.required else f"[{label} ...]" if one.nargs == -1 else f"[{label}]")
                rows.append((label, getattr(one, "help", "") or "", ""))
            elif one.name != "help":
                flags = ", ".join([*one.opts, *one.secondary_opts])
                plain = isinstance(one.default, str | int | float) and not isinstance(one.default, bool)
                default = str(one.default) if plain and str(one.default) else ""
                rows.append((flags, getattr(one, "help", "") or "", "required" if one.required else default))
        lines = [f"### {full}", "", _first(command.help), "", "```text", " ".join([*usage, "[OPTIONS]"]), "```", ""]
        if rows:
            lines += ["| option | meaning | default |", "|---|---|---|"]
            lines += [f"| `{_cell(a)}` | {_cell(b)} | {f'`{c}`' if c else ''} |" for a, b, c in rows]
        found.append("\n".join(lines) + "\n")
    return found


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main() -> None:
    """Write the page, or check it."""
    text = page()
    if "--check" in sys.argv:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE.name} is old: run python docs/make_cli.py")
        return
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
