"""Who reads contested numbers how, with where that can be looked up. Facts, in our words."""

# Reading -> (who, where).
CONTESTED: dict[str, tuple[str, str]] = {
    "f1_positive_tilewise": (
        "SpectralGPT's code adds up the counts of tiles that overlap",
        "https://github.com/danfenghong/IEEE_TPAMI_SpectralGPT/blob/main/downstream_tasks/OSCD/train.py",
    ),
    "f1_positive": (
        "the code of Daudt et al. adds up the counts of all test images",
        "https://github.com/rcdaudt/fully_convolutional_change_detection",
    ),
    "micro_ap_per_batch": (
        "SeCo, SSL4EO-S12 and SpectralGPT average over batches",
        "https://github.com/zhu-xlab/SSL4EO-S12",
    ),
    "miou_per_image": (
        "one of three readings that Panopticon's authors set side by side",
        "https://github.com/Panopticon-FM/panopticon/issues/1",
    ),
    "iou_micro_pixels": (
        "what Panopticon's paper prints, as its authors say",
        "https://github.com/Panopticon-FM/panopticon/issues/1",
    ),
    "test tenth": (
        "torchgeo-bench tests on 1,000 and 4,000 samples of BigEarthNet",
        "https://github.com/torchgeo/torchgeo-bench",
    ),
    "seco": (
        "SeCo, SSL4EO-S12 and FGMAE draw with replacement from seed 42, in the order of the index",
        "https://github.com/ServiceNow/seasonal-contrast",
    ),
}
