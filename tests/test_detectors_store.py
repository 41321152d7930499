"""Detectors on disk: the same scores, nothing that runs, and one clear error for every kind of damage."""

from __future__ import annotations

import io
import json
import pickletools
import shutil
import zipfile

import keras
import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import keras_fisher as kf
from keras_fisher import artefacts, testing
from keras_fisher.detectors import store
from keras_fisher.detectors.export import DETECTOR_FOLDER
from keras_fisher.detectors.tree_check import check_trees

SHAPE = (6, 6, 1)
KINDS = {"fisher": kf.FisherDetector, "softmax": kf.detectors.SoftmaxDetector}
HEADS = {
    "random_forest": "random_forest",
    "gaussian_nb": "gaussian_nb",
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "calibrated_svc": CalibratedClassifierCV(SVC(), cv=2),
    "extra_trees": ExtraTreesClassifier(5, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "ada": AdaBoostClassifier(n_estimators=5, random_state=0),
    "perceptron": make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=2000, random_state=0)),
    "voting": VotingClassifier(
        [("a", GaussianNB()), ("b", DecisionTreeClassifier(random_state=0))], voting="soft"
    ),
    "stacked": StackingClassifier(
        [("a", GaussianNB()), ("b", RandomForestClassifier(3, random_state=0))], cv=2
    ),
}


@pytest.fixture(scope="module")
def small():
    return kf.Classifier(testing.small_net("dense", num_classes=4, image_shape=SHAPE))


@pytest.fixture(scope="module")
def clean():
    return np.random.default_rng(0).uniform(0.2, 0.8, (40, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def adversarial(small, clean):
    return kf.attacks.FGM(epsilon=1.0)(small, clean).images


@pytest.fixture(scope="module")
def fitted(small, clean, adversarial):
    return kf.FisherDetector(small, num_eigenvalues=3).fit(clean, adversarial)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    return fitted.save(tmp_path_factory.mktemp("saved") / "detector")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a saved detector, alone in its parent."""
    return shutil.copytree(saved, tmp_path / "detector")


def vouch(folder):
    """Writes a manifest for what is in the folder now, as a forger would."""
    files = [file for file in folder.iterdir() if file.name != "manifest.json"]
    artefacts.write_manifest(folder / "manifest.json", "forged", 0, files, {})


def edit(folder, **changes):
    """Changes entries of detector.json, with a manifest to match."""
    file = folder / "detector.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    vouch(folder)


def with_solver(registered_name):
    """Settings with an object that is described by this name."""
    solver = {"class_name": "Gram", "registered_name": registered_name, "config": {}}
    return {"settings": {"head": "random_forest", "solver": solver}}


# The same detector


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_loaded_detector_scores_the_same_to_the_bit(kind, head, small, clean, adversarial, tmp_path):
    detector = KINDS[kind](small, head=HEADS[head], threshold=0.4, seed=3).fit(clean, adversarial)
    loaded = kf.load_detector(detector.save(tmp_path / "detector"))
    assert type(loaded) is KINDS[kind]
    np.testing.assert_array_equal(loaded.score_samples(adversarial), detector.score_samples(adversarial))
    np.testing.assert_array_equal(loaded.predict(clean), detector.predict(clean))
    ours, theirs = detector.get_params(), loaded.get_params()
    for settings in (ours, theirs):
        del settings["classifier"]
        settings["head"] = repr(settings["head"])
    assert ours == theirs


@pytest.mark.parametrize("head", ["random_forest", "logistic"])
def test_loaded_detector_can_be_fitted_again(head, small, clean, adversarial, tmp_path):
    detector = kf.FisherDetector(small, head=HEADS[head]).fit(clean, adversarial)
    loaded = kf.load_detector(detector.save(tmp_path / "detector"))
    assert loaded.head is not loaded.head_
    again = loaded.fit(clean, adversarial)
    np.testing.assert_array_equal(again.score_samples(clean), detector.score_samples(clean))


@pytest.mark.parametrize(
    "solver",
    [
        "golub_kahan",
        kf.solvers.Lanczos(tolerance=1e-3),
        kf.solvers.GolubKahan(max_dimension=4),
        kf.solvers.Sampled(kf.solvers.PowerIteration(max_iterations=7), num_samples=20),
    ],
)
def test_solver_comes_back(solver, fitted, small, tmp_path):
    detector = kf.FisherDetector(small, num_eigenvalues=1, solver=solver)
    detector.head_, detector.threshold_ = fitted.head_, fitted.threshold_
    assert kf.load_detector(detector.save(tmp_path / "detector")).solver == solver


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 2.0), None])
def test_bounds_come_back(bounds, small, clean, adversarial, tmp_path):
    detector = kf.FisherDetector(kf.Classifier(small.model, bounds=bounds)).fit(clean, adversarial)
    assert kf.load_detector(detector.save(tmp_path / "detector")).classifier.bounds == bounds


@pytest.mark.parametrize("from_logits", ["auto", True, False])
@pytest.mark.parametrize("ending", ["logits", "softmax", "relu"])
def test_reading_of_the_model_comes_back(from_logits, ending, clean, adversarial, tmp_path):
    activation = None if ending == "logits" else ending
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, activation=activation)]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(layers)
    try:
        classifier = kf.Classifier(model, from_logits=from_logits)
    except ValueError:
        refused = {("relu", "auto"), ("relu", False), ("softmax", True), ("logits", False)}
        assert (ending, from_logits) in refused
        return
    detector = kf.detectors.SoftmaxDetector(classifier, head="gaussian_nb").fit(clean, adversarial)
    loaded = kf.load_detector(detector.save(tmp_path / "detector"))
    np.testing.assert_array_equal(loaded.classifier.logits(clean), classifier.logits(clean))


def test_probabilities_of_an_inner_softmax_come_back(clean, adversarial, tmp_path):
    inputs = keras.Input(SHAPE)
    softmax = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Reshape((3,))(softmax))
    classifier = kf.Classifier(model, from_logits=False)
    detector = kf.detectors.SoftmaxDetector(classifier, head="gaussian_nb").fit(clean, adversarial)
    loaded = kf.load_detector(detector.save(tmp_path / "detector"))
    np.testing.assert_array_equal(loaded.classifier.logits(clean), classifier.logits(clean))


def test_changed_model_is_not_saved_as_if_it_were_the_same(small, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(
        type(small), "logits", lambda self, images: np.random.default_rng().uniform(size=(2, 4))
    )
    with pytest.raises(ValueError, match="`classifier` must read its model as a new Classifier does"):
        fitted.save(tmp_path / "detector")
    assert not list(tmp_path.iterdir())


# The folder


def test_folder_holds_four_files_and_no_pickle(folder):
    assert sorted(file.name for file in folder.iterdir()) == sorted([*store.FILES, "manifest.json"])
    contents = {}
    for file in folder.iterdir():
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents |= {f"{file.name}/{name}": archive.read(name) for name in archive.namelist()}
        else:
            contents[file.name] = file.read_bytes()
    assert len(contents) > 100  # The arrays of 100 trees.
    for name, content in contents.items():
        assert not is_pickle(content), name
        if name.endswith(".npy"):
            np.load(io.BytesIO(content), allow_pickle=False)


def is_pickle(content):
    """Whether the bytes are a pickle from first to last; JSON digits or text may open like one."""
    try:
        opcodes = list(pickletools.genops(content))
    except Exception:
        return False
    return len(opcodes) > 1


def test_is_pickle_knows_one():
    import pickle

    assert is_pickle(pickle.dumps({"a": np.zeros(3)}))


def test_description_and_manifest_say_what_is_in_the_folder(folder):
    description = json.loads((folder / "detector.json").read_text())
    assert description["kind"] == "FisherDetector"
    assert description["settings"]["num_eigenvalues"] == 3
    assert description["settings"]["head"] == "random_forest"
    assert description["class_names"] == ["not adversarial", "adversarial"]
    assert description["classifier"] == {
        "from_logits": True,
        "bounds": [0.0, 1.0],
        "image_shape": list(SHAPE),
        "num_classes": 4,
    }
    manifest = artefacts.check_manifest(folder / "manifest.json")
    assert set(manifest["files"]) == set(store.FILES)
    assert manifest["command"] == "FisherDetector.save('detector')"
    assert str(folder.parent) not in "".join(file.read_text() for file in folder.glob("*.json"))


def test_save_returns_the_folder_and_makes_its_parents(fitted, tmp_path):
    path = tmp_path / "a" / "b"
    assert fitted.save(str(path)) == path
    assert kf.load_detector(str(path)).num_eigenvalues == 3


def test_save_replaces_a_detector_only_when_told_to(fitted, small, folder, clean, adversarial):
    other = kf.FisherDetector(small, num_eigenvalues=2).fit(clean, adversarial)
    with pytest.raises(FileExistsError, match=r"`path` must be new, got 'detector'.*overwrite=True"):
        other.save(folder)
    assert kf.load_detector(folder).num_eigenvalues == 3
    (folder / "left_over").touch()
    other.save(folder, overwrite=True)
    assert kf.load_detector(folder).num_eigenvalues == 2
    assert not (folder / "left_over").exists()
    assert list(folder.parent.iterdir()) == [folder]
    with pytest.raises(TypeError, match="`overwrite` must be True or False"):
        other.save(folder, overwrite="yes")


def test_save_never_replaces_anything_but_a_detector(fitted, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    (tmp_path / "file").touch()
    for name in ("photos", "file"):
        with pytest.raises(FileExistsError, match="something else"):
            fitted.save(tmp_path / name, overwrite=True)
    assert (tmp_path / "photos" / "one.jpg").exists()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_save_that_fails_leaves_the_old_detector_and_nothing_else(fitted, folder, monkeypatch, error):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def fail(*arguments, **settings):
        raise error

    for step in ("write_manifest", "put_in_place"):
        with monkeypatch.context() as patch:
            patch.setattr(store, step, fail)
            with pytest.raises(type(error)):
                fitted.save(folder, overwrite=True)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        assert list(folder.parent.iterdir()) == [folder]


def test_rename_that_fails_puts_the_old_detector_back(fitted, folder, monkeypatch):
    rename = type(folder).rename

    def fail(self, target):
        if target == folder and (self / "fresh").exists():
            raise OSError("busy")
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", fail)
    monkeypatch.setattr(store, "write_manifest", lambda path, *rest: (path.parent / "fresh").touch())
    with pytest.raises(OSError, match="busy"):
        fitted.save(folder, overwrite=True)
    assert kf.load_detector(folder).num_eigenvalues == 3
    assert list(folder.parent.iterdir()) == [folder]


# What cannot be saved


@pytest.mark.parametrize(
    "head", [KNeighborsClassifier(algorithm="kd_tree"), HistGradientBoostingClassifier(max_iter=2)]
)
def test_head_of_types_that_are_not_safe_to_load_is_not_saved(head, small, clean, adversarial, tmp_path):
    detector = kf.FisherDetector(small, head=head).fit(clean, adversarial)
    with pytest.raises(
        TypeError, match=r"`head` must consist of types that are safe to load.*Use a random forest"
    ):
        detector.save(tmp_path / "detector")
    assert not list(tmp_path.iterdir())


def test_setting_that_is_not_plain_is_not_saved(fitted, small, tmp_path):
    detector = kf.FisherDetector(small)
    detector.head_, detector.threshold_ = fitted.head_, fitted.threshold_
    detector.solver = object()
    with pytest.raises(TypeError, match=r"`solver` must be plain, or a registered settings object, to be"):
        detector.save(tmp_path / "detector")


# Damage


@pytest.mark.parametrize("name", store.FILES)
def test_changed_file_is_refused_by_name(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')}.*the file was changed"):
        kf.load_detector(folder)


@pytest.mark.parametrize("name", store.FILES)
def test_missing_file_is_reported_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name.replace('.', '[.]')}.*no such file"):
        kf.load_detector(folder)
    vouch(folder)
    with pytest.raises(ValueError, match=rf"vouches for {name.replace('.', '[.]')}"):
        kf.load_detector(folder)


def test_missing_folder_and_manifest_are_reported(folder, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`path` must be the folder of a saved detector.*detector\.save"
    ):
        kf.load_detector(tmp_path / "nothing")
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="`path` must be a manifest"):
        kf.load_detector(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"files": {}}', '{"files": 3, "command": ""}', "\x00"]
)
def test_broken_manifest_is_reported(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"`path` must hold a manifest\.json that"):
        kf.load_detector(folder)


@pytest.mark.parametrize("name", store.FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"PK\x03\x04"])
def test_file_that_is_broken_with_a_manifest_to_match_is_reported(folder, name, content):
    (folder / name).write_bytes(content)
    vouch(folder)
    with pytest.raises(ValueError, match=rf"`path` must hold a {name.replace('.', '[.]')} that can be read"):
        kf.load_detector(folder)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": 4}, "hold a detector of format 3 or below, got 4.*upgrade"),
        ({"kind": "KernelDensityDetector"}, "one of the kinds .*SoftmaxDetector.*'KernelDens"),
        ({"kind": []}, "one of the kinds"),
        ({"kind": "SoftmaxDetector"}, r"detector\.json that can be read.*num_eigenvalues"),
        ({"settings": {"head": "random_forest", "magic": 1}}, r"detector\.json that can be read.*magic"),
        ({"settings": {"head": "random_forest", "seed": "x"}}, r"detector\.json that can be read.*`seed`"),
        (with_solver("os"), r"detector\.json.*a settings class"),
        (with_solver("keras_fisher>TreeEnsemble"), r"detector\.json.*a settings class"),
        (
            with_solver("keras_fisher>FGM"),
            r"detector\.json.*`solver` must be a name or an object of kf.solvers",
        ),
        ({"settings": {}}, r"detector\.json that can be read"),
        ({"classifier": {"bounds": None}}, r"detector\.json that can be read.*from_logits"),
        ({"classifier": {"bounds": [1, 0], "from_logits": "auto"}}, "`bounds` must be a pair"),
    ],
)
def test_description_that_makes_no_sense_is_reported(folder, changes, text):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=text):
        kf.load_detector(folder)


# Forgery


def put_head(folder, head):
    skops.io.dump(head, folder / "head.skops")
    vouch(folder)


class Untrusted:
    """What a forger would have made on loading."""

    made = False

    def __init__(self):
        self.nothing = None

    def __setstate__(self, state):
        Untrusted.made = True


def test_untrusted_types_are_refused_before_anything_is_made(folder):
    head = GaussianNB().fit(np.arange(8.0).reshape(8, 1), np.arange(8) % 2)
    head.extra = Untrusted()
    put_head(folder, head)
    with pytest.raises(
        ValueError, match=r"hold a head\.skops of trusted types only, got .*Untrusted.*Nothing was"
    ):
        kf.load_detector(folder)
    assert not Untrusted.made


def test_head_that_is_no_detector_is_refused(folder):
    for head, why in [
        (GaussianNB().fit(np.arange(8.0).reshape(8, 1), 3 + np.arange(8) % 2), "the classes 0 and 1"),
        (StandardScaler().fit(np.arange(8.0).reshape(8, 1)), "classes_"),
        ([1, 2, 3], "classes_"),
    ]:
        put_head(folder, head)
        with pytest.raises(ValueError, match=rf"head\.skops that can be read.*{why}"):
            kf.load_detector(folder)


def test_lambda_in_a_model_is_not_run(folder):
    layers = [
        keras.Input(SHAPE),
        keras.layers.Lambda(lambda x: x),
        keras.layers.Flatten(),
        keras.layers.Dense(4),
    ]
    keras.Sequential(layers).save(folder / "model.keras")
    vouch(folder)
    with pytest.raises(ValueError, match=r"model\.keras that can be read.*lambdas are refused"):
        kf.load_detector(folder)


def forest(kind=RandomForestClassifier, **settings):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 3))
    return kind(random_state=0, **settings).fit(features, features.sum(axis=1) > 0)


def forge(tree, **columns):
    """Overwrites nodes of a tree in place: {"feature": (node, value)}."""
    state = tree.__getstate__()
    for name, (node, value) in columns.items():
        if name == "node_count":
            state[name] = value
        else:
            state["nodes"][name][node] = value
    tree.__setstate__(state)


FORGERIES = {
    "feature beyond the last": {"feature": (0, 3)},
    "negative feature": {"feature": (0, -5)},
    "child that is no node": {"left_child": (0, 10_000)},
    "negative child": {"right_child": (0, -7)},
    "child before its parent": {"left_child": (1, 0)},
    "child of itself": {"right_child": (0, 0)},
    "half a leaf": {"left_child": (0, -1)},
    "no nodes": {"node_count": (0, 0)},
    "more nodes than there are": {"node_count": (0, 10_000)},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_tree_that_cannot_be_walked_is_refused(folder, forgery):
    head = forest(n_estimators=3, max_depth=4)
    check_trees(head)
    forge(head.estimators_[1].tree_, **FORGERIES[forgery])
    with pytest.raises(ValueError, match="`head` must hold trees that lead from each node to later ones"):
        check_trees(head)
    if "nodes" not in forgery:  # skops takes these to be written, too.
        put_head(folder, head)
        with pytest.raises(ValueError, match=r"head\.skops that can be read.*must hold trees"):
            kf.load_detector(folder)


def test_tree_is_bound_by_the_forest_that_hands_it_its_columns():
    head = forest(n_estimators=3)
    # Of five columns by their own account, of three by the forest's, which is what it checks.
    wide = np.random.default_rng(1).normal(size=(60, 5))
    head.estimators_[2] = DecisionTreeClassifier(random_state=0).fit(wide, wide[:, 4] > 0)
    with pytest.raises(ValueError, match="by 3 features"):
        check_trees(head)
    lone = forest(DecisionTreeClassifier)
    check_trees(lone)
    del lone.n_features_in_
    with pytest.raises(ValueError, match="by 0 features"):
        check_trees(lone)


@pytest.mark.parametrize(
    "head",
    [
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        AdaBoostClassifier(n_estimators=3, random_state=0),
        make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)),
        VotingClassifier([("a", DecisionTreeClassifier(random_state=0))], voting="soft"),
    ],
)
def test_trees_are_found_wherever_they_are(head):
    features = np.random.default_rng(0).normal(size=(60, 3))
    head.fit(features, features.sum(axis=1) > 0)
    check_trees(head)
    inner = head[-1] if hasattr(head, "steps") else head
    tree = np.ravel(inner.estimators_)[-1].tree_
    forge(tree, feature=(0, 3))
    with pytest.raises(ValueError, match="must hold trees"):
        check_trees(head)


# The stored detector


@pytest.fixture(scope="module")
def stored():
    return artefacts.saved_model_path("lenet5_mnist_detector")


def test_stored_detector_is_small_and_says_how_it_was_made(stored):
    manifest = artefacts.check_manifest(stored / "manifest.json")
    inner = f"1/{DETECTOR_FOLDER.as_posix()}"
    assert set(manifest["files"]) >= {"1/saved_model.pb", *(f"{inner}/{name}" for name in store.FILES)}
    files = {file.relative_to(stored).as_posix() for file in stored.rglob("*") if file.is_file()}
    assert files == {*manifest["files"], "manifest.json"}
    assert sum((stored / file).stat().st_size for file in files) < 3_000_000
    assert manifest["command"] == "python scripts/train_detector.py --num-sources 2000 --seed 0"
    assert "OSSA" in manifest["positives"]
    for results in manifest["metrics"].values():
        assert results["num_sources"] > 250
        for score in results["auc"].values():
            assert 0.9 < score["low"] <= score["auc"] <= score["high"] <= 1


def test_stored_detector_is_of_the_stored_net(stored, lenet, images):
    detector = kf.load_detector(stored)
    np.testing.assert_array_equal(detector.classifier.logits(images), kf.Classifier(lenet).logits(images))
    assert detector.get_params().items() >= {"num_eigenvalues": 20, "head": "random_forest"}.items()


def test_stored_detector_tells_attacks_that_it_was_not_fitted_to(stored, classifier, sample):
    images, labels = (array[:300] for array in sample)
    detector = kf.load_detector(stored)
    result = kf.attacks.FGM(epsilon=2.5)(classifier, images, labels)
    keep = result.success
    noisy = kf.detectors.matched_noise(classifier, images[keep], result.norms[keep])
    test = kf.detectors.LabelledImages.from_attack(images[keep], result.images[keep], noisy)
    auc, _ = kf.detectors.bootstrap_auc(
        test.is_adversarial, detector.score_samples(test.images), test.sources
    )
    assert auc > 0.9
    assert detector.predict(images).mean() < 0.06
