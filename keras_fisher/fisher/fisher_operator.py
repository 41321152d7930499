"""The Fisher information of images as a matrix that one multiplies by and asks things of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.sparse.linalg import LinearOperator

from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, Network
from keras_fisher.fisher import estimators
from keras_fisher.fisher.fisher_spectrum import as_network
from keras_fisher.fisher.likelihoods import Likelihood
from keras_fisher.typing import Array, Images

#: Backward passes that an exact answer may cost before it is estimated.
_DEFAULT_BACKWARD = 64
#: Fewer tell nothing of their scatter.
_LEAST_BACKWARD = 12
#: Pixels of an image whose matrix is written out.
_MAX_DENSE = 4096


@dataclasses.dataclass(frozen=True, repr=False)
class Estimate:
    """A quantity of each image, exact or estimated."""

    #: (n, …) float64.
    value: Array
    #: (n, …) float64, of the estimate; 0 where the value is exact.
    standard_error: Array
    #: Backward passes spent on each image.
    num_backward: int

    @property
    def is_exact(self) -> bool:
        """Whether nothing was estimated."""
        return not self.standard_error.any()

    def __repr__(self) -> str:
        kind = "exact" if self.is_exact else "estimated"
        return f"<Estimate of {len(self.value)} images: {kind}, {self.num_backward} backward passes an image>"


class FisherOperator:
    """G of each image: the Fisher information of the net's answer in its pixels, never written out.

    Each image has a matrix of pixels × pixels, G = Jᵀ M J. A product costs two backward passes. Vectors have
    the shape of images; results are float64.

    Args:
        classifier: a Classifier, a Network or a keras.Model.
        images: (n, *image_shape) within the bounds, or a Dataset of batches of them, which is read at once.
        likelihood: an object of `kf.likelihoods`, default None: `Categorical()` for a classifier.
        batch_size: int, default None. Images at once; None chooses by their size.

    Raises:
        TypeError, ValueError: images that do not fit, or a likelihood that the model's output is not of.

    Source: Zhao et al. 2019, Eq. (4).

    Example:
        >>> import keras_fisher as kf
        >>> images, _ = kf.datasets.mnist_sample()
        >>> operator = kf.FisherOperator(kf.models.lenet5(weights="mnist"), images[:4])
        >>> spectrum = kf.fisher_spectrum(kf.models.lenet5(weights="mnist"), images[:4])
        >>> (operator @ spectrum.eigenvectors).shape, operator.diagonal().value.shape
        ((4, 9, 28, 28, 1), (4, 28, 28, 1))
        >>> bool(abs(operator.trace().value / spectrum.eigenvalues.sum(axis=1) - 1).max() < 1e-5)
        True
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | Network | keras.Model,
        images: Images,
        likelihood: Likelihood | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._network, self.likelihood = as_network(classifier, likelihood)
        chunks = list(self._network.batches(images, batch_size, 4))
        if not chunks:
            raise ValueError(message("images", "hold at least one image", "none"))
        self._batch_size = max(len(chunk) for chunk in chunks)
        #: (n, *image_shape)
        self.images: Array = np.concatenate(chunks)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.images.shape[1:]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, pixels, pixels)."""
        count, num_pixels = len(self.images), int(np.prod(self.image_shape))
        return count, num_pixels, num_pixels

    @property
    def rank_bound(self) -> int:
        """No more eigenvalues of an image than this are nonzero."""
        return min(self.likelihood.rank_bound(self._network.num_outputs), self.shape[1])

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        count, num_pixels, _ = self.shape
        size = f"{num_pixels} × {num_pixels} of rank at most {self.rank_bound}"
        return f"<FisherOperator of {count} images, {size}>"

    def __matmul__(self, vectors: Any) -> Array:
        """Returns G v, float64 in the shape of `vectors`.

        Args:
            vectors: (n, *image_shape), or (n, k, *image_shape) for k vectors an image.

        Raises:
            TypeError, ValueError: not numbers, or another shape.
        """
        rows = self._as_rows(vectors)
        return self._multiply(rows)[0].reshape(np.shape(vectors))

    def quadratic_form(self, vectors: Any) -> Array:
        """Returns vᵀG v ≥ 0, float64: (n,), or (n, k) for k vectors an image.

        ½ vᵀG v is nearly the Kullback–Leibler divergence of the answer at x + v from that at x, for small v.

        Args:
            vectors: (n, *image_shape), or (n, k, *image_shape).

        Raises:
            TypeError, ValueError: not numbers, or another shape.
        """
        rows = self._as_rows(vectors)
        values = self._multiply(rows)[1]
        return values if np.ndim(vectors) == self.images.ndim + 1 else values[:, 0]

    @suggests_keywords
    def trace(self, max_backward: int = _DEFAULT_BACKWARD, seed: int = 0) -> Estimate:
        """Returns tr G of each image, (n,): the sum of all eigenvalues.

        Args:
            max_backward: int, default 64. Backward passes an image: enough for the rank they give the exact
                trace, and else an estimate by Hutch++ with its standard error.
            seed: int, default 0. Of the probes.

        Source: Meyer, Musco, Musco and Woodruff 2021.
        """
        return self._measure(estimators.exact_trace, estimators.estimated_trace, max_backward, seed)

    @suggests_keywords
    def diagonal(self, max_backward: int = _DEFAULT_BACKWARD, seed: int = 0) -> Estimate:
        """Returns the diagonal of G in the shape of the images: how much each pixel may change the answer.

        Args:
            max_backward: int, default 64. Backward passes an image, see `trace`. An estimate is the mean of
                squared gradients along random directions in output space.
            seed: int, default 0. Of the probes.
        """
        found = self._measure(estimators.exact_diagonal, estimators.estimated_diagonal, max_backward, seed)
        return Estimate(
            found.value.reshape(self.images.shape),
            found.standard_error.reshape(self.images.shape),
            found.num_backward,
        )

    @suggests_keywords
    def frobenius_norm(self, max_backward: int = _DEFAULT_BACKWARD, seed: int = 0) -> Estimate:
        """Returns ‖G‖_F of each image, (n,): the root of the sum of all squared eigenvalues.

        Args:
            max_backward: int, default 64. Backward passes an image, see `trace`. An estimate is that of pairs
                of probes, its standard error the jackknife's.
            seed: int, default 0. Of the probes.
        """
        return self._measure(
            estimators.exact_frobenius_norm, estimators.estimated_frobenius_norm, max_backward, seed
        )

    def to_dense(self) -> Array:
        """Returns all matrices written out, (n, pixels, pixels) float64.

        Raises:
            ValueError: images of more than 4,096 pixels.
        """
        num_pixels = self.shape[1]
        if num_pixels > _MAX_DENSE:
            remedy = "Multiply by it (operator @ vectors), or take to_scipy(index)."
            raise ValueError(message("images", f"have at most {_MAX_DENSE} pixels", num_pixels, remedy))
        parts = []
        for chunk in self._chunks():
            rows, log_scale = self._network.run(estimators.factor_rows, chunk, likelihood=self.likelihood)
            rows = rows.numpy() * np.exp(0.5 * log_scale.numpy())[:, None, None]
            parts.append(rows.transpose(0, 2, 1) @ rows)
        return np.concatenate(parts)

    def to_scipy(self, index: int) -> LinearOperator:
        """Returns G of one image for SciPy, e.g. `scipy.sparse.linalg.eigsh(operator.to_scipy(0), k=3)`.

        Args:
            index: of the image.

        Raises:
            TypeError, ValueError: no index of an image.
        """
        check_integer("index", index, 0, len(self.images) - 1)
        alone = FisherOperator(self._network, self.images[index : index + 1], self.likelihood)

        def matmat(columns: Array) -> Array:
            columns = np.asarray(columns, np.float64).reshape(alone.shape[1], -1)
            return alone._multiply(columns.T[None])[0][0].T

        def matvec(vector: Array) -> Array:
            return matmat(vector)[:, 0]

        return LinearOperator(
            alone.shape[1:], matvec=matvec, rmatvec=matvec, matmat=matmat, rmatmat=matmat, dtype=np.float64
        )

    def _chunks(self) -> list[Array]:
        return [self.images[start : start + self._batch_size] for start in self._starts()]

    def _starts(self) -> range:
        return range(0, len(self.images), self._batch_size)

    def _as_rows(self, vectors: Any) -> Array:
        """Returns (n, k, pixels) float64."""
        array = np.asarray(vectors)
        if array.dtype.kind not in "fiub":
            raise TypeError(message("vectors", "be numbers", f"dtype {array.dtype}"))
        count, shape = len(self.images), self.image_shape
        fits = array.shape == (count, *shape) or (
            array.ndim == len(shape) + 2 and array.shape[:1] + array.shape[2:] == (count, *shape)
        )
        if not fits:
            rule = f"have the shape {(count, *shape)} or ({count}, k, {', '.join(map(str, shape))})"
            raise ValueError(message("vectors", rule, array.shape))
        return array.astype(np.float64).reshape(count, -1, self.shape[1])

    def _multiply(self, rows: Array) -> tuple[Array, Array]:
        """Returns G v (n, k, pixels) and vᵀG v (n, k)."""
        found, quadratic = [], []
        for start, chunk in zip(self._starts(), self._chunks(), strict=True):
            part = rows[start : start + len(chunk)]
            products, values, log_scale = (
                tensor.numpy()
                for tensor in self._network.run(estimators.products, chunk, part, likelihood=self.likelihood)
            )
            scale = np.exp(log_scale)[:, None]
            found.append(products * scale[..., None])
            quadratic.append(values * scale)
        return np.concatenate(found), np.concatenate(quadratic)

    def _measure(
        self, exact: Callable[..., Any], estimated: Callable[..., Any], max_backward: int, seed: int
    ) -> Estimate:
        check_integer("max_backward", max_backward, 1)
        check_integer("seed", seed, 0, 2**31 - 1)
        is_exact = self.rank_bound <= max_backward
        if not is_exact and max_backward < _LEAST_BACKWARD:
            remedy = "Fewer passes do not tell how good the estimate is."
            rule = f"be at least {_LEAST_BACKWARD}, or the rank bound {self.rank_bound}"
            raise ValueError(message("max_backward", rule, max_backward, remedy))
        values, errors = [], []
        for chunk in self._chunks():
            if is_exact:
                measured = self._network.run(exact, chunk, likelihood=self.likelihood)
            else:
                measured = self._network.run(
                    estimated,
                    chunk,
                    tf.constant(seed),
                    likelihood=self.likelihood,
                    num_backward=max_backward,
                )
            value, error, log_scale = (tensor.numpy() for tensor in measured)
            scale = np.exp(log_scale).reshape(-1, *[1] * (value.ndim - 1))
            values.append(value * scale)
            errors.append(error * scale)
        cost = self.rank_bound if is_exact else max_backward
        return Estimate(np.concatenate(values), np.concatenate(errors), cost)
