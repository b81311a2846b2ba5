"""What is known of where pretraining data lie: whether lists are public, and where. No list is shipped.

A corpus that is not named here is unknown, like one whose list is: never taken for clean.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Corpus:
    """One data set that cards name in `pretrained_on`.

    Args:
        id: As cards write it.
        places: `public`: where its images lie can be had; `photographs`: no images of the Earth from above;
            `unknown`: no public list is known here.
        where: Where the list is, or what is known.
        stores: Ids of stores that hold the same images, beside `id`.
    """

    id: str
    places: Literal["public", "photographs", "unknown"]
    where: str
    stores: tuple[str, ...] = ()


_BEN = "every patch is a georeferenced file of the archive: its store has the footprints"
_FMOW = "the archive's metadata name the place of every image"
_IMAGENET = "photographs (Deng et al. 2009)"
_NONE = "no public list is known here"
_CORPORA = (
    Corpus(
        "ssl4eo-s12",
        "public",
        "centres of all locations, linked in the README of github.com/zhu-xlab/SSL4EO-S12; patches of 2,640 m",
    ),
    Corpus(
        "ssl4eo-s12-v1.1",
        "public",
        "train_metadata.parquet beside the data (arXiv 2503.00168): `geometry` and `time` of every date, which "
        "must be rewritten as sides and days",
    ),
    Corpus("bigearthnet-s2", "public", _BEN, ("bigearthnet-v1",)),
    Corpus("bigearthnet-mm", "public", _BEN, ("bigearthnet-v1",)),
    Corpus("fmow-sentinel", "public", _FMOW),
    Corpus("fmow-rgb", "public", _FMOW),
    Corpus("fmow", "public", _FMOW),
    Corpus("terramesh", "unknown", "of SSL4EO-S12 v1.1 and Major TOM Core; which of their samples is not known here"),
    Corpus("imagenet-1k", "photographs", _IMAGENET),
    Corpus("imagenet-21k", "photographs", _IMAGENET),
    Corpus("imagenet-22k", "photographs", _IMAGENET),
    *(
        Corpus(name, "unknown", _NONE)
        for name in (
            "caco", "copernicus-pretrain", "enmap", "five-billion-pixels", "galileo", "hls", "panopticon", "presto-lem",
            "sat-493m", "satlas", "satlaspretrain", "satvit", "seco", "seco-100k",
        )
    ),
)  # fmt: skip
CORPORA = {one.id: one for one in _CORPORA}


def corpus_of(name: str) -> Corpus:
    """What is known of a corpus by its id."""
    return CORPORA.get(name, Corpus(name, "unknown", _NONE))
