"""Distances between many points, within bounded memory."""

from __future__ import annotations

import numpy as np

from keras_fisher.typing import Array

#: Numbers of a block in float64: 64 MB.
_BLOCK_NUMBERS = 2**23


def squared_distances(points: Array, centres: Array) -> Array:
    """Returns (n, m) float64, ‖pᵢ − cⱼ‖², never negative.

    ‖p‖² + ‖c‖² − 2 p·c around the mean of the centres, which is a product of matrices and holds no array of
    n × m × f numbers. Its error is some 2⁻⁵² of ‖p‖² + ‖c‖² around that mean, and so is the answer for two
    points that are the same.

    Args:
        points: (n, f), any float dtype.
        centres: (m, f), m ≥ 1.

    Example:
        >>> import numpy as np
        >>> squared_distances(np.zeros((1, 2)), np.array([[3.0, 4.0], [0.0, 1.0]]))
        array([[25.,  1.]])
    """
    total = np.zeros((len(points), len(centres)))
    width = max(1, _BLOCK_NUMBERS // (len(points) + len(centres)))
    for start in range(0, points.shape[1], width):
        columns = slice(start, start + width)
        right = centres[:, columns].astype(np.float64)
        origin = right.mean(axis=0)
        right -= origin
        left = points[:, columns] - origin
        total += np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1) - 2 * left @ right.T
    return np.maximum(total, 0)
