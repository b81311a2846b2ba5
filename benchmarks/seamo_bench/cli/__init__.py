"""`seamo-bench`: plan, run, read and check evaluations. A file a verb."""


def main() -> None:
    """Entry point."""
    from seamo.terminal import run

    run("seamo-bench", "seamo_bench.cli.program")
