"""The plain form of the synthetic world: three smooth zones, a texture for each cover, lines for roads and rivers."""

import numpy as np

from seamo.bands import S2_L2A
from seamo.testing.covers import COVERS, FIELDS, LINES, MATERIALS, NEIGHBOURS, tables
from seamo.testing.fields import blocks, smooth, textures
from seamo.testing.ground import Calendar, Ground, Radar


def lay_out_plain(rng: np.random.Generator, size: int, focus: str | None) -> Ground:
    """Lay out a place of the plain form; the draws and their order are part of the form."""
    main = focus if focus is not None else str(rng.choice(COVERS))
    around = [str(one) for one in rng.choice(NEIGHBOURS.get(main, FIELDS), 2)]
    # Coordinates along and across the fields, and the parcels they cut out.
    angle = rng.uniform(0, np.pi)
    row, col = np.mgrid[0:size, 0:size].astype(np.float32)
    along = np.cos(angle) * col + np.sin(angle) * row
    across = np.cos(angle) * row - np.sin(angle) * col
    parcel = blocks(along, across, rng.uniform(14, 30), rng.uniform(8, 16))
    # Zones: the largest of three smooth fields; the focus starts ahead.
    ahead = (rng.uniform(0.9, 2.2), 0.0, 0.0) if main not in LINES else (-9.0, 0.0, 0.0)
    field = np.stack([smooth(rng, size, 20) + lead for lead in ahead])
    codes = np.array([COVERS.index(one) for one in (main, *around)], dtype=np.uint8)
    cover = codes[field.argmax(axis=0)]
    for line in LINES:
        if main == line or (rng.random() < 0.12 and main not in ("sea", "river")):
            bend = smooth(rng, size, 24)[:, :1].T * 6 if line == "river" else 0.0
            turned = np.cos(rng.uniform(0, np.pi)) * (col - size / 2) + np.sin(rng.uniform(0, np.pi)) * (row - size / 2)
            offset = turned + bend + rng.uniform(-size / 8, size / 8)
            cover[np.abs(offset) < rng.uniform(*LINES[line]) / 2] = COVERS.index(line)

    texture = textures(rng, along, across, parcel)[cover, np.arange(size)[:, None], np.arange(size)[None, :]]
    days = rng.normal(0, 10, len(COVERS)).astype(np.float32)[cover] + rng.normal(0, 5, 4096).astype(np.float32)[parcel]
    # Parcels of annual crops are sown in autumn (green in May) or in spring (green in July).
    share = rng.uniform(0.2, 0.8)
    sown = np.where(rng.random(4096) < share, 35.0, -35.0).astype(np.float32)[parcel]
    days += np.where(cover == COVERS.index("annual-crop"), sown, 0).astype(np.float32)

    look = tables()
    gain = np.exp(rng.normal(0, 0.10, len(COVERS))).astype(np.float32)
    tilt = np.linspace(-1, 1, len(S2_L2A)) * rng.normal(0, 0.06, (len(MATERIALS), 1))
    spectra = np.array(list(MATERIALS.values())) * np.exp(rng.normal(0, 0.10, (len(MATERIALS), 1)) + tilt)
    rest = (look.rest * gain[:, None])[cover]
    return Ground(
        cover=cover,
        rest=rest,
        change=(look.active * gain[:, None])[cover] - rest,
        spectra=spectra.astype(np.float32),
        calendar=Calendar(
            look.green[cover], look.swing[cover], look.peak[cover], look.width[cover], look.shape[cover]
        ),
        day_shift=days,
        vigour=1 + 0.15 * texture,
        light=np.exp(look.rough[cover] * texture),
        radar=Radar(
            look.vv[cover], look.vh[cover], look.vv_green[cover], look.vh_green[cover],
            detail=8 * look.rough[cover] * texture,
        ),
    )  # fmt: skip
