"""Fitted heads as Keras layers."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from keras_fisher.checks import message
from keras_fisher.detectors.ydf_classifier import YdfClassifier
from keras_fisher.layers import (
    GaussianNaiveBayes,
    LogisticProbability,
    ProbabilityLayer,
    TreeEnsemble,
    YdfEnsemble,
)


def head_layer(head: Any, *, name: str | None = None) -> ProbabilityLayer:
    """Returns the layer whose answer to features is `head.predict_proba(features)`.

    Trees of scikit-learn and of YDF give the same bits, the others the same up to rounding in float64.

    Args:
        head: a fitted random forest, extra trees, decision tree, naive Bayes or logistic regression of
            scikit-learn, a Pipeline of a StandardScaler and the last, or a head of YDF.
        name: of the layer.

    Raises:
        TypeError: another head.
        NotFittedError: one that is not fitted.
        ValueError: one that a layer does not have: of several outputs, or of other classes than its kind may.
        ImportError: one of YDF, which is not installed.

    Example:
        >>> import numpy as np
        >>> features = np.random.default_rng(0).normal(size=(200, 3))
        >>> head = RandomForestClassifier(10, random_state=0).fit(features, features[:, 0] > 0)
        >>> type(head_layer(head)).__name__
        'TreeEnsemble'
    """
    if isinstance(head, YdfClassifier):
        check_is_fitted(head)
        return YdfEnsemble.from_ydf(head.model_, name=name)
    if isinstance(head, (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier)):
        return TreeEnsemble.from_sklearn(head, name=name)
    if isinstance(head, GaussianNB):
        return GaussianNaiveBayes.from_sklearn(head, name=name)
    if isinstance(head, LogisticRegression) or _is_standardised_regression(head):
        return LogisticProbability.from_sklearn(head, name=name)
    rule = (
        "be a RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier, GaussianNB, "
        "LogisticRegression, a Pipeline of a StandardScaler and a LogisticRegression, YdfRandomForest or "
        "YdfGradientBoostedTrees to become a layer"
    )
    raise TypeError(message("head", rule, repr(head), "Fit a detector with one of these."))


def _is_standardised_regression(head: Any) -> bool:
    if not isinstance(head, Pipeline) or len(head.steps) != 2:
        return False
    return isinstance(head.steps[0][1], StandardScaler) and isinstance(head.steps[1][1], LogisticRegression)
