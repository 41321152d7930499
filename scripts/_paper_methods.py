"""The five methods of the paper's Table 1, as the paper describes them: sums over gradients of log p(y|x).

Told kindly: gradients share one forward pass, and are taken once and kept, where Algorithm 1 takes them anew
in every iteration. As there, each draw costs a pass, though it be of a class that was drawn before. Lanczos
is ARPACK's. The eigen-decomposition of G itself would need pixels² numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse.linalg
import scipy.special
import tensorflow as tf

import keras_fisher as kf

TOLERANCE = 1e-4
MAX_ITERATIONS = 100


class ClassGradients:
    """Gradients ∇ₓ log p(y|x) of one image for given classes y, one backward pass each."""

    def __init__(self, classifier: kf.Classifier) -> None:
        @tf.function(autograph=False)
        def gradients(image: tf.Tensor, cotangents: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(image)
                logits = classifier.target.logits(image)

            def of_class(cotangent: tf.Tensor) -> tf.Tensor:
                return tf.reshape(tape.gradient(logits, image, output_gradients=cotangent[None]), [-1])

            return tf.map_fn(of_class, cotangents, parallel_iterations=2)

        self._classifier = classifier
        self._gradients = gradients.get_concrete_function(
            tf.TensorSpec([1, *classifier.image_shape], tf.float32),
            tf.TensorSpec([None, classifier.num_classes], tf.float32),
        )

    def __call__(self, image: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns (number of classes, pixels) for an image (height, width, channels)."""
        # ∂ log p_y / ∂z = e_y − p from float64: float32 loses 1 − p of a sure net, and its λ₁ with it.
        cotangents = np.eye(self._classifier.num_classes)[classes] - self.probabilities(image)
        rows = np.arange(len(classes))
        cotangents[rows, classes] -= cotangents.sum(axis=1)
        pixels = tf.constant(image[None])
        return self._gradients(pixels, tf.constant(cotangents, tf.float32)).numpy()

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Returns (classes,) float64."""
        logits = self._classifier.logits(image[None])[0].astype(np.float64)
        return scipy.special.softmax(logits)


def factor(
    gradients: ClassGradients, probabilities: np.ndarray, image: np.ndarray, draws: int | None, seed: int
) -> tuple[np.ndarray, int]:
    """Returns F with G ≈ FᵀF, and the backward passes that it took.

    Args:
        gradients: of the net.
        probabilities: (classes,) of the image.
        image: (height, width, channels).
        draws: S classes drawn by their probability, a pass for each (Algorithm 1); None is all classes.
        seed: of the draws. An alias table draws from the same distribution as NumPy does.
    """
    if draws is None:
        classes = np.arange(len(probabilities))
        weights = probabilities
    else:
        classes = drawn_classes(probabilities, draws, seed)
        weights = np.full(draws, 1.0 / draws)
    rows = gradients(image, classes)
    rows *= np.sqrt(weights).astype(np.float32)[:, None]
    return rows, len(classes)


def drawn_classes(probabilities: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Returns (draws,) classes."""
    generator = np.random.default_rng(seed)
    return generator.choice(len(probabilities), draws, p=probabilities / probabilities.sum())


def different_classes(probabilities: np.ndarray, draws: int, seed: int) -> int:
    """Returns how many different classes the draws are of."""
    return len(np.unique(drawn_classes(probabilities, draws, seed)))


def power(rows: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
    """Returns the top eigenpair of FᵀF by power iteration from a random vector."""
    vector = np.random.default_rng(seed).standard_normal(rows.shape[1]).astype(np.float32)
    vector /= np.linalg.norm(vector)
    value = 0.0
    for _ in range(MAX_ITERATIONS):
        image = rows.T @ (rows @ vector)  # E_y[(g_yᵀ η) g_y]
        found = float(np.linalg.norm(image))
        if found == 0.0:
            break
        vector = image / found
        if abs(found - value) <= TOLERANCE * found:
            value = found
            break
        value = found
    return value, vector


def lanczos(rows: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
    """Returns the top eigenpair of FᵀF by ARPACK's Lanczos iteration from a random vector."""
    size = rows.shape[1]
    operator = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=lambda vector: rows.T @ (rows @ vector), dtype=np.float32
    )
    start = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    if not rows.any():
        return 0.0, start / np.linalg.norm(start)
    values, vectors = scipy.sparse.linalg.eigsh(operator, k=1, tol=TOLERANCE, v0=start)
    return float(values[0]), vectors[:, 0]


#: name → the iteration, and whether classes are drawn.
METHODS: dict[str, tuple[Callable[[np.ndarray, int], tuple[float, np.ndarray]], bool]] = {
    "Lanczos": (lanczos, False),
    "alias + Lanczos": (lanczos, True),
    "power": (power, False),
    "alias + power": (power, True),
}
