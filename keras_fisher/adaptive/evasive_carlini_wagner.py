"""The attack of Carlini and Wagner on a classifier and its detector at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from keras_fisher.adaptive.detector_oracle import Surrogate, log_odds_gradient, programs_of
from keras_fisher.adaptive.evasive_pgd import BEHIND
from keras_fisher.attacks import Attempt, Batch, CarliniWagner, attempt_at
from keras_fisher.attacks.attempt import to_arrays
from keras_fisher.attacks.batch import Goal
from keras_fisher.attacks.image_ops import per_image
from keras_fisher.attacks.penalty_attack import (
    AdamState,
    Assessment,
    Objective,
    adam_step,
    assess,
    linear_const,
    start_state,
)
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.typing import Array, Tensor

#: The detector's penalty where the classifier does not err yet, in nats: that of a detector quite sure. Above
#: what any flagged image has: one that comes to err is not to seem worse for it.
_UNSEEN = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class EvasiveCarliniWagner:
    """min ‖x' − x‖² + c · (f(x') + weight · g(x')), f that of `CarliniWagner`.

    g = max(log odds(x') + offset, 0) where the classifier errs. Where it does not yet, g is a constant: a
    detector objects most at the boundary between two classes, and its slope would keep the image from it. A
    success fools the classifier, and the surrogate with it.

    Args:
        method: CarliniWagner, its settings.
        surrogate: gives log odds.
        weight: of the detector's penalty.
        offset: of its log odds: confidence less the log odds of the threshold.
    """

    method: CarliniWagner
    surrogate: Surrogate
    weight: float
    offset: float

    def attempt(self, classifier: Classifier, batch: Batch) -> Attempt:
        """Returns the best attempt over all c, with arrays."""
        method, bounds = self.method, classifier.bounds
        objective, step_size = method.objective(bounds), np.float64(method.adam_step(bounds))

        def first_const() -> Array:
            ones = np.ones(len(batch))
            state = start_state(batch, objective, ones, Attempt.none(tf.convert_to_tensor(batch.images)))
            found = self._assess(classifier, state.origins, state, batch.goal.kind, objective, 0.0)
            return linear_const(found, state.origins, objective).numpy()

        def run_adam(state: AdamState, begin: int, end: int) -> AdamState:
            state = state._replace(reference=state.least_loss)
            for index in range(begin, end):
                images, slopes = objective.to_images(state.variables)
                found = self._assess(classifier, images, state, batch.goal.kind, objective, _UNSEEN)
                state = adam_step(index, state, images, slopes, found, step_size, objective)
            return state

        # An image that fools the classifier as it stands may still be detected: all are searched.
        found = to_arrays(method.search_const(batch, objective, first_const, run_adam))
        return found._replace(clean_predictions=attempt_at(classifier, batch, batch.images).predictions)

    def _assess(
        self,
        classifier: Classifier,
        images: Tensor,
        state: AdamState,
        kind: str,
        objective: Objective,
        unseen: float,
    ) -> Assessment:
        """Returns f + weight · g; the detector objects by `unseen` where the classifier is right."""
        numbers = (state.const, np.float64(self.method.confidence))
        found = classifier.run(
            _assess, images, state.labels, state.targets, *numbers, kind=kind, objective=objective
        )
        log_odds, slopes = programs_of(self.surrogate).run(log_odds_gradient, images)
        excess = log_odds + self.offset
        is_fooled = found.is_success
        is_flagged = tf.cast(is_fooled & (excess > 0), tf.float64)
        objection = tf.where(is_fooled, tf.maximum(excess, 0.0), tf.constant(unseen, tf.float64))
        return found._replace(
            penalty=found.penalty + self.weight * objection,
            gradient=found.gradient + per_image(self.weight * state.const * is_flagged, images) * slopes,
            missing=tf.where(is_fooled, excess, BEHIND + found.missing),
            is_success=is_fooled & (excess < 0),
        )


def _assess(
    target: Target,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    weight: Tensor,
    confidence: Tensor,
    *,
    kind: str,
    objective: Objective,
) -> Assessment:
    return assess(target, images, Goal(labels, targets, kind), weight, confidence, objective)
