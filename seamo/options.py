"""What the three command lines share of typer: a program with its help, and `--json`."""

from typing import Annotated

import typer

from seamo.terminal import LEVELS

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

# In the text, and taken out of the arguments by `seamo.terminal.run`: an option of the program itself, --help included,
# would be parsed before every verb, and typer imports pydantic for the first one: a tenth of a second.
_EVERYWHERE = f"""

\b
Everywhere:
  --debug      Show the traceback of an error, and all logs.
  --log LEVEL  What to log: {", ".join(LEVELS)}.  [default: warning]
  --json       One JSON document on stdout, also before the verb.
  --version    Say which version this is.
  --help       Show this, or what a verb takes.

Exit status: 0 done, 1 the work failed or nothing could be done, 2 wrong usage, 75 stopped by a signal or 130 by
Ctrl-C: run it again.
"""


def program(about: str) -> typer.Typer:
    """A program without verbs yet.

    Args:
        about: The first paragraph of its help.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.callback(help=about + _EVERYWHERE, subcommand_metavar="VERB ...", options_metavar="", add_help_option=False)
    def _program() -> None:
        pass

    return app
