"""`seamo-prep bench`."""

from typing import Any

from seamo.options import Json
from seamo.terminal import remark, show, table
from seamo_prep.cli.arguments import StorePath


def bench(store: StorePath, *, json: Json = False) -> None:
    """Say what limits reading a store on this machine: disk, checksum, decoding, crop, or the Loader."""
    from seamo.store.reader import open_store
    from seamo_prep.speed import measure

    opened = open_store(store)
    remark(f"{opened.title}, {opened.meta.layout}, {opened.meta.codec}: reads some of it several times")
    speeds = measure(opened)
    for one in speeds.remarks:
        remark(one)
    rows: list[dict[str, Any]] = [
        {
            "id": one.step,
            "threads": one.threads,
            "ms": round(1e3 / one.rate, 3),
            "samples_s": round(one.rate, 1),
            "mb_s": round(one.bytes_s / 1e6),
        }
        for one in speeds.rows
    ]
    title = f"{opened.title}: {speeds.samples:,} samples, medians"

    def text() -> str:
        heads = ("step", "threads", "ms a sample", "samples/s", "MB/s")
        cells = [
            [row["id"], row["threads"], *(f"{row[name]:,}" for name in ("ms", "samples_s", "mb_s"))] for row in rows
        ]
        return f"{table(heads, cells, title=title, right={1, 2, 3, 4})}\n{speeds.limit}"

    show([*rows, {"id": "limit", "what": speeds.limit}], json=json, text=text)
