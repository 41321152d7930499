"""Detectors: has somebody pushed this image? Features, heads, baselines, evaluation, export."""

from keras_fisher.detectors import baselines, features, surrogates
from keras_fisher.detectors.bootstrap_auc import bootstrap_auc, bootstrap_auc_difference
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.evaluation import Cell, Evaluation, evaluate
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.fisher_detector import FisherDetector
from keras_fisher.detectors.holdout import HoldoutScore, holdout_auc
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.load_detector import load_detector
from keras_fisher.detectors.matched_noise import matched_noise
from keras_fisher.detectors.score_detector import ScoreDetector
from keras_fisher.detectors.softmax_detector import SoftmaxDetector

__all__ = [
    "Cell",
    "Detector",
    "Evaluation",
    "FeatureDetector",
    "FisherDetector",
    "HoldoutScore",
    "LabelledImages",
    "ScoreDetector",
    "SoftmaxDetector",
    "baselines",
    "bootstrap_auc",
    "bootstrap_auc_difference",
    "evaluate",
    "features",
    "holdout_auc",
    "load_detector",
    "matched_noise",
    "surrogates",
]


def __dir__() -> list[str]:
    return __all__
