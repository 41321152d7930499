"""Heads by name, heads of YDF, and what becomes of a fitted head: a layer, a file."""

from __future__ import annotations

import json
import pickle
import re
import sys
import zipfile

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import keras_fisher as kf
from keras_fisher import artefacts, layers, testing
from keras_fisher.detectors import store
from keras_fisher.detectors.head_file import read_head, write_head
from keras_fisher.detectors.head_layer import head_layer
from keras_fisher.detectors.heads import HEADS, check_head, make_head
from keras_fisher.detectors.ydf_gradient_boosted_trees import YdfGradientBoostedTrees
from keras_fisher.detectors.ydf_random_forest import YdfRandomForest

pytest.importorskip("ydf", reason="needs keras-fisher[trees]")
pytest.importorskip("ydf_tf", reason="needs keras-fisher[trees]")

SHAPE = (6, 6, 1)
YDF_KINDS = [YdfRandomForest, YdfGradientBoostedTrees]


def data(num_rows=600, seed=0):
    """Two kinds, twice as many of the first, with noise, so that scores are graded."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(num_rows) % 3 == 0).astype(np.int64)
    features = generator.normal(size=(num_rows, 3)) + labels[:, None] * [1.0, 0.5, 0.0]
    return features, labels


@pytest.fixture(params=YDF_KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


# By name


@pytest.mark.parametrize("name", HEADS)
def test_named_head_tells_the_kinds_apart_and_is_balanced(name):
    features, labels = data(3000)
    head = make_head(name, seed=0).fit(features, labels)
    new_features, new_labels = data(1500, seed=1)
    scores = head.predict_proba(new_features)[:, 1]
    # The best there is: normal distributions √1.25 apart have an AUC of Φ(√1.25 / √2) = 0.785.
    assert 0.75 < roc_auc_score(new_labels, scores) < 0.82
    # Unbalanced, the mean would be a third.
    noise = make_head(name, seed=0).fit(np.random.default_rng(0).normal(size=(3000, 3)), labels)
    assert noise.predict_proba(new_features)[:, 1].mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", HEADS)
def test_named_head_repeats_with_its_seed(name):
    first, again, other = (make_head(name, seed).fit(*data()).predict_proba(data()[0]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    # Boosting as it is set up here draws nothing, as naive Bayes and the convex problem do not.
    is_random = name in ("random_forest", "ydf_random_forest")
    assert np.array_equal(first, other) != is_random


def test_seed_of_a_named_head_is_its_random_state():
    for name in ("random_forest", "ydf_random_forest", "ydf_gradient_boosted_trees"):
        assert make_head(name, seed=7).random_state == 7
    assert make_head("logistic_regression", seed=7)[-1].random_state == 7


def test_logistic_regression_by_name_is_standardised():
    features, labels = data()
    head = make_head("logistic_regression", 0).fit(features, labels)
    scaled = make_head("logistic_regression", 0).fit(features * [1.0, 1e6, 1e-6] + 5, labels)
    # The same problem up to rounding; the solver stops at a gradient of 1e-4.
    np.testing.assert_allclose(
        head.predict_proba(features), scaled.predict_proba(features * [1.0, 1e6, 1e-6] + 5), atol=1e-6
    )


@pytest.mark.parametrize("name", ["ydf_random_forest", "ydf_gradient_boosted_trees"])
def test_missing_ydf_is_reported_before_work(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "ydf", None)
    for head in (name, YdfRandomForest()):
        with pytest.raises(ImportError, match=r"`ydf` must be installed.*keras-fisher\[trees\]"):
            check_head(head)
    with pytest.raises(ImportError, match="YdfRandomForest"):
        YdfRandomForest().fit(*data())
    with pytest.raises(ValueError, match=r"`head` must be one of .*'ydf_random_forest', .*got 'ydf_x'"):
        check_head("ydf_x")
    assert check_head("gaussian_nb") == "gaussian_nb"


# The estimators of YDF


@parametrize_with_checks([kind() for kind in YDF_KINDS])
def test_ydf_heads_keep_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_ydf_head_answers_as_its_model(kind):
    features, labels = data()
    head = kind(num_trees=20).fit(features, labels)
    answer = head.predict_proba(features)
    native = head.model_.predict({"features": features.astype(np.float32)}).astype(np.float64)
    np.testing.assert_array_equal(answer, np.stack([1 - native, native], axis=1))
    assert len(np.unique(native)) > 100  # Graded.
    # By the numbers of trees and splits that were asked for.
    trees = head.model_.get_all_trees()
    assert len(trees) == 20
    assert max(depth_of(tree.root) for tree in trees) == head.max_depth


def depth_of(node):
    return 0 if node.is_leaf else 1 + max(depth_of(node.pos_child), depth_of(node.neg_child))


def test_every_setting_of_a_ydf_head_does_something(kind):
    features, labels = data()
    base = kind(num_trees=10).fit(features, labels).predict_proba(features)
    others = {"num_trees": 5, "max_depth": None, "min_examples": 40, "class_weight": None}
    if kind is YdfRandomForest:
        others["random_state"] = 5
    else:
        others["learning_rate"] = 0.3
    assert set(others) | {"random_state"} == set(kind().get_params())
    for name, value in others.items():
        other = kind(**({"num_trees": 10} | {name: value})).fit(features, labels).predict_proba(features)
        assert not np.array_equal(other, base), name


def test_class_weights_are_those_of_repeated_examples(kind):
    features, labels = data()
    balanced, plain = kind(class_weight="balanced"), kind(class_weight=None)
    means = [head.fit(features, labels).predict_proba(features)[:, 1].mean() for head in (balanced, plain)]
    assert means[0] > means[1] + 0.05  # 0.42 and 0.33.
    by_class = kind(class_weight={0: 0.75, 1: 1.5}).fit(features, labels)
    # 600 examples, 200 of the second: n / (2 · n of the class), which is what "balanced" means.
    np.testing.assert_array_equal(by_class.predict_proba(features), balanced.predict_proba(features))


def test_ydf_head_keeps_any_two_labels_in_order(kind):
    features, labels = data()
    head = kind(num_trees=5).fit(features, np.array(["b", "a"])[labels])
    assert head.classes_.tolist() == ["a", "b"]
    numbered = kind(num_trees=5).fit(features, 1 - labels)
    np.testing.assert_array_equal(head.predict_proba(features), numbered.predict_proba(features))
    np.testing.assert_array_equal(head.predict(features), np.array(["a", "b"])[numbered.predict(features)])


def test_fitting_says_nothing(kind, capfd):
    import ydf

    level = ydf.verbose(1)
    try:
        kind(num_trees=5).fit(*data()).predict_proba(data()[0])
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")
        assert ydf.verbose(1) == 1  # As it was.
    finally:
        ydf.verbose(level)


def test_ydf_head_is_cloned_unfitted_and_pickled_fitted(kind):
    head = kind(num_trees=7).fit(*data())
    assert not hasattr(clone(head), "model_")
    assert clone(head).get_params() == head.get_params()
    again = pickle.loads(pickle.dumps(head))
    np.testing.assert_array_equal(again.predict_proba(data()[0]), head.predict_proba(data()[0]))


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"num_trees": 0}, ValueError, "`num_trees` must be at least 1, got 0"),
        ({"max_depth": 0}, ValueError, "`max_depth` must be at least 1, got 0"),
        ({"min_examples": 1.5}, TypeError, "`min_examples` must be an integer"),
        ({"random_state": None}, TypeError, "`random_state` must be an integer"),
        ({"class_weight": "heavy"}, ValueError, "heavy"),
    ],
)
def test_settings_of_a_ydf_head_are_checked_in_fit(kind, settings, error, text):
    with pytest.raises(error, match=text):
        kind(**settings).fit(*data())
    with pytest.raises(ValueError, match=r"`learning_rate` must be a finite number in \(0, 1\], got 0"):
        YdfGradientBoostedTrees(learning_rate=0).fit(*data())


def test_ydf_head_of_other_than_two_classes_is_refused(kind):
    features, _ = data()
    for wrong, found in ((np.zeros(600), "1 class"), (np.arange(600) % 3, "3 classes")):
        with pytest.raises(ValueError, match=rf"`y` must hold two classes, got {found}\."):
            kind().fit(features, wrong)


# As layers

LAYERS = {
    "forest": (RandomForestClassifier(10, max_depth=5, random_state=0), layers.TreeEnsemble),
    "extra": (ExtraTreesClassifier(10, random_state=0), layers.TreeEnsemble),
    "tree": (DecisionTreeClassifier(max_depth=4, random_state=0), layers.TreeEnsemble),
    "bayes": (GaussianNB(), layers.GaussianNaiveBayes),
    "logistic": (LogisticRegression(), layers.LogisticProbability),
    "pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), layers.LogisticProbability),
    "ydf forest": (YdfRandomForest(num_trees=10), layers.YdfEnsemble),
    "ydf boosted": (YdfGradientBoostedTrees(num_trees=10), layers.YdfEnsemble),
}


@pytest.mark.parametrize("name", [*LAYERS, *HEADS])
def test_layer_of_a_head_answers_as_the_head(name):
    head, expected_kind = LAYERS[name] if name in LAYERS else (make_head(name, 0), None)
    head.fit(*data())
    layer = head_layer(head, name="head")
    assert expected_kind is None or type(layer) is expected_kind
    assert isinstance(layer, keras.layers.Layer)
    assert layer.name == "head"
    rows = data(200, seed=1)[0]
    is_tree = isinstance(layer, (layers.TreeEnsemble, layers.YdfEnsemble))
    # Log-likelihoods of the order of 10, in float64.
    np.testing.assert_allclose(layer(rows), head.predict_proba(rows), rtol=0 if is_tree else 1e-12)


def test_head_that_is_no_layer_is_refused():
    for head in (GradientBoostingClassifier(), make_pipeline(MinMaxScaler(), LogisticRegression()), 3, HEADS):
        with pytest.raises(
            TypeError, match=r"`head` must be a RandomForestClassifier, .*YdfRandomForest or "
        ):
            head_layer(head)
    for head in (YdfRandomForest(), RandomForestClassifier()):
        with pytest.raises(NotFittedError):
            head_layer(head)


# On disk


@pytest.fixture
def file(kind, tmp_path):
    return write_head(kind(num_trees=9, max_depth=None).fit(*data()), tmp_path)


def test_ydf_head_comes_back_to_the_bit(kind, tmp_path):
    head = kind(num_trees=9, max_depth=None, random_state=np.int64(4)).fit(*data())
    file = write_head(head, tmp_path)
    assert file == tmp_path / "head.ydf"
    loaded = read_head(file, "any")
    assert type(loaded) is kind
    assert loaded.get_params() == head.get_params()
    assert loaded.n_features_in_ == 3
    assert loaded.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(loaded.predict_proba(data()[0]), head.predict_proba(data()[0]))
    np.testing.assert_array_equal(head_layer(loaded)(data()[0]), head.predict_proba(data()[0]))


def test_head_of_scikit_learn_keeps_its_file(tmp_path):
    assert write_head(GaussianNB().fit(*data()), tmp_path) == tmp_path / "head.skops"


def test_ydf_file_holds_no_pickle(file):
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["settings.json", "model.ydf"]
        description = json.loads(archive.read("settings.json"))
        # The mark of YDF's own blob sequences.
        assert archive.read("model.ydf")[:2] == b"BS"
    assert description["class"] in ("YdfRandomForest", "YdfGradientBoostedTrees")
    assert description["settings"]["num_trees"] == 9


def test_class_weights_that_json_does_not_keep_are_not_saved(kind, tmp_path):
    head = kind(num_trees=2, class_weight={0: 1.0, 1: 2.0}).fit(*data())
    with pytest.raises(TypeError, match=r"`class_weight` must be 'balanced' or None, to be saved, got \{0"):
        write_head(head, tmp_path)


def rewrite(file, **parts):
    """Replaces parts of a head.ydf: `settings` and `model`; None leaves a part out."""
    names = {"settings": "settings.json", "model": "model.ydf"}
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for part, name in names.items():
            content = parts.get(part, contents[name])
            if content is not None:
                archive.writestr(name, content)
    return contents["model.ydf"]


def test_damaged_ydf_file_gives_one_kind_of_error(file):
    whole = file.read_bytes()
    model = rewrite(file)
    damages = [
        {"model": b""},
        {"model": b"junk"},
        {"model": model[: len(model) // 2]},
        {"model": model[: len(model) // 2] + b"\xff" + model[len(model) // 2 + 1 :]},
        {"model": None},
        {"settings": None},
        {"settings": b"{"},
        {"settings": b'{"class": "os", "settings": {}}'},
        {"settings": b'{"class": "YdfRandomForest", "settings": {"magic": 1}}'},
        {"settings": b"[]"},
    ]
    for damage in damages:
        file.write_bytes(whole)
        rewrite(file, **damage)
        with pytest.raises(
            ValueError, match=r"`path` must hold a head\.ydf that can be read.*Save the detector"
        ):
            read_head(file, "any")
    for content in (b"", b"{", whole[:100], whole[:-30]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"`path` must hold a head\.ydf that can be read"):
            read_head(file, "any")


def test_model_that_is_no_head_is_refused(file):
    import ydf

    features, labels = data()
    learner = ydf.RandomForestLearner(label="label", num_trees=2)
    with layers.ydf_library.quiet(ydf):
        other = learner.train({"images": features, "label": labels})
    rewrite(file, model=other.serialize())
    with pytest.raises(ValueError, match=r'head\.ydf that can be read.*have one column "features"'):
        read_head(file, "any")


def test_missing_ydf_is_reported_on_reading(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ydf", None)
    with pytest.raises(ImportError, match=r"`ydf` must be installed for a detector with a head of YDF"):
        read_head(file, "any")


# In a detector


@pytest.fixture(scope="module")
def small():
    return kf.Classifier(testing.small_net("dense", num_classes=4, image_shape=SHAPE))


@pytest.fixture(scope="module")
def clean():
    return np.random.default_rng(0).uniform(0.2, 0.8, (40, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def adversarial(small, clean):
    return kf.attacks.FGM(epsilon=1.0)(small, clean).images


@pytest.mark.parametrize("head", ["ydf_random_forest", YdfGradientBoostedTrees(num_trees=5)], ids=str)
def test_detector_with_a_ydf_head_is_stored_and_read(head, small, clean, adversarial, tmp_path):
    detector = kf.FisherDetector(small, num_eigenvalues=3, head=head).fit(clean, adversarial)
    folder = detector.save(tmp_path / "detector")
    names = {file.name for file in folder.iterdir()}
    assert names == {"manifest.json", "detector.json", "head.ydf", "model.keras"}
    assert set(artefacts.check_manifest(folder / "manifest.json")["files"]) == names - {"manifest.json"}
    loaded = kf.load_detector(folder)
    np.testing.assert_array_equal(loaded.score_samples(adversarial), detector.score_samples(adversarial))
    assert repr(loaded.head) == repr(detector.head)
    again = loaded.fit(clean, adversarial)
    np.testing.assert_array_equal(again.score_samples(clean), detector.score_samples(clean))
    # A head of the other kind in its place leaves nothing of the first.
    kf.FisherDetector(small, num_eigenvalues=3).fit(clean, adversarial).save(folder, overwrite=True)
    assert {file.name for file in folder.iterdir()} == {*store.FILES, "manifest.json"}


def test_damage_to_a_stored_ydf_head_is_found(small, clean, adversarial, tmp_path):
    detector = kf.FisherDetector(small, num_eigenvalues=3, head="ydf_random_forest").fit(clean, adversarial)
    folder = detector.save(tmp_path / "detector")
    content = bytearray((folder / "head.ydf").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "head.ydf").write_bytes(content)
    with pytest.raises(ValueError, match=r"head\.ydf.*the file was changed"):
        kf.load_detector(folder)
    (folder / "head.ydf").unlink()
    with pytest.raises(FileNotFoundError, match=r"head\.ydf.*no such file"):
        kf.load_detector(folder)
    files = [folder / "detector.json", folder / "model.keras"]
    artefacts.write_manifest(folder / "manifest.json", "forged", 0, files, {})
    with pytest.raises(ValueError, match=re.escape("vouches for head.skops")):
        kf.load_detector(folder)
