"""`seamo-prep`: from published archives to checked stores. A file a verb."""


def main() -> None:
    """Entry point."""
    from seamo.terminal import run

    run("seamo-prep", "seamo_prep.cli.program")
