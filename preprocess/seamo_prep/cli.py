"""The command `seamo-prep`. Only typer is imported here, so that `--help` answers at once."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from seamo.errors import SeamoError, UsageError

app = typer.Typer(
    name="seamo-prep",
    help="From published archives to checked stores.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
StorePath = Annotated[Path, typer.Argument(help="A store's folder, or ROOT/ID when it holds one store.")]


@app.callback()
def _global(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    # `main` takes --debug out of the arguments, wherever it stands; declared here for --help.
    pass


@app.command("list")
def list_datasets(*, json: AsJson = False) -> None:
    """Show the data sets: task, bands, samples, archive bytes, licence, status."""
    from seamo_prep.archives import archive_ids, known_specs
    from seamo_prep.show import as_json, as_table

    readable = set(archive_ids())
    rows = []
    for spec in known_specs().values():
        known = [one.bytes for one in spec.archives if not one.same_as]
        size = None if None in known or not known else sum(one for one in known if one is not None)
        rows.append(
            {
                "id": spec.id,
                "task": spec.task.kind,
                "bands": ", ".join(
                    f"{stack} {sum(len(one.bands) for one in spec.stack_layers(stack))}" for stack in spec.stacks
                ),
                "samples": spec.expected.samples,
                "archive_bytes": size,
                "licence": spec.licence,
                "status": "ready" if spec.id in readable else "no reader",
            }
        )
    as_json(rows) if json else as_table(rows)


@app.command()
def fetch(
    dataset: Annotated[str, typer.Argument(metavar="ID")],
    *,
    to: Annotated[Path, typer.Option("--to", help="RAW: where the files go.")],
    only: Annotated[str, typer.Option(help="Parts or files, separated by commas.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what there is and its size, bring nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Bring a data set's published files; resumes, checks bytes and hash."""
    from seamo_prep import fetch as fetching
    from seamo_prep.archives import known_specs
    from seamo_prep.show import as_json, as_table, remark

    specs = known_specs()
    if dataset not in specs:
        raise UsageError(f"no data set {dataset!r}", fix=f"Known: {', '.join(specs)}.")
    spec = specs[dataset]
    chosen = fetching.items(spec, _names(only))
    rows = [
        {"id": one.file.name, "part": one.part, "bytes": one.file.size, "by_hand": one.how, "note": one.note}
        for one in chosen
    ]
    if json or dry_run:
        as_json(rows) if json else as_table(rows, title=spec.title)
    if dry_run:
        return
    for one in chosen:
        size = "unknown size" if one.file.size is None else f"{one.file.size:,} bytes"
        remark(f"{one.file.name}: {one.how or size}")
    last: dict[str, int] = {}

    def tell(name: str, have: int, of: int | None) -> None:
        step = have // (256 * 2**20)  # a line every 256 MiB
        if last.get(name) != step or have == of:
            last[name] = step
            remark(f"{name}: {have:,} of {f'{of:,}' if of else 'unknown'} bytes")

    by_hand = fetching.fetch(spec, to, only=_names(only), on_progress=tell)
    for one in by_hand:
        remark(f"by hand: {one.file.name}: {one.how}")


@app.command()
def build(
    dataset: Annotated[str, typer.Argument(metavar="ID", help="A data set of `list`, or `folder`.")],
    *,
    raw: Annotated[Path, typer.Option(help="Folder that holds the published files.")],
    store: Annotated[Path, typer.Option(help="Folder of stores.")],
    layout: Annotated[Literal["zarr", "webdataset"], typer.Option(help="Layout of the store.")] = "zarr",
    layers: Annotated[str, typer.Option(help="Layers, separated by commas; all without it.")] = "",
    splits: Annotated[str, typer.Option(help="Split scheme; the published one where its lists are in RAW.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Build only the first samples.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core without it, if worth it.")] = None,
    scheduler: Annotated[str, typer.Option(help="Address of a dask scheduler to use instead.")] = "",
    on_bad: Annotated[Literal["raise", "skip"], typer.Option(help="What to do with unreadable samples.")] = "raise",
    relax: Annotated[str, typer.Option(help="Accept other shape, dtype, seasons, names; separated by commas.")] = "",
) -> None:
    """Build a store from the published archive; goes on where a build was interrupted."""
    from seamo_prep.build import Engine, Options, build
    from seamo_prep.show import Meter, remark

    if scheduler and workers is not None:
        raise UsageError("--workers and --scheduler exclude each other")
    options = Options(layout, _names(layers), splits, limit, _names(relax), on_bad)
    engine = Engine(workers or 0, scheduler)
    with Meter(dataset) as meter:
        built = build(dataset, raw=raw, root=store, options=options, engine=engine, say=remark, progress=meter)
    if built.was_there:
        remark("published before; nothing to do")
    if built.ledger:
        remark(f"left out: {built.ledger} (see {built.path / 'ledger.json'})")
    typer.echo(str(built.path))


@app.command()
def verify(
    store: StorePath,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every sample; recompute content and statistics.")
    ] = False,
    leaks: Annotated[bool, typer.Option("--leaks", help="Look for places and images shared by splits.")] = False,
    json: AsJson = False,
) -> None:
    """Check a store: files, counts, band physics, classes, splits. Fails on any error found."""
    from seamo.store.reader import open_store
    from seamo_prep.show import as_json, as_table, remark
    from seamo_prep.verify import verify

    opened = open_store(store)
    remark(f"{opened.title}, split scheme {opened.meta.split_scheme}")
    findings = list(verify(opened, deep=deep, leaks=leaks, say=remark))
    rows = [{"id": one.check, "severity": one.severity, "where": one.where, "what": one.what} for one in findings]
    as_json(rows) if json else as_table(rows, title=opened.title)
    errors = sum(one.severity == "error" for one in findings)
    if errors:
        remark(f"{errors} error{'s' if errors > 1 else ''}")
        raise typer.Exit(1)
    remark("no errors")


@app.command()
def stats(
    store: StorePath,
    *,
    compare: Annotated[str, typer.Option(metavar="PUBLISHED", help="Published statistics of the manifest.")] = "",
    json: AsJson = False,
) -> None:
    """Show per-band mean, standard deviation and percentiles of the valid pixels."""
    from seamo.store.reader import open_store
    from seamo_prep.show import as_json, as_table, remark
    from seamo_prep.verify import statistics_rows

    opened = open_store(store)
    rows = statistics_rows(opened, compare)
    if compare:
        remark(f"compared with {opened.spec.statistics[compare].source}")
    as_json(rows) if json else as_table(rows, title=opened.title)


@app.command("ls")
def list_stores(root: Annotated[Path, typer.Argument(help="Folder of stores.")], *, json: AsJson = False) -> None:
    """Show the stores under a root."""
    from seamo.store.catalog import list_stores as entries
    from seamo_prep.show import as_json, as_table

    rows = [
        {
            "id": one.id,
            "build": one.build,
            "state": one.state,
            "title": one.title or one.problem,
            "samples": one.meta.counts.samples if one.meta else None,
            "layout": one.meta.layout if one.meta else "",
            "splits": one.meta.split_scheme if one.meta else "",
            "content": one.meta.content[:12] if one.meta else "",
            "created": one.created,
            "path": str(one.path),
        }
        for one in entries(root)
    ]
    as_json(rows) if json else as_table(rows)


@app.command()
def look(
    store: StorePath,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Samples; some of each class without.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.png or FILE.html.")],
    num: Annotated[int, typer.Option(min=1, help="How many samples to choose.")] = 12,
) -> None:
    """Draw samples: true and false colour, SAR, labels, dates side by side."""
    from seamo.store.reader import open_store
    from seamo_prep.look import look

    look(open_store(store), output, keys=tuple(keys or ()), num=num)
    typer.echo(str(output))


@app.command()
def demo(
    raw: Annotated[Path, typer.Argument(help="RAW: a folder a data set goes here.")],
    *,
    only: Annotated[str, typer.Option(help="Ids, separated by commas.")] = "",
    size: Annotated[Literal["tiny", "small"], typer.Option(help="`tiny` for tests, `small` for the demo.")] = "tiny",
    seasons: Annotated[bool, typer.Option(help="Let plants grow with the seasons.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the synthetic world.")] = 7,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Write synthetic archives in the published layouts."""
    from seamo_prep.demo import write_demos
    from seamo_prep.show import remark

    def tell(dataset: str, what: str) -> None:
        remark(f"{dataset}: {what}")

    for path in write_demos(raw, only=_names(only), size=size, seasons=seasons, seed=seed, workers=workers, tell=tell):
        typer.echo(str(path))


def main() -> None:
    """Run the command line: exit 0 done, 1 the work failed, 2 wrong usage."""
    debug = "--debug" in sys.argv
    arguments = [one for one in sys.argv[1:] if one != "--debug"]
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    else:  # what a person should read comes as remarks and errors
        for package in ("seamo", "seamo_prep", "distributed"):
            logging.getLogger(package).addHandler(logging.NullHandler())
    try:
        app(args=arguments, prog_name="seamo-prep")
    except (SeamoError, OSError) as error:
        if debug:
            raise
        typer.echo(f"seamo-prep: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def _names(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


if __name__ == "__main__":
    main()
