"""`seamo-prep init`: writes the `samples.csv` and `seamo.yaml` of `folder` for images that lie in a folder.

    paths     what the names of files say: splits, parts (modalities, masks, bands), dates, classes
    tables    what a csv, or text lists of splits, say of files
    peek      what the headers and some pixels of files say
    guess     sensor, bands and grid of one layer, each with the reason
    values    its unit and nodata
    masks     what the labels are for
    known     published archives and layouts that are recognised
    arrange   samples, layers and labels, by all of these
    begin     the whole: what is written, what was guessed, what is not known
    text      the two files, and whose they are

Names and headers decide; values are only held against them. What cannot be known is written as `FILL-IN`, which
`build` refuses.
"""
