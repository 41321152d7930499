"""The heads by name: what turns features into a probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_fisher.checks import check_option, message
from keras_fisher.detectors.ydf_classifier import YdfClassifier
from keras_fisher.detectors.ydf_gradient_boosted_trees import YdfGradientBoostedTrees
from keras_fisher.detectors.ydf_random_forest import YdfRandomForest
from keras_fisher.layers.ydf_library import ydf_library


def make_head(head: str | BaseEstimator, seed: int) -> Any:
    """Returns a fresh, unfitted estimator.

    Args:
        head: a name among `HEADS`, or a scikit-learn classifier, which is cloned.
        seed: of a head given by name. An estimator keeps its own `random_state`.
    """
    if isinstance(head, str):
        return HEADS[check_head(head)](seed)
    return clone(check_head(head))


def check_head(head: Any) -> Any:
    """Returns `head`: a name, or a scikit-learn classifier of a kind that gives probabilities.

    Raises:
        ValueError: a name that there is not.
        TypeError: neither a name nor an estimator with `predict_proba`.
        ImportError: a head of YDF, which is not installed.
    """
    # Now, and not once the features are computed.
    if isinstance(head, YdfClassifier) or (
        isinstance(head, str) and head.startswith("ydf_") and head in HEADS
    ):
        ydf_library(f"the head {head!r}")
    if isinstance(head, str):
        return check_option("head", head, HEADS, "Or pass a scikit-learn classifier with predict_proba.")
    rule = f"be one of {', '.join(map(repr, HEADS))}, or a scikit-learn classifier"
    if isinstance(head, type) or not hasattr(head, "fit") or not hasattr(head, "get_params"):
        remedy = f"Pass an object, {head.__name__}()." if isinstance(head, type) else ""
        raise TypeError(message("head", rule, repr(head), remedy))
    # Of the class: an object may come to have it by being fitted.
    return check_probabilities(head, type(head))


def check_probabilities(head: Any, asked: Any) -> Any:
    """Returns `head` if `asked`, the fitted head or its class, has `predict_proba`.

    Raises:
        TypeError: it has not.
    """
    if not hasattr(asked, "predict_proba"):
        remedy = "Wrap it in sklearn.calibration.CalibratedClassifierCV."
        raise TypeError(message("head", "have predict_proba", repr(head), remedy))
    return head


def _random_forest(seed: int) -> RandomForestClassifier:
    """Returns the paper's forest: depth at most 5, more than 20 trees.

    Classes are balanced: twice as many negatives as positives is a choice of ours and says nothing about how
    often images are attacked. A probability of 0.5 then means that the features are as likely on either side.
    One job: 100 shallow trees are fitted in under a second, and a pool of threads costs more than it saves.
    """
    return RandomForestClassifier(
        n_estimators=100, max_depth=5, class_weight="balanced", random_state=seed, n_jobs=1
    )


def _gaussian_nb(seed: int) -> GaussianNB:
    """Returns naive Bayes, balanced as the forest; nothing in it is random.

    `var_smoothing` adds 1e-9 of the largest variance to every variance. Log eigenvalues have variances of the
    order of 100, so that it matters only to constant columns, which add the same to both classes.
    """
    return GaussianNB(priors=[0.5, 0.5], var_smoothing=1e-9)


def _logistic_regression(seed: int) -> Pipeline:
    """Returns logistic regression of standardised features, balanced as the forest; nothing in it is random.

    1,000 steps, ten times scikit-learn's number: eigenvalues that lie on a line need more than 100.
    """
    regression = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000, random_state=seed)
    return make_pipeline(StandardScaler(), regression)


def _ydf_random_forest(seed: int) -> YdfRandomForest:
    """Returns the forest of `_random_forest` by YDF."""
    return YdfRandomForest(num_trees=100, max_depth=5, class_weight="balanced", random_state=seed)


def _ydf_gradient_boosted_trees(seed: int) -> YdfGradientBoostedTrees:
    """Returns boosted trees by YDF, balanced as the forest, shallow as is usual for boosting."""
    return YdfGradientBoostedTrees(num_trees=100, max_depth=3, class_weight="balanced", random_state=seed)


#: The heads that a detector knows by name; those that begin with "ydf_" need `keras-fisher[trees]`.
HEADS: dict[str, Callable[[int], Any]] = {
    "random_forest": _random_forest,
    "gaussian_nb": _gaussian_nb,
    "logistic_regression": _logistic_regression,
    "ydf_random_forest": _ydf_random_forest,
    "ydf_gradient_boosted_trees": _ydf_gradient_boosted_trees,
}
