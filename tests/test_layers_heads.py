"""Heads as Keras layers: the numbers of scikit-learn and YDF, wherever the layer goes."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_fisher.layers import GaussianNaiveBayes, LogisticProbability, TreeEnsemble, YdfEnsemble
from keras_fisher.layers.ydf_library import quiet

NUM_FEATURES = 4


def data(num_rows=400, num_classes=2, seed=0):
    """Features of several scales, and noisy labels, so that forests of any depth have graded leaves."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(num_rows, NUM_FEATURES)) * [1.0, 100.0, 1e-3, 1.0]
    score = features[:, 0] + features[:, 1] / 100 + generator.normal(size=num_rows)
    edges = np.quantile(score, np.linspace(0, 1, num_classes + 1)[1:-1])
    return features, np.digitize(score, edges)


@pytest.fixture(scope="module")
def features():
    return data(60, seed=1)[0]


@pytest.fixture(scope="module")
def forest():
    # 100 is no power of two: the mean is rounded, and 1/100 is no float64.
    settings = {"max_depth": 5, "class_weight": "balanced", "random_state": 0}
    return RandomForestClassifier(100, **settings).fit(*data())


@pytest.fixture(scope="module")
def bayes():
    return GaussianNB(priors=[0.5, 0.5]).fit(*data())


@pytest.fixture(scope="module")
def regression():
    return make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")).fit(*data())


@pytest.fixture(scope="module")
def ydf_model():
    ydf = pytest.importorskip("ydf", reason="needs keras-fisher[trees]")
    pytest.importorskip("ydf_tf", reason="needs keras-fisher[trees]")
    features, labels = data()
    learner = ydf.RandomForestLearner(label="label", num_trees=20, winner_take_all=False)
    with quiet(ydf):
        return learner.train({"features": features.astype(np.float32), "label": labels})


KINDS = ["forest", "bayes", "regression", "ydf_model"]


def layer_of(kind, fitted):
    make = {
        "forest": TreeEnsemble.from_sklearn,
        "bayes": GaussianNaiveBayes.from_sklearn,
        "regression": LogisticProbability.from_sklearn,
        "ydf_model": YdfEnsemble.from_ydf,
    }
    return make[kind](fitted)


@pytest.fixture(params=KINDS)
def layer(request):
    return layer_of(request.param, request.getfixturevalue(request.param))


def model_of(layer):
    inputs = keras.Input((NUM_FEATURES,), dtype="float64")
    return keras.Model(inputs, layer(inputs))


def around_thresholds(forest):
    """Returns rows in which one feature is at a threshold, or one float32 or float64 to a side of it.

    Also halfway to the next float32, where the cast to float32 is decided, and one float64 to its sides.
    """
    splits = np.concatenate(
        [
            np.stack([tree.feature, tree.threshold], axis=1)[tree.feature >= 0]
            for tree in (estimator.tree_ for estimator in getattr(forest, "estimators_", [forest]))
        ]
    )
    generator = np.random.default_rng(0)
    splits = generator.permutation(splits)[:300]
    single = splits[:, 1].astype(np.float32)
    below, above = (np.nextafter(single, np.float32(side)) for side in (-np.inf, np.inf))
    points = [splits[:, 1], *(point.astype(np.float64) for point in (single, below, above))]
    points += [(points[1] + points[2]) / 2, (points[1] + points[3]) / 2]
    points += [np.nextafter(point, side) for point in points for side in (-np.inf, np.inf)]
    rows = data(len(splits) * len(points), seed=2)[0]
    rows[np.arange(len(rows)), np.tile(splits[:, 0], len(points)).astype(int)] = np.concatenate(points)
    return rows


# Trees: to the bit

SOME_FORESTS = {
    "stump": RandomForestClassifier(1, max_depth=1, random_state=0),
    "three": RandomForestClassifier(3, max_depth=3, random_state=0),
    "seven deep": RandomForestClassifier(7, random_state=0),
    "two hundred": RandomForestClassifier(200, max_depth=5, class_weight="balanced", random_state=0),
    "weights": RandomForestClassifier(49, max_depth=4, class_weight={0: 0.1, 1: 3.7}, random_state=0),
    "balanced subsample": RandomForestClassifier(30, class_weight="balanced_subsample", random_state=0),
    "extra": ExtraTreesClassifier(100, max_depth=6, class_weight="balanced", random_state=0),
    "extra deep": ExtraTreesClassifier(11, random_state=0),
    "tree": DecisionTreeClassifier(max_depth=4, class_weight="balanced", random_state=0),
    "tree deep": DecisionTreeClassifier(random_state=0),
    "tree of one leaf": DecisionTreeClassifier(min_samples_split=1000),
}


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("kind", SOME_FORESTS)
def test_trees_give_the_bits_of_scikit_learn(kind, num_classes):
    fitted = SOME_FORESTS[kind]
    if num_classes == 5 and kind == "weights":
        fitted = RandomForestClassifier(49, max_depth=4, class_weight={4: 3.7}, random_state=0)
    fitted.fit(*data(num_classes=num_classes))
    layer = TreeEnsemble.from_sklearn(fitted)
    rows = data(3000, seed=1)[0]
    if kind != "tree of one leaf":
        rows = np.concatenate([rows, around_thresholds(fitted)])
    answer = layer(rows)
    assert answer.dtype == tf.float64
    np.testing.assert_array_equal(answer, fitted.predict_proba(rows))
    assert layer.probabilities(layer.as_features(rows)).shape == answer.shape
    if kind in ("two hundred", "weights", "extra"):
        # Graded: a test of zeros and ones alone would not see the order of a sum.
        assert len(np.unique(answer)) > 100


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.sampled_from([1, 2, 5, None]), st.integers(0, 2**31), st.booleans())
def test_any_forest_gives_the_bits_of_scikit_learn(num_trees, max_depth, seed, on_a_grid):
    features, labels = data(60, seed=seed)
    if on_a_grid:  # Ties, and thresholds that are float32 numbers themselves, zero among them.
        features = np.round(features)
    forest = RandomForestClassifier(num_trees, max_depth=max_depth, random_state=seed).fit(features, labels)
    rows = np.concatenate([features, around_thresholds(forest)])
    np.testing.assert_array_equal(TreeEnsemble.from_sklearn(forest)(rows), forest.predict_proba(rows))


def test_thresholds_next_to_zero_and_subnormal_features():
    signs = np.array([[-1.0], [1.0]] * 20)
    tree = DecisionTreeClassifier().fit(signs, signs[:, 0] > 0)
    assert tree.tree_.threshold[0] == 0
    # 1e-40 is a subnormal float32, for TensorFlow zero; 7e-46 is below half of the least one.
    tiny = [0.0, -0.0, 1e-40, -1e-40, 1e-45, 7.1e-46, 7e-46, 2.0**-150, np.nextafter(2.0**-150, 1), 1e-300]
    rows = np.array(tiny)[:, None]
    expected = tree.predict_proba(rows)
    assert 0 < expected[:, 1].sum() < len(rows)
    np.testing.assert_array_equal(TreeEnsemble.from_sklearn(tree)(rows), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "int64", "bool"])
def test_trees_take_any_real_dtype(forest, dtype):
    rows = (data(200, seed=3)[0] * 3).astype(dtype)
    np.testing.assert_array_equal(TreeEnsemble.from_sklearn(forest)(rows), forest.predict_proba(rows))


def test_trees_give_the_same_bits_in_every_graph(forest, features):
    """Eager, traced, XLA, frozen (weights are constants), predict, one by one."""
    layer = TreeEnsemble.from_sklearn(forest)
    expected = forest.predict_proba(features)
    signature = [tf.TensorSpec((None, NUM_FEATURES), tf.float64)]
    traced = tf.function(layer.call, input_signature=signature)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    answers = {
        "traced": traced(features),
        "xla": tf.function(layer.call, input_signature=signature, jit_compile=True)(features),
        "frozen": frozen(tf.constant(features))[0],
        "predict": model_of(layer).predict(features, batch_size=7, verbose=0),
        "one by one": np.concatenate([traced(row[None]) for row in features]),
    }
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer, expected, err_msg=name)


def test_trees_fitted_to_missing_values_give_nan_for_them():
    features, labels = data()
    features[::7, 0] = np.nan
    forest = RandomForestClassifier(5, random_state=0).fit(features, labels)
    answer = TreeEnsemble.from_sklearn(forest)(features).numpy()
    is_missing = np.isnan(features).any(axis=1)
    assert np.isnan(answer[is_missing]).all()
    np.testing.assert_array_equal(answer[~is_missing], forest.predict_proba(features[~is_missing]))


def test_trees_without_their_weights_give_nan():
    assert np.isnan(TreeEnsemble(2, 2, 3, 9, 2)(np.zeros((1, 2)))).all()


# Naive Bayes and logistic regression


@pytest.mark.parametrize("num_classes", [2, 4])
def test_naive_bayes_gives_the_probabilities_of_scikit_learn(num_classes):
    fitted = GaussianNB().fit(*data(num_classes=num_classes))
    rows = data(1000, seed=1)[0]
    # Log-likelihoods are of the order of 10, and a probability is as far off as its logarithm.
    answer = GaussianNaiveBayes.from_sklearn(fitted)(rows)
    np.testing.assert_allclose(answer, fitted.predict_proba(rows), rtol=1e-12)


def test_naive_bayes_far_from_both_means_is_that_of_scikit_learn(bayes):
    rows = data(200, seed=1)[0] * np.linspace(1, 40, 200)[:, None]
    layer = GaussianNaiveBayes.from_sklearn(bayes)
    answer, expected = layer(rows).numpy(), bayes.predict_proba(rows)
    assert (expected < 1e-30).any()
    is_normal = expected > 1e-300
    largest = np.abs(bayes.predict_joint_log_proba(rows)).max()
    # Log-likelihoods of that size, in eight roundings of float64 on either side.
    np.testing.assert_allclose(answer[is_normal], expected[is_normal], rtol=16 * largest * 2**-53)
    np.testing.assert_allclose(answer[~is_normal], 0, atol=1e-299)
    joint = bayes.predict_joint_log_proba(rows)
    np.testing.assert_allclose(layer.log_odds(rows), joint[:, 1] - joint[:, 0], atol=16 * largest * 2**-53)


def test_naive_bayes_has_log_odds_where_its_probabilities_are_zero_and_one(bayes):
    layer = GaussianNaiveBayes.from_sklearn(bayes)
    rows = tf.constant([[0.0, 1e5, 0.0, 0.0], [0.0, -1e5, 0.0, 0.0]], tf.float64)
    assert set(layer(rows).numpy().ravel()) == {0.0, 1.0}
    with tf.GradientTape() as tape:
        tape.watch(rows)
        odds = layer.log_odds(rows)
    assert (np.abs(odds) > 1000).all()
    # d/dx of −½ (x − μ)² / σ², by hand.
    expected = -(rows - bayes.theta_[1]) / bayes.var_[1] + (rows - bayes.theta_[0]) / bayes.var_[0]
    np.testing.assert_allclose(tape.gradient(odds, rows), expected, rtol=1e-12)


def test_naive_bayes_with_a_class_of_prior_zero():
    fitted = GaussianNB(priors=[1.0, 0.0]).fit(*data())
    np.testing.assert_array_equal(GaussianNaiveBayes.from_sklearn(fitted)(data()[0])[:, 1], 0)


REGRESSIONS = {
    "plain": LogisticRegression(max_iter=10_000),
    "standardised": make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
    "centred": make_pipeline(StandardScaler(with_std=False), LogisticRegression(max_iter=10_000)),
    "scaled": make_pipeline(StandardScaler(with_mean=False), LogisticRegression()),
    "no intercept": make_pipeline(StandardScaler(), LogisticRegression(fit_intercept=False)),
}


@pytest.mark.parametrize("kind", REGRESSIONS)
def test_logistic_regression_gives_the_probabilities_of_scikit_learn(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Unscaled features converge slowly; any weights will do.
        fitted = REGRESSIONS[kind].fit(data()[0] + [3.0, 0.0, 1.0, 0.0], data()[1])
    rows = data(500, seed=1)[0] * 20
    layer = LogisticProbability.from_sklearn(fitted)
    odds = fitted.decision_function(rows)
    # Sums of NUM_FEATURES + 1 terms of the size of the largest.
    atol = 16 * np.abs(odds).max() * 2**-53
    np.testing.assert_allclose(layer.log_odds(rows), odds, rtol=0, atol=atol)
    np.testing.assert_allclose(layer(rows)[:, 1], fitted.predict_proba(rows)[:, 1], rtol=2 * atol)
    # The first is 1 − p there, which loses what is below 2⁻⁵³; here it is the mirror image of the second.
    np.testing.assert_allclose(layer(rows)[:, 0], 1 / (1 + np.exp(odds)), rtol=2 * atol)


def test_logistic_regression_is_accurate_next_to_zero_under_xla(regression):
    layer = LogisticProbability.from_sklearn(regression)
    rows = data(200, seed=1)[0] * 20
    answer = tf.function(layer.call, jit_compile=True)(tf.constant(rows))
    expected = regression.predict_proba(rows)[:, 1]
    assert expected.min() < 1e-20
    np.testing.assert_allclose(answer[:, 1], expected, rtol=1e-11)


def test_log_odds_have_the_gradient_of_their_formula(regression):
    layer = LogisticProbability.from_sklearn(regression)
    rows = tf.constant(data(3)[0])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        odds = layer.log_odds(rows)
    slope = regression[1].coef_[0] / regression[0].scale_
    np.testing.assert_allclose(tape.gradient(odds, rows), np.tile(slope, (3, 1)), rtol=1e-14)


# YDF


def test_ydf_gives_the_bits_of_ydf(ydf_model):
    rows = data(1000, seed=1)[0].astype(np.float32)
    answer = YdfEnsemble.from_ydf(ydf_model)(rows).numpy()
    native = ydf_model.predict({"features": rows}).astype(np.float64)
    assert len(np.unique(native)) > 20  # Graded, no votes.
    np.testing.assert_array_equal(answer, np.stack([1 - native, native], axis=1))


def test_ydf_model_that_is_no_head_is_refused(ydf_model):
    import ydf

    features, _ = data()
    data_of = {
        "of one column": {"f": features[:, 0], "label": data()[1]},
        "other classes": {"features": features, "label": data()[1] + 1},
        "regression": {"features": features, "label": features[:, 0]},
    }
    rules = {"of one column": 'have one column "features", got .*f', "other classes": "classes 0 and 1"}
    for name, columns in data_of.items():
        task = {"task": ydf.Task.REGRESSION} if name == "regression" else {}
        with quiet(ydf):
            other = ydf.RandomForestLearner(label="label", num_trees=2, **task).train(columns)
        with pytest.raises(ValueError, match=f"`model` must .*{rules.get(name, 'classifier')}"):
            YdfEnsemble.from_ydf(other)
    with pytest.raises(TypeError, match=r"`model` must be a model of ydf"):
        YdfEnsemble.from_ydf(3)
    with pytest.raises(TypeError, match=r"`model` must be a string.*from_ydf"):
        YdfEnsemble(b"")
    with pytest.raises(ValueError, match=r"`model` must be base64"):
        YdfEnsemble("§")
    with pytest.raises(ValueError, match=r"`model` must be what ydf_model\.serialize\(\) gave"):
        YdfEnsemble("AAAA")


@pytest.mark.parametrize("missing", ["ydf", "ydf_tf"])
def test_missing_ydf_says_what_to_install(ydf_model, missing, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"`{missing}` must be installed.*keras-fisher\[trees\]"):
        YdfEnsemble.from_ydf(ydf_model)


# What every layer does


def test_keras_file_gives_the_same_bits(layer, features, tmp_path):
    model = model_of(layer)
    expected = layer(features).numpy()
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(features), expected)
    assert type(loaded.layers[-1]) is type(layer)
    assert loaded.layers[-1].get_config() == layer.get_config()


def test_config_is_enough_for_the_shapes(layer, features):
    again = type(layer).from_config(layer.get_config())
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in layer.weights]
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(features), layer(features))
    assert again.name == layer.name


def test_saved_model_gives_the_same(layer, features, tmp_path):
    expected = layer(features).numpy()
    model_of(layer).export(tmp_path / "export", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "export")
    assert_same(layer, loaded.serve(tf.constant(features)), expected)


def assert_same(layer, answer, expected):
    """Bits of trees; of others up to the rounding that a graph does elsewhere once it is simplified.

    Log-likelihoods and log odds are below 100: 100 · 2⁻⁵² in a probability, a few times.
    """
    is_exact = isinstance(layer, (TreeEnsemble, YdfEnsemble))
    np.testing.assert_allclose(answer, expected, rtol=0 if is_exact else 1e-13)


def test_one_trace_serves_every_batch_size_the_empty_one_included(layer, features):
    num_traces = 0

    @tf.function(input_signature=[tf.TensorSpec((None, NUM_FEATURES), tf.float64)])
    def call(batch):
        nonlocal num_traces
        num_traces += 1
        return layer(batch)

    expected = layer(features).numpy()
    for size in (0, 1, 2, 60):
        answer = call(features[:size])
        assert answer.shape == (size, 2)
        assert_same(layer, answer, expected[:size])
    assert num_traces == 1
    assert layer(features[:0]).shape == (0, 2)


def test_nan_gives_nan_in_its_row_only(layer, features):
    rows = features[:5].copy()
    rows[2, 1] = np.nan
    answer = layer(rows).numpy()
    assert np.isnan(answer[2]).all()
    np.testing.assert_array_equal(answer[[0, 1, 3, 4]], layer(features[[0, 1, 3, 4]]))


@pytest.mark.parametrize("kind", KINDS)
def test_dtype_policies_change_nothing(kind, request, features):
    fitted = request.getfixturevalue(kind)
    expected = layer_of(kind, fitted)(features).numpy()
    before = keras.config.dtype_policy()
    for policy in ("mixed_float16", "float16", "bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            layer = layer_of(kind, fitted)
            np.testing.assert_array_equal(layer(features), expected)
            np.testing.assert_array_equal(model_of(layer)(features), expected)
        finally:
            keras.config.set_dtype_policy(before)


def test_probabilities_are_float64_sum_to_one_and_none_is_trained(layer, features):
    answer = layer(features)
    assert answer.dtype == tf.float64
    np.testing.assert_allclose(tf.reduce_sum(answer, axis=1), 1, rtol=2**-46)
    assert not layer.trainable_weights
    assert model_of(layer).output.dtype == "float64"
    assert model_of(layer).output_shape == (None, 2)


def test_features_that_do_not_fit_are_refused(layer, features):
    for wrong in (features[:, :3], features[0], features[:, :, None]):
        with pytest.raises(ValueError, match=r"`features` must have shape \(batch, 4\), got "):
            layer(wrong)
    with pytest.raises(TypeError, match=r"`features` must be real numbers, got string"):
        layer(tf.constant([["a"] * 4]))
    with pytest.raises(TypeError, match=r"`features` must be real numbers, got complex128"):
        layer(features.astype(complex))
    unknown = tf.function(layer.call, input_signature=[tf.TensorSpec(None, tf.float64)])
    assert_same(layer, unknown(features), layer(features))
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not compatible with expected shape"):
        unknown(features[:, :3])


# Refusals


@pytest.mark.parametrize("kind", [TreeEnsemble, GaussianNaiveBayes, LogisticProbability])
def test_what_a_layer_does_not_know_is_refused(kind):
    calibrated = CalibratedClassifierCV(GaussianNB(), cv=2)
    scaled = make_pipeline(MinMaxScaler(), LogisticRegression())
    longer = make_pipeline(StandardScaler(), StandardScaler(), LogisticRegression())
    for other in (3, calibrated, scaled, longer, RandomForestClassifier):
        with pytest.raises(TypeError, match="`fitted` must be a "):
            kind.from_sklearn(other)
    unfitted = {TreeEnsemble: RandomForestClassifier, GaussianNaiveBayes: GaussianNB}
    with pytest.raises(NotFittedError):
        kind.from_sklearn(unfitted.get(kind, LogisticRegression)())


def test_fits_that_are_no_head_are_refused():
    features, labels = data(num_classes=3)
    with pytest.raises(ValueError, match="`fitted` must have one output, got 2"):
        TreeEnsemble.from_sklearn(DecisionTreeClassifier().fit(features, np.stack([labels, labels], axis=1)))
    with pytest.raises(ValueError, match=r"`num_classes` must be at least 2, got 1"):
        TreeEnsemble.from_sklearn(DecisionTreeClassifier().fit(features, np.zeros(400)))
    three = GaussianNB().fit(features, labels)
    with pytest.raises(ValueError, match="`num_classes` must be 2 for log odds, got 3"):
        GaussianNaiveBayes.from_sklearn(three).log_odds(features)
    three.var_[0, 0] = 0
    with pytest.raises(ValueError, match="`fitted` must have positive variances"):
        GaussianNaiveBayes.from_sklearn(three)
    regression = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)
    with pytest.raises(ValueError, match="`fitted` must have two classes, got 3"):
        LogisticProbability.from_sklearn(regression)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 2, 1, 1, 0), "`num_features` must be at least 1, got 0"),
        ((1, 1, 1, 1, 0), "`num_classes` must be at least 2, got 1"),
        ((1, 2, 0, 1, 0), "`num_trees` must be at least 1, got 0"),
        ((1, 2, 3, 2, 0), "`num_nodes` must be at least 3, got 2"),
        ((1, 2, 1, 1, -1), "`max_depth` must be at least 0, got -1"),
    ],
)
def test_sizes_out_of_range_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        TreeEnsemble(*arguments)
