"""What many tests share: the packaged images, the stored net, small nets."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

# No TensorFlow: the process that only hands out the tests starts at once.
import keras_fisher as kf

if TYPE_CHECKING:
    import keras
    import numpy as np

#: Packages whose docstrings' examples trace a net each. Those of README, which run as one, are never slow.
TRACING = {"attacks", "callbacks", "detectors", "interop", "layers", "models", "training"}


@pytest.hookimpl(tryfirst=True)  # before "-m" is looked at
def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, pytest.DoctestItem) and TRACING & set(item.nodeid.split("/")):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _without_old_objects_in_the_collection():
    """Garbage collection passes over what earlier files have left: graphs of millions of objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def sample() -> tuple[np.ndarray, np.ndarray]:
    return kf.datasets.mnist_sample()


@pytest.fixture(scope="session")
def images(sample) -> np.ndarray:
    """24 digits, a few of each class, from all over the sample."""
    return sample[0][::42][:24]


@pytest.fixture(scope="session")
def labels(sample) -> np.ndarray:
    return sample[1][::42][:24]


@pytest.fixture(scope="session")
def lenet() -> keras.Model:
    return kf.models.lenet5(weights="mnist")


@pytest.fixture(scope="session")
def classifier(lenet) -> kf.Classifier:
    return kf.Classifier(lenet)


@pytest.fixture(scope="session")
def nets(lenet) -> dict[str, keras.Model]:
    """The nets of the accuracy tests, by name."""
    return {"lenet5": lenet} | {
        kind: kf.testing.small_net(kind) for kind in ("depthwise", "attention", "softmax")
    }


@pytest.fixture(scope="session")
def labelled(classifier, sample) -> kf.detectors.LabelledImages:
    """100 digits, and what plain PGD of epsilon 2 makes of those that it fools."""
    clean, labels = sample[0][:100], sample[1][:100]
    result = kf.attacks.PGD(2.0, steps=15, early_stop=False)(classifier, clean, labels)
    clean, adversarial = clean[result.success], result.images[result.success]
    noisy = kf.detectors.matched_noise(classifier, clean, result.norms[result.success])
    return kf.detectors.LabelledImages.from_attack(clean, adversarial, noisy)


@pytest.fixture(scope="session")
def forest(classifier, labelled) -> kf.FisherDetector:
    return kf.FisherDetector(classifier, num_eigenvalues=9).fit_labelled(labelled)


@pytest.fixture(scope="session")
def distilled(forest, labelled) -> kf.detectors.surrogates.DetectorSurrogate:
    return kf.detectors.surrogates.surrogate_of(forest, labelled)


@pytest.fixture(scope="session")
def soft(lenet) -> keras.Model:
    """LeNet-5 with a fifth of its logits: nothing saturates, so that float32 gradients are all sound."""
    return kf.testing.scaled_logits(lenet, 0.2)


@pytest.fixture(scope="session")
def soft_classifier(soft) -> kf.Classifier:
    return kf.Classifier(soft)
