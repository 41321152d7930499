"""The Fisher spectrum of images under a classifier."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_flag, check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, Network, Target, as_classifier
from keras_fisher.classifiers.network import kept_network
from keras_fisher.fisher.likelihoods import Categorical, Likelihood
from keras_fisher.fisher.pullback_operator import PullbackOperator
from keras_fisher.fisher.sampled import Sampled
from keras_fisher.fisher.solvers import SOLVERS, Staged, choose_num_eigenpairs, choose_solver
from keras_fisher.fisher.spectrum import Spectrum
from keras_fisher.linalg import Eigenpairs, Eigensolver
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Tensor


@suggests_keywords
def fisher_spectrum(
    classifier: Classifier | Network | keras.Model,
    images: Images,
    num_eigenpairs: int | None = None,
    solver: str | Eigensolver = "auto",
    eigenvectors: bool = True,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
    likelihood: Likelihood | None = None,
) -> Spectrum:
    """Returns the leading eigenpairs of the Fisher information of the output in the input, for each image.

    G = E_{y ~ p(y|x)} [∇ log p(y|x) ∇ log p(y|x)ᵀ]: along a step η the prediction changes by
    KL(p(x) ‖ p(x + η)) ≈ ½ ηᵀ G η. The top eigenvector is the most fragile direction, its eigenvalue how
    fragile.

    Args:
        classifier: a Classifier, a Network or a keras.Model, which keeps what was compiled for it.
        images: (n, h, w, c) within the bounds, or a Dataset of batches of them.
        num_eigenpairs: k. None is all of them ("exact", "dense", "lanczos"; C − 1 for C classes) or the top
            one ("power", "golub_kahan"); so "auto" returns all of up to 64 classes, and one of more.
        solver: "exact" (Gram matrix over classes, C − 1 backward passes), "golub_kahan" (few pairs, or many
            classes), "lanczos", "power", "dense" (the explicit matrix; an oracle), the paper's Monte Carlo
            "alias_power" and "alias_lanczos", or an object of `kf.solvers` with its settings. "auto" is
            "exact" up to 64 outputs, but for one pair of more than 5: there four products are tried first,
            and images on which they do not settle, since the gap to λ₂ is small, go on to "exact". Above, it
            is "golub_kahan", or "exact" where that is cheaper for so many pairs.
        eigenvectors: whether to return them.
        batch_size: images at once; None is as many as keep activations and vectors within about 2 GiB, at
            most 256.
        seed: of start vectors and draws.
        progress: show a bar.
        likelihood: None is `kf.likelihoods.Categorical()`; `Bernoulli()` is for multi-label models,
            `Gaussian(scale)` for regression, and both take a keras.Model.

    Raises:
        TypeError, ValueError: a bad argument; see Classifier for models and images.

    Source: Zhao et al. 2019, Eq. (4) and Table 1.

    Example:
        >>> import keras_fisher as kf
        >>> images, _ = kf.datasets.mnist_sample()
        >>> spectrum = kf.fisher_spectrum(kf.models.lenet5(weights="mnist"), images[:4])
        >>> spectrum.eigenvalues.shape, spectrum.eigenvectors.shape
        ((4, 9), (4, 9, 28, 28, 1))
    """
    network, likelihood = as_network(classifier, likelihood)
    check_flag("eigenvectors", eigenvectors)
    check_flag("progress", progress)
    check_integer("seed", seed, 0, 2**31 - 1)
    if num_eigenpairs is not None:
        check_integer("num_eigenpairs", num_eigenpairs, 1)
    chosen = choose_solver(solver, num_eigenpairs, network.num_outputs, network.output_activation)
    if isinstance(chosen, Sampled) and network.output_activation != "softmax":
        raise ValueError(message("solver", "be none that draws classes, for this likelihood", repr(solver)))
    if solver == "auto" and network.target.lacks_second_derivative:
        chosen = SOLVERS["exact"]

    rank_bound = likelihood.rank_bound(network.num_outputs)
    num_pairs = min(num_eigenpairs or chosen.default_num_eigenpairs(rank_bound), rank_bound)
    held = [count(num_pairs, rank_bound) for count in (chosen.num_vectors, chosen.num_copies)]
    batches = network.batches(images, batch_size, *held)
    chunks = [
        _of_chunk(network, likelihood, chunk, num_eigenpairs, chosen, eigenvectors, seed)
        for chunk in track(batches, "Fisher spectrum", None, progress)
    ]
    if not chunks:
        raise ValueError(message("images", "hold at least one image", "none"))
    return _concatenate(chunks)


def as_network(model: Any, likelihood: Likelihood | None) -> tuple[Network, Likelihood]:
    """Returns the model as a Network whose output activation is that of the likelihood, and the likelihood.

    Raises:
        TypeError, ValueError: no likelihood, or a Classifier beside a likelihood that is not over classes.
    """
    if likelihood is None:
        likelihood = Categorical()
    if not isinstance(likelihood, Likelihood):
        raise TypeError(message("likelihood", "be an object of kf.likelihoods", type(likelihood).__name__))
    if isinstance(model, Network):
        if model.output_activation != likelihood.output_activation:
            activation = likelihood.output_activation
            rule = f"have the output activation {activation!r} of {type(likelihood).__name__}"
            remedy = f"Pass kf.Network(model, output_activation={activation!r}, bounds=...)."
            if model.output_activation == "linear":  # No other one fits a hidden layer.
                remedy = f"Pass likelihood=kf.likelihoods.Gaussian(), or {remedy[5:]}"
            raise ValueError(message("classifier", rule, repr(model.output_activation), remedy))
        return model, likelihood
    if likelihood.output_activation == "softmax":
        return as_classifier(model), likelihood
    activation = likelihood.output_activation
    kept = kept_network(model, activation, lambda: Network(model, activation))
    return kept, likelihood


def _of_chunk(
    network: Network,
    likelihood: Likelihood,
    images: Array,
    num_eigenpairs: int | None,
    solver: Eigensolver,
    eigenvectors: bool,
    seed: int,
) -> Spectrum:
    """Returns the spectrum of one chunk of checked images."""
    image_shape = images.shape[1:]
    num_pixels = int(np.prod(image_shape))
    k = choose_num_eigenpairs(solver, num_eigenpairs, likelihood, network.num_outputs, num_pixels)
    pairs = _solve(network, likelihood, images, k, solver, eigenvectors, seed)
    with np.errstate(divide="ignore"):
        log_values = np.log(pairs.eigenvalues) + pairs.log_scale[:, None]
    vectors = None
    if eigenvectors and pairs.eigenvectors is not None:
        vectors = pairs.eigenvectors.reshape(len(images), k, *image_shape).astype(images.dtype, copy=False)
    return Spectrum(
        np.exp(log_values),
        vectors,
        pairs.residual_norms,
        pairs.converged,
        pairs.num_products,
        log_values,
    )


def _solve(
    network: Network,
    likelihood: Likelihood,
    images: Array,
    k: int,
    solver: Eigensolver,
    eigenvectors: bool,
    seed: int,
) -> Eigenpairs:
    """Returns the eigenpairs as NumPy arrays, from a program that is kept with the network."""
    if isinstance(solver, Staged):
        # What `Staged.solve` does in one program: the second is traced only once an image needs it.
        pairs = _solve(network, likelihood, images, k, solver.first, eigenvectors, seed)
        is_open = ~pairs.converged
        if is_open.any():
            rest = _solve(network, likelihood, images[is_open], k, solver.second, eigenvectors, seed)
            rest = rest._replace(num_products=rest.num_products + pairs.num_products[is_open])
            for whole, part in zip(pairs, rest, strict=True):
                if whole is not None:
                    whole[is_open] = part
        return pairs
    pairs = network.run(
        _eigenpairs,
        images,
        tf.constant(seed),
        likelihood=likelihood,
        solver=solver,
        num_eigenpairs=k,
        eigenvectors=eigenvectors,
    )
    return Eigenpairs(*(None if field is None else np.array(field) for field in pairs))


def _eigenpairs(
    target: Target,
    images: Tensor,
    seed: Tensor,
    *,
    likelihood: Likelihood,
    solver: Eigensolver,
    num_eigenpairs: int,
    eigenvectors: bool,
) -> Eigenpairs:
    operator = PullbackOperator(target, images, likelihood)
    pairs = solver.solve(operator, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)
    return pairs._replace(left_vectors=None)


def _concatenate(chunks: list[Spectrum]) -> Spectrum:
    """Returns the spectra of all chunks as one."""
    joined = {}
    for field in dataclasses.fields(Spectrum):
        parts = [getattr(chunk, field.name) for chunk in chunks]
        joined[field.name] = None if parts[0] is None else np.concatenate(parts)
    return Spectrum(**joined)
