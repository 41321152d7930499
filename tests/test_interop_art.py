"""Our attacks, detectors and classifiers with ART's, beside ART itself on the same model."""

from __future__ import annotations

import dataclasses
import gc
import sys
import types
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from art.attacks.attack import EvasionAttack
from art.attacks.evasion import FastGradientMethod
from art.defences.detector.evasion import EvasionDetector
from art.defences.postprocessor import ReverseSigmoid
from art.defences.preprocessor import SpatialSmoothing
from art.estimators.classification import KerasClassifier, TensorFlowV2Classifier
from art.exceptions import EstimatorError
from art.utils import to_categorical

import keras_fisher as kf
from keras_fisher.interop.art import OSSA, ArtEvasionAttack, FisherEvasionDetector, as_art, from_art

NUM = 8


@pytest.fixture(scope="module")
def digits(images, labels) -> tuple[np.ndarray, np.ndarray]:
    return images[:NUM], labels[:NUM]


@pytest.fixture(scope="module")
def estimator(soft) -> TensorFlowV2Classifier:
    return tensorflow_classifier(soft)


def tensorflow_classifier(model, **options) -> TensorFlowV2Classifier:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"clip_values": (0, 1), "input_shape": (28, 28, 1), "loss_object": loss} | options
    return TensorFlowV2Classifier(model=model, nb_classes=10, **options)


def wrong(labels: np.ndarray) -> np.ndarray:
    return (labels + 3) % 10


def test_generate_returns_the_images_of_the_attack(estimator, soft_classifier, digits):
    images, labels = digits
    attack = kf.attacks.BIM(epsilon=1.5, steps=6)
    for_art = as_art(attack, estimator)
    assert isinstance(for_art, EvasionAttack)
    expected = attack(soft_classifier, images, labels)
    assert 0 < expected.success.sum() < NUM
    found = for_art.generate(images, labels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.images)
    least = kf.attacks.DDN(steps=10)
    np.testing.assert_array_equal(
        as_art(least, estimator).generate(x=images, y=labels), least(soft_classifier, images, labels).images
    )


def test_fgm_is_arts_own(estimator, digits):
    images, labels = digits
    expected = FastGradientMethod(estimator, norm=2, eps=1.0, batch_size=NUM).generate(images, labels)
    found = as_art(kf.attacks.FGM(epsilon=1.0), estimator).generate(images, labels)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_in_every_form_that_art_takes(estimator, digits):
    images, labels = digits
    # Labels that differ from the predictions, so that they matter.
    labels = wrong(labels)
    attack = as_art(kf.attacks.FGM(), estimator)
    expected = attack.generate(images, labels)
    one_hot = to_categorical(labels, 10)
    for form in (labels[:, None], one_hot, 0.1 + 0.8 * one_hot, labels.astype(np.float64), labels.tolist()):
        np.testing.assert_array_equal(attack.generate(images, form), expected)
    predicted = estimator.predict(images).argmax(axis=-1)
    np.testing.assert_array_equal(attack.generate(images), attack.generate(images, predicted))
    assert np.abs(attack.generate(images) - expected).max() > 0.1
    with pytest.raises(TypeError, match="`y` must be integers, got dtype float64"):
        attack.generate(images, labels + 0.5)
    with pytest.raises(ValueError, match=r"`y` must have the shape \(8,\), got \(3,\)"):
        attack.generate(images, labels[:3])
    with pytest.raises(ValueError, match=r"`y` must be in \[0, 9\]"):
        attack.generate(images, labels + 10)


def test_targets(estimator, soft_classifier, digits):
    images, labels = digits
    targets = wrong(labels)
    # An image that has its target's class already is no mistake in ART.
    targets[0] = soft_classifier.predict(images)[0]
    attack = kf.attacks.BIM(epsilon=3.0, steps=6, targeted=True)
    for_art = as_art(attack, estimator)
    assert for_art.targeted is True
    expected = attack(soft_classifier, images[1:], labels[1:], targets=targets[1:])
    found = for_art.generate(images, to_categorical(targets, 10))
    # Another batch size: sums are rounded otherwise.
    np.testing.assert_allclose(found[1:], expected.images, atol=1e-5)
    np.testing.assert_array_equal(found[0], images[0])
    with pytest.raises(ValueError, match="`y` must hold the targets of a targeted attack, got None"):
        for_art.generate(images)
    chosen = kf.attacks.OTCM(epsilon=2.0)
    np.testing.assert_array_equal(
        as_art(chosen, estimator).generate(images, labels), chosen(soft_classifier, images, labels).images
    )


def test_settings_are_attributes_as_in_art(estimator, soft_classifier, digits):
    images, labels = digits
    attack = as_art(kf.attacks.BIM(epsilon=1.0, steps=3), estimator)
    assert attack.attack == kf.attacks.BIM(epsilon=1.0, steps=3)
    assert {"epsilon", "steps", "targeted", "clip", "batch_size", "verbose"} <= set(attack.attack_params)
    assert repr(attack).startswith("ArtEvasionAttack(clip=True, targeted=False, epsilon=1.0, steps=3")
    attack.set_params(epsilon=2.0, batch_size=3)
    attack.steps = 5
    expected = kf.attacks.BIM(epsilon=2.0, steps=5)(soft_classifier, images, labels, batch_size=3)
    np.testing.assert_array_equal(attack.generate(images, labels), expected.images)
    with pytest.raises(ValueError, match='"radius" cannot be set'):
        attack.set_params(radius=1.0)
    with pytest.raises(ValueError, match=r"`epsilon` must be a finite number in .0, 1e.18., got -1"):
        attack.set_params(epsilon=-1.0)
    attack.set_params(epsilon=1.0, targeted=True)
    assert attack.attack.targeted
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        as_art(kf.attacks.FGM(), estimator, batch_size=0)
    with pytest.raises(TypeError, match="`kwargs` must be empty, got mask"):
        as_art(kf.attacks.FGM(), estimator).generate(images, labels, mask=np.ones(1))


def test_ossa_for_art(estimator, soft_classifier, digits):
    images, labels = digits
    settings = {"clip": False, "eigenvector": 2, "num_eigenvectors": 2, "solver": "exact", "seed": 4}
    attack = OSSA(estimator, 2.0, **settings)
    expected = kf.attacks.OSSA(2.0, **settings)
    assert attack.attack == expected
    np.testing.assert_array_equal(
        attack.generate(images, labels), expected(soft_classifier, images, labels).images
    )
    assert isinstance(attack, ArtEvasionAttack)
    assert OSSA.attack_params == attack.attack_params
    names = [field.name for field in dataclasses.fields(kf.attacks.OSSA) if field.init]
    assert names == OSSA.attack_params[: len(names)]
    with pytest.raises(ValueError, match="`eigenvector` must end within the 9"):
        OSSA(estimator, eigenvector=10).generate(images)
    attack.targeted = True
    with pytest.raises(ValueError, match="`targeted` must be False for OSSA"):
        attack.generate(images, labels)


def test_from_art_is_the_model_with_arts_standardisation(soft, digits):
    images, _ = digits
    inputs = keras.Input((28, 28, 3))
    colour = keras.Model(inputs, soft(keras.layers.Conv2D(1, 1, use_bias=False)(inputs)))
    colour.layers[1].set_weights([np.float32([0.7, 0.2, 0.1]).reshape(1, 1, 3, 1)])
    moments = (np.float32([0.1, 0.2, 0.3]), np.float32([0.9, 0.8, 0.7]))
    estimators = [
        tensorflow_classifier(soft),
        tensorflow_classifier(soft, preprocessing=None),
        tensorflow_classifier(soft, preprocessing=(0.1, 0.8)),
        tensorflow_classifier(colour, input_shape=(28, 28, 3), preprocessing=moments),
        KerasClassifier(soft, clip_values=(0, 1), use_logits=True, preprocessing=(0.1, 0.8)),
    ]
    for estimator in estimators:
        pixels = np.repeat(images, estimator.input_shape[-1], axis=-1)
        classifier = from_art(estimator)
        assert classifier.bounds == (0, 1)
        np.testing.assert_allclose(classifier.logits(pixels), estimator.predict(pixels), rtol=1e-4, atol=1e-5)
        expected = estimator.class_gradient(pixels, 3)[:, 0]
        with tf.GradientTape() as tape:
            tensor = tf.constant(pixels)
            tape.watch(tensor)
            score = tf.reduce_sum(classifier.target.logits(tensor)[:, 3])
        # ART returns the gradient in the standardised image times 1 / std, or that of the whole.
        np.testing.assert_allclose(tape.gradient(score, tensor), expected, atol=1e-4 * expected.max())


def test_a_softmax_is_read_under(lenet, digits):
    images, _ = digits
    ended = keras.Model(lenet.inputs, keras.layers.Softmax()(lenet.outputs[0]))
    for estimator in (
        tensorflow_classifier(ended),
        tensorflow_classifier(ended, preprocessing=(0.0, 0.5)),
        KerasClassifier(ended, clip_values=(0, 1)),
    ):
        scale = 2 if estimator.preprocessing.std == 0.5 else 1
        expected = kf.Classifier(lenet, bounds=(0, 2)).logits(scale * images)
        np.testing.assert_allclose(from_art(estimator).logits(images), expected, rtol=1e-4, atol=1e-4)


def test_bounds_are_clip_values(soft, digits):
    assert from_art(tensorflow_classifier(soft, clip_values=None)).bounds is None
    assert from_art(tensorflow_classifier(soft, clip_values=(0, 255))).bounds == (0, 255)
    uniform = (np.zeros((28, 28, 1)), np.ones((28, 28, 1)))
    assert from_art(tensorflow_classifier(soft, clip_values=uniform)).bounds == (0, 1)
    tenth = tensorflow_classifier(soft, clip_values=(0.0, 0.1))
    dark = as_art(kf.attacks.FGM(), tenth).generate(np.full((2, 28, 28, 1), 0.1, np.float32), [0, 1])
    assert dark.max() == np.float32(0.1)
    mixed = (np.zeros((28, 28, 1)), np.linspace(0.5, 1.0, 784).reshape(28, 28, 1))
    with pytest.raises(ValueError, match="`estimator` must have the same bounds for all pixels"):
        from_art(tensorflow_classifier(soft, clip_values=mixed))


def test_a_subclassed_model_gets_the_input_shape_of_its_estimator(soft, digits):
    class Wrapper(keras.Model):
        def call(self, images):
            return soft(images)

    estimator = tensorflow_classifier(Wrapper())
    np.testing.assert_allclose(
        from_art(estimator).logits(digits[0]), soft(digits[0]).numpy(), rtol=1e-4, atol=1e-5
    )


def test_one_classifier_for_each_estimator_as_long_as_both_last(soft):
    estimator = tensorflow_classifier(soft, preprocessing=(0.1, 0.8))
    first = from_art(estimator)
    assert from_art(estimator) is first
    assert as_art(kf.attacks.FGM(), estimator).estimator is estimator
    assert from_art(estimator) is first
    estimator.set_params(clip_values=(0, 2))
    assert from_art(estimator).bounds == (0, 2)
    reference = weakref.ref(estimator)
    del estimator
    gc.collect()
    assert reference() is None


def test_estimators_that_cannot_be_taken_over_are_refused(soft, estimator):
    with pytest.raises(
        TypeError, match="`estimator` must be an ART TensorFlowV2Classifier or KerasClassifier"
    ):
        from_art(soft)
    with pytest.raises(EstimatorError, match="ArtEvasionAttack requires an estimator derived from"):
        as_art(kf.attacks.FGM(), soft)
    function = tensorflow_classifier(lambda images, training=False: soft(images))
    with pytest.raises(
        TypeError, match=r"`estimator` must be around a keras.Model, got function. A function has"
    ):
        from_art(function)
    with pytest.raises(TypeError, match=r"around a keras\.Model"):
        as_art(kf.attacks.FGM(), function)
    smoothed = tensorflow_classifier(soft, preprocessing_defences=SpatialSmoothing())
    with pytest.raises(
        ValueError, match="no preprocessing but standardisation by mean and std, got SpatialSmoo"
    ):
        from_art(smoothed)
    only_in_training = SpatialSmoothing(apply_fit=True, apply_predict=False)
    assert from_art(tensorflow_classifier(soft, preprocessing_defences=only_in_training)).num_classes == 10
    reversed_outputs = tensorflow_classifier(soft, postprocessing_defences=ReverseSigmoid())
    with pytest.raises(ValueError, match="no postprocessing defences, got ReverseSigmoid"):
        from_art(reversed_outputs)
    with pytest.raises(TypeError, match=r"got the class FGM. Make one: FGM\(\)\."):
        as_art(kf.attacks.FGM, estimator)
    with pytest.raises(TypeError, match=r"`attack` must be an attack of kf\.attacks, got FastGradientMethod"):
        as_art(FastGradientMethod(estimator), estimator)


@pytest.fixture(scope="module")
def two_kinds(classifier, sample) -> tuple[np.ndarray, np.ndarray]:
    """Clean images and adversarial ones, shuffled, with 1 for adversarial."""
    images, labels = sample[0][:16], sample[1][:16]
    result = kf.attacks.FGM(epsilon=4.0)(classifier, images, labels)
    both = np.concatenate([images[result.success], result.images[result.success]])
    order = np.random.default_rng(0).permutation(len(both))
    return both[order], np.repeat([0, 1], result.success.sum())[order]


def make_detector(classifier: kf.Classifier, **options) -> kf.FisherDetector:
    return kf.FisherDetector(classifier, 9, head="gaussian_nb", **options)


def test_a_detector_of_ours_as_arts(classifier, two_kinds):
    images, is_adversarial = two_kinds
    labelled = kf.detectors.LabelledImages(images, is_adversarial.astype(bool), None)
    # A threshold, not the default, that parts the adversarial images.
    expected = kf.FisherDetector(classifier, 9).fit_labelled(labelled).predict_proba(images)
    threshold = np.median(expected[is_adversarial == 1, 1])
    assert threshold > 0.5
    for form in (is_adversarial, is_adversarial[:, None], to_categorical(is_adversarial, 2)):
        detector = FisherEvasionDetector(kf.FisherDetector(classifier, 9, threshold=threshold, batch_size=5))
        assert isinstance(detector, EvasionDetector)
        assert detector.fit(images, form, batch_size=7, nb_epochs=3) is None
        report, found = detector.detect(images, batch_size=7)
        # Other batches round the eigenvalues otherwise, and a tree's answer may jump.
        np.testing.assert_allclose(report["predictions"], expected, atol=0.05)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, report["predictions"][:, 1] >= threshold)
        np.testing.assert_array_equal(found, detector.detector.predict(images) == 1)
        assert 0 < found.sum() < (report["predictions"][:, 1] >= 0.5).sum()
        assert detector.detector.batch_size == 5
    assert detector.get_params() == {"detector": detector.detector}


def test_batch_size_reaches_the_detector(classifier, two_kinds, monkeypatch):
    images, is_adversarial = two_kinds
    inner = make_detector(classifier)
    sizes = []
    original = kf.FisherDetector.features_of

    def features_of(self, images):
        sizes.append(self.batch_size)
        return original(self, images)

    monkeypatch.setattr(kf.FisherDetector, "features_of", features_of)
    detector = FisherEvasionDetector(inner)
    detector.fit(images, is_adversarial, 3)
    detector.detect(images, 4)
    detector.detect(images)
    assert sizes == [3, 4, None]


def test_wrong_arguments_of_the_detector(classifier, two_kinds):
    images, is_adversarial = two_kinds
    with pytest.raises(TypeError, match=r"`detector` must be a Detector, got Classifier. kf\.FisherDetector"):
        FisherEvasionDetector(classifier)
    detector = FisherEvasionDetector(make_detector(classifier))
    with pytest.raises(TypeError, match="`detector` must be a Detector"):
        detector.set_params(detector=None)
    detector = FisherEvasionDetector(make_detector(classifier))
    with pytest.raises(ValueError, match=r"`y` must be in \[0, 1\]"):
        detector.fit(images, is_adversarial + 1)
    with pytest.raises(ValueError, match="hold images of both kinds"):
        detector.fit(images, 0 * is_adversarial)
    with pytest.raises(TypeError, match="`kwargs` must be empty, got verbose"):
        detector.fit(images, is_adversarial, verbose=1)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        detector.fit(images, is_adversarial, batch_size=0)
    with pytest.raises(ValueError, match="not fitted yet"):
        detector.detect(images)


def test_a_detector_of_an_art_classifier_is_stored_and_read(lenet, two_kinds, tmp_path):
    images, is_adversarial = two_kinds
    classifier = from_art(tensorflow_classifier(lenet, preprocessing=(0.05, 0.9)))
    detector = FisherEvasionDetector(make_detector(classifier))
    detector.fit(images, is_adversarial)
    folder = detector.detector.save(tmp_path / "detector")
    expected, _ = detector.detect(images)
    found, _ = FisherEvasionDetector(kf.load_detector(folder)).detect(images)
    np.testing.assert_allclose(found["predictions"], expected["predictions"], atol=1e-6)


@pytest.mark.parametrize("is_other", [False, True])
def test_without_art_the_error_names_the_command(is_other, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "art"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("keras_fisher.interop.art")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(kf.interop, "art")
    # Another library on PyPI has the name `art` too.
    monkeypatch.setitem(sys.modules, "art", types.ModuleType("art") if is_other else None)
    found = "another library of the name art" if is_other else "none"
    expected = f"`adversarial-robustness-toolbox` must be installed for kf.interop.art, got {found}. Run: pip"
    with pytest.raises(ImportError) as error:
        _ = kf.interop.art
    assert str(error.value).startswith(expected)
    assert 'pip install "keras-fisher[compare]"' in str(error.value)
