"""Names for the array types that cross the plugin seam; all are numpy, on the CPU."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (H, W, 3), RGB."""

LabelMap: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (H, W): 0 background, 1..254 object ids, 255 void (in annotations only)."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""bool, any shape."""

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""float32, any shape."""

AnyArray: TypeAlias = npt.NDArray[Any]
"""Any type, any shape."""

Size: TypeAlias = tuple[int, int]
"""(H, W) in pixels, always in this order."""
