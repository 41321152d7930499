"""What scoring costs, beside plain prediction on the same machine."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf

pytestmark = pytest.mark.slow


def seconds(run, repeats=9):
    """Returns the median of warm runs."""
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return np.median(times)


def test_scoring_costs_at_most_twelve_predictions_and_ten_milliseconds_an_image(sample, tmp_path):
    images, labels = sample
    classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
    result = kf.attacks.OSSA(epsilon=4.0)(classifier, images[:200], labels[:200])
    detector = kf.FisherDetector(classifier)
    detector.fit(images[:200][result.success], result.images[result.success])
    serve = tf.saved_model.load(str(detector.export(tmp_path))).signatures["serving_default"]
    predict = seconds(lambda: classifier.model.predict(images, verbose=0))
    assert seconds(lambda: detector.score_samples(images)) <= 12 * predict
    assert seconds(lambda: serve(images=tf.constant(images))) <= 12 * predict
    assert seconds(lambda: serve(images=tf.constant(images[:1])), 51) <= 0.010
