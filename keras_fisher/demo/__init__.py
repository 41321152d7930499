"""What the library does, on real handwritten digits, in a minute: `keras-fisher demo`."""

from keras_fisher.demo.figure import draw_figure, write_figure
from keras_fisher.demo.report import print_report
from keras_fisher.demo.run import DemoReport, Detection, DetectorScore, Example, Fooling, LeastNorm, run_demo

__all__ = [
    "DemoReport",
    "Detection",
    "DetectorScore",
    "Example",
    "Fooling",
    "LeastNorm",
    "draw_figure",
    "print_report",
    "run_demo",
    "write_figure",
]


def __dir__() -> list[str]:
    return __all__
