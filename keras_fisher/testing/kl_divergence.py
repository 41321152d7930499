"""How far a prediction moves."""

from __future__ import annotations

import keras
import numpy as np

from keras_fisher.checks import suggests_keywords
from keras_fisher.testing.float64_copy import check_logits
from keras_fisher.typing import Array


@suggests_keywords
def kl_divergence(model: keras.Model, images: Array, moved: Array) -> Array:
    """Returns (n,) KL(p(x) ‖ p(x + η)) in nats, exact where p saturates.

    With δ the change of the logits relative to the top class and a = Σ p (e^δ − 1):
    KL = log(1 + a) − a + Σ p (e^δ − 1 − δ). The plain formula is a difference of numbers near each other.

    Args:
        model: images → logits, in float64 (`float64_copy`).
        images: (n, h, w, c) x.
        moved: (n, h, w, c) x + η.

    Raises:
        ValueError: a model of one unit.
    """
    before = model(np.asarray(images, np.float64), training=False).numpy()
    check_logits(before)
    after = model(np.asarray(moved, np.float64), training=False).numpy()
    top = before.argmax(axis=-1)[:, None]
    change = after - before
    delta = change - np.take_along_axis(change, top, axis=-1)
    p = np.exp(before - before.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    growth = np.sum(p * np.expm1(delta), axis=-1)
    return np.log1p(growth) - growth + np.sum(p * (np.expm1(delta) - delta), axis=-1)
