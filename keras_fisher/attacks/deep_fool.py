"""DeepFool."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import norms, per_image, unit, where_image
from keras_fisher.attacks.judgement import margins
from keras_fisher.attacks.minimum_norm_attack import MinimumNormAttack
from keras_fisher.attacks.rows import Rows
from keras_fisher.checks import check_integer, check_real
from keras_fisher.classifiers import Classifier
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: Bisections that take the overshoot back.
_BISECTIONS = 5


#: A gap between logits that rounding may hide, relative and absolute.
_TIE = 1e-6


class _State(NamedTuple):
    images: Tensor  # (active, h, w, c) where the attack stands
    origins: Tensor  # (active, h, w, c)
    labels: Tensor  # (active,) int64
    rivals: Tensor  # (active, candidates − 1) int64, the other classes


@dataclasses.dataclass(frozen=True)
class DeepFool(MinimumNormAttack):
    """Steps to the nearest boundary of the linearised classifier, until the answer changes, l2.

    Each step costs one forward pass and one backward pass for each rival class, side by side.

    Args:
        clip: keep the images within the classifier's bounds.
        steps: the most iterations.
        candidates: classes considered, the label among them: those most probable at the image.
        overshoot: how much farther each step goes, as a share of the whole perturbation.
        relaxation: share of the way to the nearest boundary that a step goes. 1 is the paper's; less
            follows the curvature, takes more steps and finds nearer images.

    Source: Moosavi-Dezfooli, Fawzi and Frossard 2016, "DeepFool: a simple and accurate method to fool deep
    neural networks", Algorithm 2. It reads logits, also under a softmax. We linearise within the bounds: a
    pixel that stands at a bound and would leave it has no part in a step. The overshoot is taken back at the
    end, by bisection, as far as the answer stays wrong.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.DeepFool()(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> bool(result.success.all())
        True
    """

    _: dataclasses.KW_ONLY
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02
    relaxation: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        check_integer("candidates", self.candidates, 2)
        check_real("overshoot", self.overshoot, 0.0, exclusive_minimum=True)
        check_real("relaxation", self.relaxation, 0.0, 1.0, exclusive_minimum=True)

    def search(self, classifier: Classifier, chunk: Chunk, best: BestAttempt) -> None:
        rivals = self._rivals(classifier, chunk)
        arrays = (chunk.images, chunk.images, chunk.labels, rivals)
        rows = Rows(_State(*(tf.convert_to_tensor(array) for array in arrays)), len(chunk.images))
        for iteration in range(self.steps + 1):
            note(iteration / (self.steps + 1))
            images = rows.state.images
            moved, margin, prediction = self._advance(classifier, chunk, rows.state)
            fooled = chunk.is_fooled(prediction, rows.positions)
            positions = rows.positions[rows.is_open]
            # A wrong answer ends the search, so that the least margin is the right score.
            best.offer(positions, images.numpy()[rows.is_open], margin[rows.is_open])
            if iteration == self.steps:
                break
            best.num_iterations[positions] += ~fooled[rows.is_open]
            rows.state = rows.state._replace(images=moved)
            rows.finish(fooled)
            if not rows:
                break
        least = 1 / (1 + 2 * self.overshoot)
        best.images = self.shorten(classifier, chunk, best.images, least, _BISECTIONS)

    def _rivals(self, classifier: Classifier, chunk: Chunk) -> Array:
        """Returns (n, candidates − 1) the most probable classes but the label."""
        logits = np.array(classifier.logits(chunk.images))
        logits[np.arange(len(logits)), chunk.labels] = -np.inf
        count = min(self.candidates, classifier.num_classes) - 1
        return np.argsort(-logits, axis=-1, kind="stable")[:, :count]

    def _advance(self, classifier: Classifier, chunk: Chunk, state: _State) -> tuple[Tensor, Array, Array]:
        """Returns the next images, and the margin and the answer at the present images."""
        num_rivals = int(state.rivals.shape[1])

        def advance(images, origins, labels, rivals):
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(images)
                logits = classifier.parameters(images)
            is_label = tf.one_hot(labels, logits.shape[1], dtype=logits.dtype)
            least_distance = tf.fill(tf.shape(labels), tf.constant(np.inf, tf.float64))
            direction = tf.zeros_like(images)
            for index in range(num_rivals):
                contrast = tf.one_hot(rivals[:, index], logits.shape[1], dtype=logits.dtype) - is_label
                # w = ∇(z_j − z_y), side by side for all rivals j; one forward pass for all.
                normal = tape.gradient(
                    logits,
                    images,
                    output_gradients=contrast,
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                normal = self.free_pixels(classifier, images, normal)
                length = norms(normal)
                gap = tf.abs(tf.reduce_sum(tf.cast(logits * contrast, tf.float64), axis=-1))
                # No gap at all is a tie, which the label has won: it takes a step too.
                gap = tf.maximum(gap, _TIE * tf.reduce_max(tf.abs(tf.cast(logits, tf.float64)), axis=-1))
                distance = (gap + _TIE) / length  # infinite for no gradient
                is_nearer = distance < least_distance
                direction = where_image(is_nearer, unit(normal), direction)
                least_distance = tf.where(is_nearer, distance, least_distance)
            # Beyond the boundary by a share of the way so far, or the steps would close in on it for ever.
            length = self.relaxation * least_distance + self.overshoot * (
                norms(images - origins) + least_distance
            )
            length = tf.where(tf.math.is_finite(length), length, tf.zeros_like(length))
            moved = self.restrict_tensor(classifier, images + per_image(length, images) * direction)
            return moved, margins(logits, labels), tf.argmax(logits, axis=-1)

        pixels = tf.TensorSpec([None, *chunk.images.shape[1:]], classifier.image_dtype)
        index = tf.TensorSpec([None], tf.int64)
        program = classifier.program(
            ("deep_fool", dataclasses.replace(self, steps=1), num_rivals),
            advance,
            chunk.images.shape[1:],
            pixels,
            index,
            tf.TensorSpec([None, num_rivals], tf.int64),
        )
        moved, margin, prediction = program(*state)
        return moved, margin.numpy(), prediction.numpy()
