"""The evaluation of detectors: every attack against every training attack, on images that are new to both."""

from keras_fisher.detectors.evaluation.cell import SUBSETS, Cell
from keras_fisher.detectors.evaluation.evaluate import evaluate
from keras_fisher.detectors.evaluation.evaluation import Evaluation
from keras_fisher.detectors.evaluation.feature_cache import FeatureCache
from keras_fisher.detectors.evaluation.source_split import SourceSplit, split_sources

__all__ = ["SUBSETS", "Cell", "Evaluation", "FeatureCache", "SourceSplit", "evaluate", "split_sources"]


def __dir__() -> list[str]:
    return __all__
