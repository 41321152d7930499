"""An independent float64 reference, and small nets to try things on. For tests, benchmarks and doubters."""

from keras_fisher.testing.float64_copy import float64_copy, scaled_logits
from keras_fisher.testing.kl_divergence import kl_divergence
from keras_fisher.testing.nets import small_net
from keras_fisher.testing.reference_spectrum import ReferenceSpectrum, reference_spectrum

__all__ = [
    "ReferenceSpectrum",
    "float64_copy",
    "kl_divergence",
    "reference_spectrum",
    "scaled_logits",
    "small_net",
]


def __dir__() -> list[str]:
    return __all__
