"""`seamo-prep list`."""

from seamo.options import Json
from seamo.terminal import show


def list_datasets(*, json: Json = False) -> None:
    """Show the data sets: task, bands, samples, archive bytes, licence, redistribution, status."""
    from seamo_prep.archives import archive_ids, known_specs

    readable = set(archive_ids())
    rows = []
    for spec in known_specs().values():
        known = [archive.bytes for archive in spec.archives if not archive.same_as]
        size = None if None in known or not known else sum(count for count in known if count is not None)
        rows.append(
            {
                "id": spec.id,
                "task": spec.task.kind,
                "bands": ", ".join(
                    f"{stack} {sum(len(layer.bands) for layer in spec.stack_layers(stack))}" for stack in spec.stacks
                ),
                "samples": spec.expected.samples,
                "archive_bytes": size,
                "licence": spec.licence,
                "redistribution": spec.redistribution,
                "status": "ready" if spec.id in readable else "no reader",
            }
        )
    show(rows, json=json)
