"""A store's data card: README.md with YAML front matter, as Hugging Face's hub reads it.

Source of the fields: https://huggingface.co/docs/hub/datasets-cards.
"""

from typing import Any

import yaml

from seamo.escapes import markdown, markdown_table
from seamo.licences import hub_licence, terms_of
from seamo.manifest import LayerSpec
from seamo.store.reader import Store
from seamo_prep.exchange.facts import description_of, name_of, stored_numbers

_TASKS = {
    "single-label": "image-classification",
    "multi-label": "image-classification",
    "segmentation": "image-segmentation",
    "change": "image-segmentation",
    "pretrain": "image-feature-extraction",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def data_card(store: Store) -> str:
    """README.md of a folder that holds the store. What the store does not say is not in it.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> print(data_card(tiny_store()).splitlines()[1])
        license: other
    """
    meta, spec = store.meta, store.spec
    terms = terms_of(spec)
    front: dict[str, Any] = {
        "license": hub_licence(spec.licence),
        "pretty_name": store.title,
        "tags": ["remote-sensing", "seamo", *(["synthetic"] if meta.synthetic is not None else [])],
        "size_categories": [next((name for most, name in _SIZES if len(store) < most), "1M<n<10M")],
    }
    if spec.task.kind in _TASKS:
        front["task_categories"] = [_TASKS[spec.task.kind]]
    facts = {
        "Samples": f"{len(store):,}",
        "Splits": ", ".join(f"{name or 'none'} {num:,}" for name, num in meta.counts.splits.items()),
        "Split scheme": meta.split_scheme,
        "Labels": spec.task.kind,
        "Licence": terms["licence"],
        "Attribution": terms["attribution"],
        "Redistribution": terms["redistribution"],
        "Homepage": spec.homepage,
        "Layout": meta.layout,
        "Store": name_of(store),
        "Content": f"sha256 {meta.content}",
    }
    layers = [
        (
            layer.id,
            layer.sensor,
            ", ".join(layer.bands),
            str(layer.unit),
            _dtype(store, layer),
            f"{layer.gsd_m:g}",
            layer.times,
        )
        for layer in spec.layers
    ]
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {markdown(store.title)}",
        markdown(description_of(store)),
        markdown_table(("what", "is"), [(name, said) for name, said in facts.items() if said]),
        "## Layers",
        markdown_table(("layer", "sensor", "bands", "unit", "dtype", "pixel (m)", "dates"), layers),
        *(["## Classes", _classes(store)] if spec.task.label_space else []),
        "## Use",
        "The store opens by the path of its folder, with `pip install seamo`:",
        f'```python\nimport seamo\n\nstore = seamo.open_store("FOLDER/{name_of(store)}")\nsample = store[0]\n```',
        "`seamo-prep verify STORE --deep` holds every file and every sample against the hashes of the store.",
        "## Citation",
        markdown(spec.citation.strip()),
    ]
    return "\n\n".join(parts) + "\n"


def _dtype(store: Store, layer: LayerSpec) -> str:
    """What `sample.layers` gives, and what lies on the disk where that is something else."""
    stored = stored_numbers(store, layer)
    return layer.dtype if stored.scale is None else f"{layer.dtype} (stored: {stored.dtype} x {stored.scale:g})"


def _classes(store: Store) -> str:
    return markdown_table(("id", "class"), list(enumerate(store.spec.label_space().names)))
