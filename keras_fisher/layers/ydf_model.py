"""Models of Yggdrasil Decision Forests, read from bytes and checked."""

from __future__ import annotations

from typing import Any

from keras_fisher.checks import message
from keras_fisher.layers.ydf_library import quiet, ydf_library


def read_ydf_model(user: str, content: bytes) -> Any:
    """Returns the model that `model.serialize()` of `ydf` gave as bytes. Nothing in it runs.

    Args:
        user: what needs it, for the error.
        content: the bytes.

    Raises:
        ImportError: `ydf` is not installed.
        ValueError: they cannot be read, or are no binary classifier of one column "features".
    """
    ydf = ydf_library(user)
    with quiet(ydf):
        try:
            model = ydf.deserialize_model(content)
        except (ValueError, RuntimeError) as error:
            rule = "be what ydf_model.serialize() gave"
            raise ValueError(message("model", rule, f"what fails with {error}")) from error
    num_ydf_features(model)
    return model


def num_ydf_features(model: Any) -> int:
    """Returns how wide the column "features" of a binary classifier is.

    Raises:
        ValueError: it is no classifier of the classes 0 and 1, or has other columns.
    """
    classes = list(model.label_classes()) if model.task().name == "CLASSIFICATION" else None
    if classes != ["0", "1"]:
        raise ValueError(message("model", "be a classifier of the classes 0 and 1", classes))
    columns = model.data_spec().unstackeds
    names = sorted({name.split(".")[0] for name in model.input_feature_names()})
    if [column.original_name for column in columns] != ["features"] or not set(names) <= {"features"}:
        remedy = 'Train it with {"features": (n, f) floats, label: (n,) of 0 and 1}.'
        raise ValueError(message("model", 'have one column "features"', names, remedy))
    return columns[0].size
