"""What the three command lines share of typer: a program with its global options, and `--json`."""

from typing import Annotated

import typer

from seamo import __version__
from seamo.terminal import LEVELS, say

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

_STATUS = """

Exit status: 0 done, 1 the work failed or nothing could be done, 2 wrong usage, 75 stopped by a signal: run it again.
"""


def _show_version(context: typer.Context, asked: bool) -> None:
    if asked:
        say(f"{context.info_name} {__version__}")
        raise typer.Exit


def program(about: str) -> typer.Typer:
    """A program without verbs yet.

    Args:
        about: The first paragraph of its help.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    # `seamo.terminal.run` takes all but --version out of the arguments; they are declared for --help.
    @app.callback(help=about + _STATUS)
    def _everywhere(
        *,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and all logs.")] = False,
        log: Annotated[str, typer.Option("--log", help=f"What to log: {', '.join(LEVELS)}.")] = "warning",
        json: Annotated[bool, typer.Option("--json", help="As behind the verb: one JSON document on stdout.")] = False,
        version: Annotated[
            bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_show_version)
        ] = False,
    ) -> None:
        del debug, log, json, version

    return app
