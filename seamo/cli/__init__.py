"""`seamo`: pretrain, look at what was learned, describe runs. A file a verb."""


def main() -> None:
    """Entry point."""
    from seamo.terminal import run

    run("seamo", "seamo.cli.program")
