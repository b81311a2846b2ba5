"""Where a reader finds more: papers, code and weights that backbone cards name, homepages that the manifest names."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from seamo.errors import SeamoError
from seamo.manifest import shipped_manifest
from seamo_bench.card import BackboneCard, owner_of
from seamo_bench.zoo.catalogue import families, family

_ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")
_REPOSITORY = re.compile(r"(?<![\w./])((?:github\.com|huggingface\.co)/[\w.-]+(?:/[\w.-]+)?)")
_ADDRESS = re.compile(r"https://[^\s<>\"';,]+")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """One address outside, and what is there."""

    text: str
    url: str


def is_safe(url: str) -> bool:
    """Whether an address may be a link: https, with a host, and nothing in it that is no part of an address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and url.isprintable()


def links_in(text: str) -> tuple[Link, ...]:
    """The papers and repositories that a sentence of a card or of the manifest names.

    Example:
        >>> [link.url for link in links_in("arXiv 2311.00566; github.com/antofuller/CROMA")]
        ['https://arxiv.org/abs/2311.00566', 'https://github.com/antofuller/CROMA']
    """
    papers = [Link(f"arXiv {one}", f"https://arxiv.org/abs/{one}") for one in _ARXIV.findall(text)]
    code = [Link(one.rstrip("."), f"https://{one.rstrip('.')}") for one in _REPOSITORY.findall(text)]
    others = [Link(urlsplit(one).hostname or one, one.rstrip(".")) for one in _ADDRESS.findall(text) if is_safe(one)]
    return tuple({link.url: link for link in (*papers, *code, *others) if is_safe(link.url)}.values())


class Links:
    """What is known of backbones and data sets outside the records: by their ids, nothing of it is part of a number.

    A family of another package that cannot be read leaves the page without its links; that is logged.
    """

    def __init__(self) -> None:
        self._cards: dict[str, BackboneCard] = {}
        for module in families():
            try:
                self._cards |= {card.id: card for card in family(module).cards if card.id not in self._cards}
            except SeamoError as error:
                _log.warning("no links to papers of %s: %s", module, error)

    def of_backbone(self, backbone: str) -> tuple[Link, ...]:
        """Paper, code and weights of a listed backbone."""
        card = self._cards.get(owner_of(backbone))
        if card is None:
            return ()
        weights = [url for url in card.weights.urls if is_safe(url)] if card.weights else []
        return (*links_in(card.source), *(Link("weights", url) for url in weights[:1]))

    def of_stores(self, ids: Iterable[str]) -> tuple[Link, ...]:
        """Homepage and paper of published data sets."""
        known = shipped_manifest()
        found: dict[str, Link] = {}
        for spec in (known[one] for one in ids if one in known):
            homepage = [Link("homepage", spec.homepage)] if is_safe(spec.homepage) else []
            found |= {link.url: link for link in (*homepage, *links_in(spec.citation))}
        return tuple(found.values())

    def licence(self, backbone: str) -> str:
        """Of the weights of a listed backbone."""
        card = self._cards.get(owner_of(backbone))
        return card.weights.licence if card is not None and card.weights else ""
