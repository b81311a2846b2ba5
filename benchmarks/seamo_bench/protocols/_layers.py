"""Which layer a parameter belongs to, for layer-wise learning-rate decay: read from names and their order."""

import re
from collections.abc import Sequence

_BLOCK = re.compile(r"(?:^|\.)(?:blocks|layers|layer|stages|resblocks)\.?(\d+)(?=\.)")


def layer_ids(names: Sequence[str], fresh: Sequence[str] = ()) -> dict[str, int]:
    """Layer of every parameter.

    0 is what stands before the first block (stem, tokenizers, positions), i + 1 is block i, and one more is what
    stands behind the blocks (the final norm).

    Args:
        names: In the order of `named_parameters`. Nested blocks (`layers.1.blocks.0`) count one by one.
        fresh: Beginnings of names that are new (`Network.fresh`): they belong to the last layer, as the head does.

    Example:
        >>> layer_ids(["patch.weight", "blocks.0.w", "blocks.1.w", "norm.weight"])
        {'patch.weight': 0, 'blocks.0.w': 1, 'blocks.1.w': 2, 'norm.weight': 3}
    """
    keys = {name: tuple(int(number) for number in _BLOCK.findall(name)) for name in names}
    blocks = list(dict.fromkeys(key for key in keys.values() if key))
    ids: dict[str, int] = {}
    begun = False
    for name in names:
        begun = begun or bool(keys[name])
        ids[name] = blocks.index(keys[name]) + 1 if keys[name] else (len(blocks) + 1 if begun else 0)
    top = max(ids.values(), default=0)
    return {name: top if name.startswith(tuple(fresh)) else layer for name, layer in ids.items()}
