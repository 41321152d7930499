"""Detectors: has somebody pushed this image? Features, heads, labelled sets, held-out scores."""

from keras_fisher.detectors.bootstrap_auc import bootstrap_auc
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.fisher_detector import FisherDetector
from keras_fisher.detectors.holdout import HoldoutScore, holdout_auc
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.load_detector import load_detector
from keras_fisher.detectors.matched_noise import matched_noise
from keras_fisher.detectors.softmax_detector import SoftmaxDetector

__all__ = [
    "Detector",
    "FisherDetector",
    "HoldoutScore",
    "LabelledImages",
    "SoftmaxDetector",
    "bootstrap_auc",
    "holdout_auc",
    "load_detector",
    "matched_noise",
]
