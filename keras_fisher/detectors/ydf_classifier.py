"""What the heads of Yggdrasil Decision Forests share: the contract of scikit-learn."""

from __future__ import annotations

import abc
from typing import Any, Self, final

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from keras_fisher.checks import check_integer, message
from keras_fisher.layers.ydf_library import quiet, ydf_library
from keras_fisher.layers.ydf_model import read_ydf_model
from keras_fisher.typing import Array


class YdfClassifier(ClassifierMixin, BaseEstimator, abc.ABC):
    """A binary classifier for scikit-learn, trained by Yggdrasil Decision Forests.

    A subclass has its settings and writes `learner`. As scikit-learn wants it, they are checked in `fit`.
    """

    num_trees: int
    max_depth: int | None
    min_examples: int
    class_weight: Any
    random_state: int

    #: (2,), the classes in order, as they were given.
    classes_: Array
    #: The fitted model of `ydf`, of the column "features" and the classes 0 and 1.
    model_: Any
    n_features_in_: int

    @abc.abstractmethod
    def learner(self, ydf: Any, **shared: Any) -> Any:
        """Returns the learner of `ydf`.

        Args:
            ydf: the module.
            **shared: the arguments of every learner.
        """

    @final
    def fit(self, X: Any, y: Any) -> Self:
        """Returns itself, fitted; the same settings and data give the same model.

        Args:
            X: (n, f), finite. YDF knows float32 only.
            y: (n,), of two classes.

        Raises:
            ImportError: `ydf` is not installed.
            TypeError, ValueError: a setting of the wrong type or out of range, or data that do not fit.
        """
        ydf = ydf_library(type(self).__name__)
        shared = self._shared_settings()
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) != 2:
            found = f"{len(classes)} class{'es' if len(classes) > 1 else ''}"
            # The words for which scikit-learn's checks of estimators look.
            remedy = "Only binary classification is supported."
            raise ValueError(message("y", "hold two classes", found, remedy))
        weights = compute_sample_weight(self.class_weight, y).astype(np.float32)
        learner = self.learner(ydf, **shared)
        with quiet(ydf):
            self.model_ = learner.train({"features": X, "label": labels, "weight": weights})
        self.classes_ = classes
        return self

    @final
    def predict_proba(self, X: Any) -> Array:
        """Returns (n, 2) float64, 1 − p and p as YDF has it in float32.

        Raises:
            NotFittedError: before `fit`.
            ValueError: data that do not fit.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        positive = self.model_.predict({"features": X}).astype(np.float64)
        return np.stack([1 - positive, positive], axis=1)

    @final
    def predict(self, X: Any) -> Array:
        """Returns (n,), the likelier classes, the first of both at a tie; raises as `predict_proba`."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = state["model_"].serialize()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "model_" in state:
            state = state | {"model_": read_ydf_model(type(self).__name__, state["model_"])}
        super().__setstate__(state)

    def _shared_settings(self) -> dict[str, Any]:
        """Returns what every learner is given, checked."""
        depth = None if self.max_depth is None else check_integer("max_depth", self.max_depth, 1)
        return {
            "label": "label",
            "weights": "weight",
            "num_trees": check_integer("num_trees", self.num_trees, 1),
            # YDF counts the root, scikit-learn the splits above a leaf.
            "max_depth": -1 if depth is None else depth + 1,
            "min_examples": check_integer("min_examples", self.min_examples, 1),
            "random_seed": check_integer("random_state", self.random_state, 0, 2**31 - 1),
            # Without what only its training and its description need.
            "pure_serving_model": True,
            "num_threads": 1,
        }
