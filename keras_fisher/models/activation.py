"""The activation of the nets of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_fisher.checks import check_option

ACTIVATIONS = ("relu", "elu")


def choose_activation(activation: str | None, manifest: Mapping[str, Any]) -> str:
    """Returns the activation to build: as asked for, or that of the stored net with this manifest.

    Raises:
        ValueError: another one than these two, or than the stored net's.
    """
    if activation is None:
        return manifest.get("activation", ACTIVATIONS[0])
    options = (manifest.get("activation", ACTIVATIONS[0]),) if manifest else ACTIVATIONS
    return check_option("activation", activation, options)
