"""What an import brings along, and what a package shows."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import keras_fisher as kf

#: In one fresh process, since each costs seconds: what is there after each step.
PROGRAM = """
import json, sys
HEAVY = ["art", "foolbox", "keras", "matplotlib", "sklearn", "tensorflow", "tensorflow_datasets"]
loaded = {}

def note(step):
    loaded[step] = [name for name in HEAVY if name in sys.modules]

import keras_fisher as kf
dir(kf), kf.__version__
note("keras_fisher")
import keras_fisher.interop
note("interop")
kf.artefacts.sha256(__file__)
note("artefacts")
kf.datasets.mnist_sample()
note("mnist_sample")

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("sklearn", "tensorflow_datasets"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import keras_fisher.callbacks, keras_fisher.layers, keras_fisher.likelihoods, keras_fisher.losses
import keras_fisher.models, keras_fisher.solvers
for package in (kf.callbacks, kf.layers, kf.likelihoods, kf.losses, kf.models, kf.solvers):
    for name in package.__all__:
        getattr(package, name)
kf.Classifier, kf.Spectrum, kf.attacks.OSSA, kf.ensemble, kf.fisher_spectrum, kf.testing.small_net
import keras
for name in ("GaussianNaiveBayes", "LogisticProbability", "OSSALayer", "TreeEnsemble"):
    assert keras.saving.get_registered_object("keras_fisher>" + name), name
note("without scikit-learn and TensorFlow Datasets")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, list[str]]:
    file = tmp_path_factory.mktemp("imports") / "program.py"
    file.write_text(PROGRAM)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("step", ["keras_fisher", "interop", "artefacts", "mnist_sample"])
def test_what_needs_no_tensorflow_does_not_import_it(loaded, step):
    assert loaded[step] == []


def test_layers_callbacks_and_attacks_need_neither_scikit_learn_nor_tensorflow_datasets(loaded):
    found = loaded["without scikit-learn and TensorFlow Datasets"]
    assert not {"sklearn", "tensorflow_datasets", "art", "foolbox"} & set(found)
    assert "tensorflow" in found


def packages() -> list[str]:
    """All packages, and the public modules among the single files."""
    found = [module.name for module in pkgutil.walk_packages(kf.__path__, "keras_fisher.") if module.ispkg]
    single = [f"keras_fisher.{name}" for name in ("artefacts", "likelihoods", "solvers")]
    return ["keras_fisher", *found, *single]


@pytest.mark.parametrize("name", packages())
def test_a_package_shows_its_public_names_and_has_them_all(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == dir(module)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None


def test_public_modules_are_modules():
    solvers = importlib.import_module("keras_fisher.solvers")
    likelihoods = importlib.import_module("keras_fisher.likelihoods")
    assert kf.solvers is solvers
    assert kf.likelihoods is likelihoods
    assert solvers.Gram is importlib.import_module("keras_fisher.linalg").Gram
    # What can be chosen by name can be made with settings.
    names = importlib.import_module("keras_fisher.fisher.solvers")
    assert set(solvers.__all__) == set(names.__all__)
    assert {type(solver).__name__ for solver in names.SOLVERS.values()} <= set(solvers.__all__)


def test_a_name_that_there_is_not_is_an_attribute_error():
    for module in (kf, kf.interop):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            _ = module.nothing
