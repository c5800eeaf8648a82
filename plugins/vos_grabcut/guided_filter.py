"""The guided filter: values that follow an image's edges."""

from __future__ import annotations

import cv2
import numpy as np

from vos.plugin import AnyArray, FloatArray, Image


def guided_filter(image: Image, values: FloatArray, radius: int, epsilon: float = 1e-4) -> FloatArray:
    """Smooth values along an image's grey levels.

    Args:
        image: uint8 (H, W, 3).
        values: float32 (H, W).
        radius: of the box filter, pixels.
        epsilon: variance of grey levels, in [0, 1] squared, below which a window is flat.
    Returns:
        float32 (H, W).
    Source: He, Sun, Tang, ECCV 2010, algorithm 1.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(array: AnyArray) -> AnyArray:
        return np.asarray(cv2.blur(array, window, borderType=cv2.BORDER_REFLECT))

    mean_grey, mean_values = mean(grey), mean(values)
    covariance = mean(grey * values) - mean_grey * mean_values
    variance = mean(grey * grey) - mean_grey * mean_grey
    slope = covariance / (variance + epsilon)
    offset = mean_values - slope * mean_grey
    filtered: FloatArray = (mean(slope) * grey + mean(offset)).astype(np.float32)
    return filtered
