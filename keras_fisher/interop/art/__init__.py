"""Our attacks and detectors for the Adversarial Robustness Toolbox (ART), and its classifiers for us.

`as_art` makes an ART `EvasionAttack` of any attack of ours, `OSSA` is the one of the paper, and
`FisherEvasionDetector` is a detector of ours as an ART `EvasionDetector`. `from_art` makes a Classifier of an
ART classifier.
"""

from keras_fisher.interop.foreign import check_library

# Another library on PyPI calls itself `art` too, and has no attacks.
check_library("adversarial-robustness-toolbox", "art", "art.attacks")

from keras_fisher.interop.art.as_art import (  # noqa: E402
    OSSA,
    ArtEvasionAttack,
    FisherEvasionDetector,
    as_art,
)
from keras_fisher.interop.art.from_art import from_art  # noqa: E402

__all__ = ["OSSA", "ArtEvasionAttack", "FisherEvasionDetector", "as_art", "from_art"]


def __dir__() -> list[str]:
    return __all__
