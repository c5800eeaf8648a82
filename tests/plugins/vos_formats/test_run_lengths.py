"""COCO's run-length codes: read as pycocotools reads them, and refused where it would write beyond its memory."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from vos_formats.polygons import filled
from vos_formats.run_lengths import from_coco, to_coco, to_coco_counts


@pytest.mark.parametrize("seed", range(8))
def test_codes_are_read_as_pycocotools_reads_them(seed):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 300, 2))
    noise = rng.random(size) < [0.0, 1.1, 0.001, 0.5][seed % 4]
    mask = np.repeat(np.repeat(noise, 3, axis=0), 40, axis=1)
    for code in (to_coco(mask), to_coco_counts(mask)):
        assert np.array_equal(from_coco(code, mask.shape), mask)
    assert np.array_equal(coco_mask.decode(to_coco(mask)).astype(bool), mask)


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([2147483648, 48], "Zl01l06L2O000O20N10001N4Ji8"),
        ([4, 4], "Zl01l06L2O000O20N10001N4Ji8"),  # more pixels than the size has
        ([4, 4], "0"),
        ([4, 4], ""),
        ([4, 4], "PPPPPPPPPPPP0"),
        ([4, 4], "oooo"),
        ([4, 4], "\u00e9"),
        ([4, 4], "01O"),
        ([4, 4], [1 << 62, 1 << 62, 1 << 62, 1 << 62, 16]),
        ([4, 4], [-4, 20]),
        ([4, 4], [[16]]),
        ([4, 5], [16]),
        ([4], [16]),
        (None, [16]),
    ],
)
def test_codes_that_do_not_fit_are_refused(size, counts):
    with pytest.raises((ValueError, TypeError)):
        from_coco({"size": size, "counts": counts}, (4, 4))


@pytest.mark.parametrize("size", [(1 << 31, 48), (-4, 4), (0, 4), (4.0, 4), ("4", 4)])
def test_pictures_that_cannot_be_are_refused(size):
    with pytest.raises(ValueError, match="a picture of"):
        from_coco({"size": list(size), "counts": [16]}, size)
    with pytest.raises(ValueError, match="a picture of"):
        filled([np.asarray([(0, 0), (2, 0), (2, 2)])], size)
