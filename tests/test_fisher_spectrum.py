"""The Fisher spectrum against a dense float64 reference by another route, and its identities."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing

NETS = (
    "lenet5",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("depthwise", "attention")),
    "softmax",
)
#: Largest error with ten times the logits, where no processor that was tried has more.
TEN_TIMES = {"lenet5": 1e-4, "depthwise": 2e-4, "attention": 4e-4}
METHODS = ("exact", "dense", "power", "lanczos", "golub_kahan", "alias_power", "alias_lanczos")


# Each net is traced once for each solver: that is what takes time here, not the numbers.
@functools.cache
def classifier_of(name: str, factor: float = 1.0, dtype: str = "float32") -> kf.Classifier:
    """Returns one of the nets with its logits multiplied by `factor`."""
    model = kf.models.lenet5(weights="mnist") if name == "lenet5" else testing.small_net(name)
    model = testing.scaled_logits(model, factor)
    return kf.Classifier(model if dtype == "float32" else testing.float64_copy(model))


@functools.cache
def exact_of(name: str, factor: float, dtype: str, pixels: bytes) -> kf.Spectrum:
    images = np.frombuffer(pixels, np.float32).reshape(-1, 28, 28, 1)
    return kf.fisher_spectrum(classifier_of(name, factor, dtype), images, solver="exact")


@functools.cache
def reference(name: str, factor: float, pixels: bytes) -> testing.ReferenceSpectrum:
    images = np.frombuffer(pixels, np.float32).reshape(-1, 28, 28, 1)
    return testing.reference_spectrum(classifier_of(name, factor, "float64").model, images)


def relative_errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Errors of every eigenvalue of at least 1e-10 of the largest."""
    counts = expected >= 1e-10 * expected[:, :1]
    return np.abs(found / expected - 1)[counts]


@pytest.mark.parametrize("name", NETS)
def test_exact_eigenvalues_agree_with_the_float64_reference(name, images):
    expected = reference(name, 1.0, images.tobytes())
    spectrum = exact_of(name, 1.0, "float32", images.tobytes())
    assert spectrum.eigenvalues.shape == (24, 9)
    assert relative_errors(spectrum.eigenvalues, expected.eigenvalues).max() <= 1e-4
    assert spectrum.converged.all()
    # The eigenvectors too, where the eigenvalues are well apart.
    apart = expected.eigenvalues[:, 1] < 0.5 * expected.eigenvalues[:, 0]
    cosines = np.abs(
        np.sum(spectrum.eigenvectors[:, 0].reshape(24, -1) * expected.eigenvectors[:, 0], axis=-1)
    )
    assert apart.sum() >= 5
    assert cosines[apart].min() > 1 - 1e-6


@pytest.mark.parametrize("name", NETS)
def test_ten_times_the_logits_give_eigenvalues_below_1e_30_and_no_nan(name, images):
    expected = reference(name, 10.0, images.tobytes())
    spectrum = exact_of(name, 10.0, "float32", images.tobytes())
    assert expected.eigenvalues[:, 0].min() < 1e-30
    assert np.isfinite(spectrum.eigenvalues).all()
    assert (spectrum.eigenvalues >= 0).all()
    # Ten times the logits are ten times their float32 rounding, which is a relative error of p. The processor
    # decides how large it is. The forward pass is off by this much, not the spectrum: see the next test too.
    single, double = (
        classifier_of(name, 10.0, dtype).log_probabilities(images) for dtype in ("float32", "float64")
    )
    rounding = np.abs(single - double).max(axis=1, keepdims=True)
    assert rounding.max() <= 1e-3
    counts = expected.eigenvalues >= 1e-10 * expected.eigenvalues[:, :1]
    errors = np.abs(spectrum.eigenvalues / expected.eigenvalues - 1)
    assert (errors <= 2 * rounding)[counts].all()
    assert errors[counts].max() <= TEN_TIMES.get(name, np.inf)


@pytest.mark.parametrize("factor", [1.0, 10.0])
@pytest.mark.parametrize("name", NETS)
def test_a_float64_model_gives_the_reference_to_rounding(name, factor, images):
    expected = reference(name, factor, images.tobytes())
    spectrum = exact_of(name, factor, "float64", images.tobytes())
    # The eigenvalues of a symmetric matrix come to rounding of the *largest*: 1e-16 / 1e-10.
    assert relative_errors(spectrum.eigenvalues, expected.eigenvalues).max() <= 1e-5
    large = expected.eigenvalues >= 1e-4 * expected.eigenvalues[:, :1]
    np.testing.assert_allclose(spectrum.eigenvalues[large], expected.eigenvalues[large], rtol=1e-9)


#: Every solver with LeNet-5, with another net and at ten times the logits.
QUICK = {
    *(("lenet5", 1.0, solver, count) for solver, count in (("power", 1), ("lanczos", 1), ("lanczos", 3))),
    ("depthwise", 1.0, "lanczos", 1),
    ("depthwise", 10.0, "power", 1),
    ("softmax", 1.0, "power", 1),
    ("softmax", 10.0, "lanczos", 1),
    ("lenet5", 10.0, "lanczos", 3),
}
TABLE = [
    pytest.param(*cell, marks=() if cell in QUICK else pytest.mark.slow)
    for name in ("lenet5", "depthwise", "softmax")
    for factor in (1.0, 10.0)
    for solver, count in (("power", 1), ("lanczos", 1), ("lanczos", 3))
    for cell in [(name, factor, solver, count)]
]


@pytest.mark.parametrize(("name", "factor", "solver", "count"), TABLE)
def test_iterative_solvers_never_claim_convergence_wrongly(name, factor, solver, count, images):
    classifier = classifier_of(name, factor)
    exact = exact_of(name, factor, "float32", images.tobytes())
    spectrum = kf.fisher_spectrum(classifier, images, num_eigenpairs=count, solver=solver)
    claimed = spectrum.converged
    if count == 1:
        assert claimed.mean() > 0.9
    errors = np.abs(spectrum.eigenvalues / exact.eigenvalues[:, :count] - 1)[claimed]
    assert errors.max(initial=0) <= 1e-4
    assert spectrum.residual_norms[claimed].max(initial=0) <= 1e-3
    # The residuals are what they say: formed anew from the exact spectrum, relative to λ₁.
    coefficients = _flat(spectrum.eigenvectors) @ _flat(exact.eigenvectors).transpose(0, 2, 1)
    top = exact.eigenvalues[:, :1]
    image = (coefficients * (exact.eigenvalues / top)[:, None, :]) @ _flat(exact.eigenvectors)
    residuals = np.linalg.norm(
        image - (spectrum.eigenvalues / top)[..., None] * _flat(spectrum.eigenvectors), axis=-1
    )
    assert residuals[claimed].max(initial=0) <= 1e-3


def _flat(vectors: np.ndarray) -> np.ndarray:
    return vectors.reshape(*vectors.shape[:2], -1).astype(np.float64)


def test_golub_kahan_gives_the_top_eigenvalue_to_a_thousandth_on_every_image(sample):
    classifier = classifier_of("lenet5")
    exact = kf.fisher_spectrum(classifier, sample[0], solver="exact", eigenvectors=False)
    spectrum = kf.fisher_spectrum(classifier, sample[0], num_eigenpairs=1, eigenvectors=False)
    errors = np.abs(spectrum.eigenvalues[:, 0] / exact.eigenvalues[:, 0] - 1)
    assert errors.max() <= 1e-3
    assert (errors <= spectrum.residual_norms[:, 0] + 1e-5).all()
    assert spectrum.converged.all()
    assert spectrum.num_backward.mean() < 4.5


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [3, 10])
def test_unsure_nets_do_not_send_a_krylov_method_to_the_second_eigenvalue(num_classes):
    # Near uniform answers: the gradient of the top class may be orthogonal to the top eigenvector, and one
    # random start in thousands is. The residual is small then, of the wrong pair.
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(num_classes)]
    net = kf.Classifier(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *layers]))
    pixels = np.random.default_rng(0).random((6000, 8, 8, 1), np.float32)
    exact = kf.fisher_spectrum(net, pixels, eigenvectors=False, solver="exact", batch_size=2000)
    for solver, allowed in (("power", 0), ("lanczos", 0), ("golub_kahan", 6), ("auto", 6)):
        found = kf.fisher_spectrum(net, pixels, 1, solver, eigenvectors=False, batch_size=2000)
        errors = np.abs(found.eigenvalues[:, 0] / exact.eigenvalues[:, 0] - 1)
        limit = 1e-4 if solver in {"power", "lanczos"} else 2e-3
        assert np.sum(found.converged & (errors > limit)) <= allowed, solver
        assert found.converged.mean() > 0.98, solver


def test_several_golub_kahan_pairs_are_the_top_ones_where_converged(classifier, images):
    exact = kf.fisher_spectrum(classifier, images, solver="exact")
    spectrum = kf.fisher_spectrum(classifier, images, num_eigenpairs=2, solver="golub_kahan")
    errors = np.abs(spectrum.eigenvalues / exact.eigenvalues[:, :2] - 1)
    assert spectrum.converged.mean() > 0.5
    assert errors[spectrum.converged].max() <= 1e-3


@pytest.mark.parametrize("name", NETS)
def test_spectrum_identities(name, images):
    model = classifier_of(name, dtype="float64").model
    spectrum = exact_of(name, 1.0, "float64", images.tobytes())
    vectors = _flat(spectrum.eigenvectors)
    # Orthonormal, also where an eigenvalue is rounding.
    np.testing.assert_allclose(
        vectors @ vectors.transpose(0, 2, 1), np.tile(np.eye(9), (24, 1, 1)), atol=1e-6
    )
    # Trace: Σ_y p_y ‖∇ log p_y‖², from gradients of the log-probabilities themselves.
    pixels = tf.constant(images, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        log_p = tf.nn.log_softmax(model(pixels, training=False))
    scores = tape.batch_jacobian(log_p, pixels).numpy().reshape(24, 10, -1)
    trace = np.sum(np.exp(log_p.numpy())[..., None] * scores**2, axis=(1, 2))
    np.testing.assert_allclose(spectrum.eigenvalues.sum(axis=-1), trace, rtol=1e-6)
    # Rank: nothing is left of the scores outside of the C − 1 eigenvectors.
    left = scores - (scores @ vectors.transpose(0, 2, 1)) @ vectors
    assert np.abs(left).max() < 1e-5 * np.abs(scores).max()


@pytest.mark.parametrize("name", ["lenet5", pytest.param("attention", marks=pytest.mark.slow)])
def test_quadratic_form_is_twice_the_kl_divergence(name, images):
    epsilon = 1e-6  # So small that no ReLU changes sides.
    # Off the flat background, where all inputs of a max-pool are equal and the net has no second derivative.
    images = (0.9 * images + 0.1 * np.random.default_rng(0).uniform(size=images.shape)).astype(np.float32)
    classifier = classifier_of(name, dtype="float64")
    spectrum = kf.fisher_spectrum(classifier, images, solver="exact")
    moved = images + epsilon * spectrum.eigenvectors[:, 0]
    divergence = testing.kl_divergence(classifier.model, images, moved)
    np.testing.assert_allclose(2 * divergence / epsilon**2, spectrum.eigenvalues[:, 0], rtol=1e-3)


@pytest.mark.parametrize("solver", [method for method in METHODS if method != "dense"])
def test_batch_equals_one_by_one_equals_permuted(solver, classifier, images):
    options = {"num_eigenpairs": 1, "solver": solver}
    whole = kf.fisher_spectrum(classifier, images[:8], **options)
    single = [kf.fisher_spectrum(classifier, images[i : i + 1], **options) for i in range(8)]
    order = np.random.default_rng(0).permutation(8)
    permuted = kf.fisher_spectrum(classifier, images[:8][order], **options)
    chunked = kf.fisher_spectrum(classifier, images[:8], batch_size=3, **options)
    for other in (np.concatenate([s.eigenvalues for s in single]), chunked.eigenvalues):
        np.testing.assert_allclose(other, whole.eigenvalues, rtol=2e-5)
    np.testing.assert_allclose(permuted.eigenvalues, whole.eigenvalues[order], rtol=2e-5)
    cosines = np.abs(np.sum(_flat(permuted.eigenvectors) * _flat(whole.eigenvectors[order]), axis=-1))
    assert cosines.min() > 1 - 1e-4


@pytest.mark.parametrize("solver", METHODS)
def test_shapes_dtypes_and_repeatability_of_every_solver(solver, images):
    net = kf.Classifier(testing.small_net("dense", image_shape=(6, 5, 2), num_classes=4))
    pixels = np.random.default_rng(0).uniform(size=(3, 6, 5, 2))
    spectrum = kf.fisher_spectrum(net, pixels, solver=solver, seed=5)
    again = kf.fisher_spectrum(net, pixels, solver=solver, seed=5)
    count = spectrum.eigenvalues.shape[1]
    assert spectrum.eigenvalues.shape == spectrum.residual_norms.shape == (3, count)
    assert spectrum.eigenvectors.shape == (3, count, 6, 5, 2)
    assert spectrum.eigenvalues.dtype == np.float64
    assert spectrum.eigenvectors.dtype == np.float32
    assert spectrum.converged.shape == spectrum.num_backward.shape == (3,)
    assert spectrum.converged.dtype == bool
    assert (spectrum.num_backward >= 1).all()
    np.testing.assert_allclose(np.linalg.norm(_flat(spectrum.eigenvectors), axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(spectrum.eigenvalues, again.eigenvalues)
    np.testing.assert_allclose(np.exp(spectrum.log_eigenvalues), spectrum.eigenvalues)
    without = kf.fisher_spectrum(net, pixels, solver=solver, seed=5, eigenvectors=False)
    assert without.eigenvectors is None
    np.testing.assert_allclose(without.eigenvalues, spectrum.eigenvalues, rtol=1e-9)


def test_dense_and_exact_are_the_same_numbers(classifier, images):
    exact = kf.fisher_spectrum(classifier, images[:3], solver="exact")
    dense = kf.fisher_spectrum(classifier, images[:3], solver="dense")
    assert relative_errors(dense.eigenvalues, exact.eigenvalues).max() < 1e-5


def test_a_second_batch_size_does_not_retrace(images, lenet):
    classifier = kf.Classifier(lenet)
    traces = []
    inner = classifier.target.logits
    counted = dataclasses.replace(classifier.target, logits=lambda batch: traces.append(1) or inner(batch))
    classifier._compiled.subject = counted
    for size in (5, 1, 7, 24):
        for solver in ("exact", "power", "lanczos", "golub_kahan"):
            kf.fisher_spectrum(classifier, images[:size], num_eigenpairs=1, solver=solver, seed=size)
        if size == 5:
            first = len(traces)
    assert len(traces) == first


def test_alias_sampling_owns_up_to_its_error(classifier, images):
    exact = kf.fisher_spectrum(classifier, images, num_eigenpairs=1, solver="exact")
    sampled = kf.fisher_spectrum(classifier, images, solver="alias_power")
    errors = np.abs(sampled.eigenvalues / exact.eigenvalues - 1)[:, 0]
    assert np.median(errors) > 0.5  # Confident images: the paper's estimate misses nearly all of λ₁.
    assert not sampled.converged[errors > 1e-3].any()
    assert (sampled.residual_norms[errors > 0.5, 0] > 0.5).all()


def test_alias_sampling_with_many_draws_of_an_unsure_net_converges_to_the_truth(images):
    net = kf.Classifier(testing.scaled_logits(testing.small_net("softmax"), 0.1))
    exact = kf.fisher_spectrum(net, images[:6], num_eigenpairs=1, solver="exact")
    solver = kf.solvers.Sampled(kf.solvers.PowerIteration(max_iterations=500), num_samples=20_000)
    sampled = kf.fisher_spectrum(net, images[:6], solver=solver)
    np.testing.assert_allclose(sampled.eigenvalues, exact.eigenvalues, rtol=0.05)


def test_a_constant_model_has_the_zero_spectrum(images):
    net = testing.small_net("dense")
    net.set_weights([np.zeros_like(weight) for weight in net.get_weights()])
    for solver in ("exact", "power", "lanczos", "golub_kahan", "alias_power"):
        spectrum = kf.fisher_spectrum(net, images[:2], num_eigenpairs=1, solver=solver)
        assert (spectrum.eigenvalues == 0).all(), solver
        np.testing.assert_allclose(np.linalg.norm(_flat(spectrum.eigenvectors), axis=-1), 1.0, rtol=1e-5)
        assert (spectrum.residual_norms == 0).all(), solver
    vectors = _flat(kf.fisher_spectrum(net, images[:2], solver="exact").eigenvectors)
    np.testing.assert_allclose(vectors @ vectors.transpose(0, 2, 1), np.tile(np.eye(9), (2, 1, 1)), atol=1e-5)


def test_a_softmax_that_underflows_has_a_direction_and_no_nan(images):
    # Margins of thousands: 1 − p is below the smallest float64; its logarithm is not.
    net = testing.scaled_logits(testing.small_net("softmax"), 1000.0)
    for solver in ("exact", "golub_kahan", "power"):
        spectrum = kf.fisher_spectrum(net, images, num_eigenpairs=1, solver=solver)
        assert spectrum.eigenvalues.min() == 0.0, solver
        assert np.isfinite(spectrum.log_eigenvalues).all(), solver
        np.testing.assert_allclose(np.linalg.norm(_flat(spectrum.eigenvectors), axis=-1), 1.0, rtol=1e-5)


def test_two_classes_have_one_eigenvalue_with_its_closed_form():
    net = testing.small_net("dense", num_classes=2, image_shape=(4, 4, 1))
    pixels = np.random.default_rng(1).uniform(size=(5, 4, 4, 1)).astype(np.float32)
    kernel, _ = net.layers[-1].get_weights()
    p = np.exp(kf.Classifier(net).log_probabilities(pixels))
    expected = p[:, 0] * p[:, 1] * np.sum((kernel[:, 0] - kernel[:, 1]) ** 2)
    for solver in METHODS[:5]:
        spectrum = kf.fisher_spectrum(net, pixels, solver=solver)
        np.testing.assert_allclose(spectrum.eigenvalues[:, 0], expected, rtol=1e-4)


def test_a_dataset_gives_what_its_array_gives(classifier, images, labels):
    array = kf.fisher_spectrum(classifier, images, num_eigenpairs=1)
    for dataset in (
        tf.data.Dataset.from_tensor_slices(images).batch(7),
        tf.data.Dataset.from_tensor_slices((images, labels)).batch(24),
    ):
        spectrum = kf.fisher_spectrum(classifier, dataset, num_eigenpairs=1)
        np.testing.assert_allclose(spectrum.eigenvalues, array.eigenvalues, rtol=2e-5)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_eigenpairs": 10}, ValueError, r"\[1, 9\] \(rank bound of 10 classes\), got 10. All further"),
        ({"num_eigenpairs": 0}, ValueError, "`num_eigenpairs` must be at least 1"),
        ({"num_eigenpairs": 2.0}, TypeError, "`num_eigenpairs` must be an integer"),
        ({"num_eigenpairs": 2, "solver": "power"}, ValueError, "PowerIteration finds 1"),
        ({"num_eigenpairs": 3, "solver": "alias_lanczos"}, ValueError, "2 draws from 10 classes"),
        ({"solver": "magic"}, ValueError, "'golub_kahan'"),
        ({"solver": 3}, TypeError, "kf.solvers"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"eigenvectors": 1}, TypeError, "`eigenvectors` must be True or False"),
        ({"progress": "yes"}, TypeError, "`progress` must be True or False"),
        ({"likelihood": "softmax"}, TypeError, "kf.likelihoods"),
        ({"likelihood": kf.likelihoods.Bernoulli()}, ValueError, "Pass kf.Network"),
    ],
)
def test_bad_arguments_get_a_clear_error(options, error, words, classifier, images):
    with pytest.raises(error, match=words):
        kf.fisher_spectrum(classifier, images[:2], **options)


def test_no_images_at_all_are_refused(classifier):
    with pytest.raises(ValueError, match="at least one image"):
        kf.fisher_spectrum(classifier, np.zeros((0, 28, 28, 1)))


def test_the_oracles_refuse_one_unit():
    layers = [keras.Input((4,)), keras.layers.Dense(1)]
    one = testing.float64_copy(keras.Sequential(layers))
    for oracle in (
        testing.reference_spectrum,
        lambda model, points: testing.kl_divergence(model, points, points),
    ):
        with pytest.raises(ValueError, match="`model` must return a logit for each class, got one unit"):
            oracle(one, np.zeros((2, 4)))
