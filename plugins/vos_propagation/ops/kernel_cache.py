"""A smaller cache for the kernels that oneDNN, torch's library for convolutions on a CPU, makes for each shape.

Objects of all sizes are decoded in boxes of many shapes, so kernels pile up over a long video: oneDNN keeps 1,024 of
them, with their buffers. Two hundred are enough for the shapes of some hundred frames.
"""

from __future__ import annotations

import os

KERNELS = 200
VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def bound_kernel_cache() -> None:
    """Keep at most ``KERNELS`` kernels in this process, unless the user has set another number.

    oneDNN reads the number when it makes its first kernel; afterwards this does nothing.
    """
    os.environ.setdefault(VARIABLE, str(KERNELS))
