"""Settings classes: keywords that there are not, copies, and what Keras and JSON keep of them."""

from __future__ import annotations

import abc
import copy
import dataclasses
import inspect
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import keras_fisher as kf
from keras_fisher.checks import Settings, suggests_keywords
from keras_fisher.serialization import describe, register, restore


@dataclasses.dataclass(frozen=True)
class Base(Settings, abc.ABC):
    _: dataclasses.KW_ONLY
    clip: bool = True

    @abc.abstractmethod
    def __call__(self, images): ...


def gradient(images):
    return images


@dataclasses.dataclass(frozen=True)
class Move(Base):
    epsilon: float = 1.0
    _: dataclasses.KW_ONLY
    steps: int = 20
    step_size: float | None = None
    num_eigenpairs: int = 1
    tolerance: float = math.inf
    direction: Callable[..., Any] | None = None
    solver: Any = "auto"
    parts: tuple[Any, ...] = ()
    cost: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "cost", 2 * self.steps)

    def __call__(self, images):
        return images


register(Base, Move, gradient)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("eps", "epsilon"),
        ("Epsilon", "epsilon"),
        ("epsilons", "epsilon"),
        ("iterations", "steps"),
        ("max_iter", "steps"),
        ("num_steps", "steps"),
        ("k", "num_eigenpairs"),
        ("lr", "step_size"),
        ("learning_rate", "step_size"),
        ("stepsize", "step_size"),
        ("tol", "tolerance"),
        ("clipped", "clip"),
    ],
)
def test_the_argument_that_was_meant_is_named(slip, meant):
    text = f"`Move` must be given arguments that it has, got {slip}. Did you mean `{meant}`?"
    with pytest.raises(TypeError) as error:
        Move(**{slip: 1})
    assert str(error.value) == text


def test_all_unknown_keywords_are_named_and_without_a_likeness_all_arguments():
    with pytest.raises(TypeError, match=r"got eps and lr\. Did you mean `epsilon` and `step_size`\?"):
        Move(eps=1.0, lr=0.1)
    with pytest.raises(TypeError, match=r"got zzz\. It has epsilon, .*clip.*steps, step_size"):
        Move(zzz=1)
    # What is computed is no argument.
    with pytest.raises(TypeError, match="got cost"):
        Move(cost=3)


def test_a_known_keyword_and_what_python_itself_says_are_as_before():
    assert Move(2.0, steps=3) == Move(epsilon=2.0, steps=3)
    with pytest.raises(TypeError, match="multiple values for argument 'epsilon'"):
        Move(1.0, epsilon=2.0)
    with pytest.raises(TypeError, match="abstract"):
        Base(clip=False)

    class Free(Settings):
        def __init__(self, **anything):
            self.anything = anything

    assert Free(eps=1).anything == {"eps": 1}


def test_copies_are_equal_and_whole():
    attack = Move(2.0, steps=3, parts=(Move(),))
    copies = [copy.copy(attack), copy.deepcopy(attack), dataclasses.replace(attack)]
    copies += [
        pickle.loads(pickle.dumps(attack, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for again in copies:
        assert again == attack
        assert hash(again) == hash(attack)
        assert again.cost == 6
    assert dataclasses.replace(attack, steps=4).steps == 4
    with pytest.raises(TypeError, match=r"Did you mean `epsilon`\?"):
        dataclasses.replace(attack, eps=4)


def test_the_signature_is_that_of_the_fields_and_of_an_object_that_of_its_call():
    assert next(iter(inspect.signature(Move).parameters)) == "epsilon"
    assert "cost" not in inspect.signature(Move).parameters
    assert list(inspect.signature(Move()).parameters) == ["images"]


def test_a_function_suggests_keywords_and_stays_what_it_was():
    @suggests_keywords
    def search(classifier, images, /, num_eigenpairs=None, *, batch_size=None):
        """Searches."""
        return num_eigenpairs, batch_size

    assert search(0, 1, 2, batch_size=3) == (2, 3)
    assert search.__doc__ == "Searches."
    assert list(inspect.signature(search).parameters) == [
        "classifier",
        "images",
        "num_eigenpairs",
        "batch_size",
    ]
    with pytest.raises(TypeError, match=r"`search` must be given .* got k\. Did you mean `num_eigenpairs`\?"):
        search(0, 1, k=3)
    # Only a position gives it.
    with pytest.raises(TypeError, match="got images"):
        search(0, images=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        search(0, num_eigenpairs=1)


def public_callables(module, seen):
    """Yields (name, callable) of a module and of the modules that it names."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            if value not in seen:
                seen.append(value)
                yield from public_callables(value, seen)
        elif callable(value):
            yield f"{module.__name__}.{name}", value
            if isinstance(value, type):
                yield from public_methods(f"{module.__name__}.{name}", value)


def public_methods(owner, kind):
    """Yields (name, function): `__call__`, and of what people hold all methods with an optional argument."""
    is_held = issubclass(
        kind, (kf.Network, kf.FisherOperator, kf.detectors.Detector, kf.detectors.Evaluation)
    )
    for name, method in inspect.getmembers(kind, inspect.isroutine):
        function = getattr(method, "__func__", method)
        is_ours = str(getattr(function, "__module__", None)).startswith("keras_fisher.")
        is_called = name == "__call__" or (is_held and not name.startswith("_"))
        if is_ours and is_called and has_default(function):
            yield f"{owner}.{name}", function


def has_default(function):
    return any(each.default is not each.empty for each in inspect.signature(function).parameters.values())


def takes_keywords(value):
    """Whether users call it, with names."""
    # Functions that are settings close over nothing, not even over a check.
    is_setting = inspect.isfunction(value) and "keras_fisher>" in keras.saving.get_registered_name(value)
    # Named tuples are made by the library.
    is_record = isinstance(value, type) and issubclass(value, tuple)
    is_callable = isinstance(value, type) or inspect.isfunction(value)
    return is_callable and not (is_setting or is_record or inspect.isabstract(value))


def slips(function):
    """Yields (misspelt, meant, required by position, required by name) of each argument that has a name."""
    parameters = inspect.signature(function).parameters.values()
    is_open = any(each.kind is each.VAR_KEYWORD for each in parameters)
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    required = [each.name for each in named if each.default is each.empty]
    owners = [name for name in required if name in ("self", "cls")]
    for name in (each.name for each in named if each.name not in owners and not each.name.startswith("_")):
        if not (is_open and name in required):  # Python misses it first.
            others = [one for one in required if one not in (name, *owners)]
            yield name[:-1] if len(name) > 3 else f"{name}s", name, [None for _ in owners], others


def test_every_public_callable_names_the_keyword_that_was_meant():
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    tried, mute = 0, []
    for name, value in public_callables(kf, [kf]):
        if not takes_keywords(value):
            continue
        for slip, meant, owners, required in slips(value):
            tried += 1
            try:
                value(*owners, **dict.fromkeys(required), **{slip: None})
                said = "nothing"
            except Exception as error:
                said = str(error)
            if f"Did you mean `{meant}`?" not in said:
                mute.append(f"{name}({slip}=) says {said}")
    assert tried > 300
    assert not mute, "\n".join(mute)


def test_fisher_spectrum_suggests_num_eigenpairs():
    with pytest.raises(TypeError, match=r"`fisher_spectrum` must .* got k\. Did you mean `num_eigenpairs`\?"):
        kf.fisher_spectrum(None, None, k=3)


#: Objects of ours, each with something that JSON does not have or an object within.
OURS = {
    "solver": kf.solvers.GolubKahan(tolerance=1e-2, max_dimension=7),
    "sampled": kf.solvers.Sampled(kf.solvers.PowerIteration(), 7),
    "staged": kf.solvers.Staged(kf.solvers.GolubKahan(max_dimension=3), kf.solvers.Gram()),
    "ossa": kf.attacks.OSSA(2.0, solver=kf.solvers.Staged(kf.solvers.GolubKahan(), kf.solvers.Gram())),
    "one_step": kf.attacks.OneStepAttack(2.0, direction=kf.attacks.loss_ascent_direction),
    "iterative": kf.attacks.IterativeAttack(steps=3, direction=gradient),
    "pgd": kf.attacks.PGD(1.5, steps=3, restarts=2),
    "carlini_wagner": kf.attacks.CarliniWagner(steps=7),
    "bernoulli": kf.likelihoods.Bernoulli(),
    "categorical": kf.likelihoods.Categorical(temperature=math.inf),
    "gaussian": kf.likelihoods.Gaussian((1.0, 2.0)),
    "sampled_categorical": kf.likelihoods.SampledCategorical(3, seed=1),
    "regularizer": kf.losses.FisherRegularizer(0.1, "kl", solver=kf.solvers.Gram()),
    "warmup": kf.callbacks.Warmup(1.5, epochs=2),
    "feature": kf.detectors.features.LogEigenvalues(temperature=math.inf),
    "numpy": Move(np.float32(0.5), steps=np.int64(3)),
    "nested": Move(direction=gradient, solver=Move(direction=Move()), parts=((1, -math.inf), Move())),
}


@pytest.mark.parametrize("name", OURS)
def test_what_keras_serialises_comes_back(name):
    value = OURS[name]
    # Keras's JSON has infinities.
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(value)))
    again = keras.saving.deserialize_keras_object(config)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("name", OURS)
def test_what_is_described_in_strict_json_comes_back(name):
    described = json.loads(json.dumps(describe("value", OURS[name]), allow_nan=False))
    assert restore(described) == OURS[name]
    assert keras.saving.deserialize_keras_object(described) == OURS[name]


def test_all_public_settings_are_registered():
    # What holds a detector or an attack of Foolbox cannot be written as JSON.
    apart = ("keras_fisher.adaptive.", "keras_fisher.interop.")
    kinds = [value for name, value in public_callables(kf, [kf]) if not name.startswith(apart)]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)]
    assert len(kinds) > 35
    for kind in kinds:
        assert keras.saving.get_registered_object(f"keras_fisher>{kind.__name__}") is kind


@keras.saving.register_keras_serializable("test_settings")
class Regularized(keras.layers.Dense):
    """A layer of a user's own, configured with settings of ours."""

    def __init__(self, units, regularizer, likelihood, **options):
        super().__init__(units, **options)
        self.regularizer = regularizer
        self.likelihood = likelihood

    def get_config(self):
        return super().get_config() | {"regularizer": self.regularizer, "likelihood": self.likelihood}

    @classmethod
    def from_config(cls, config):
        ours = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("regularizer", "likelihood")
        }
        return cls(**(config | ours))


def test_a_model_configured_with_a_likelihood_and_a_regularizer_is_read_again(tmp_path):
    layer = Regularized(2, OURS["regularizer"], OURS["gaussian"])
    model = keras.Sequential([keras.Input((3,)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert (again.regularizer, again.likelihood) == (layer.regularizer, layer.likelihood)


def test_a_class_of_a_users_own_needs_only_to_be_registered():
    @keras.saving.register_keras_serializable("mine")
    @dataclasses.dataclass(frozen=True)
    class Mine(Move):
        shift: int = 0

    attack = Move(solver=Mine(shift=3))
    again = restore(json.loads(json.dumps(describe("move", attack))))
    assert again == attack
    assert again.solver.shift == 3
    assert (
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(attack.solver))
        == attack.solver
    )


def unregistered(images):
    return images


@dataclasses.dataclass(frozen=True)
class Unregistered(Move):
    pass


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (Move(direction=unregistered), r"`move\.direction` must be .*got <function unregistered"),
        (Move(direction=lambda images: images), r"`move\.direction` must be .*<lambda>"),
        (Move(parts=(1, object())), r"`move\.parts\[1\]` must be .*<object object"),
        (Move(solver=np.zeros(3)), r"`move\.solver` must be .*an array of shape \(3,\)"),
        (Move(solver=Move), r"`move\.solver` must be .*<class"),
        (Unregistered(), r"`move` must be .*Unregistered\(.*register_keras_serializable\(\)"),
        ([1], r"`move` must be .*got \[1\]"),
    ],
)
def test_what_could_not_be_read_again_is_refused_when_it_is_written(value, found):
    with pytest.raises(TypeError, match=found):
        describe("move", value)


@pytest.mark.parametrize(
    "described",
    [
        {"registered_name": "os", "config": {}},
        {"registered_name": None, "module": "keras.layers", "class_name": "Dense", "config": {"units": 3}},
        {"registered_name": "keras_fisher>OSSALayer", "config": {}},
        {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}},
        {"class_name": "Move"},
        {},
    ],
)
def test_nothing_but_registered_settings_is_made_of_a_file(described):
    with pytest.raises(ValueError, match="`registered_name` must be that of a settings class"):
        restore([1, described])


def test_settings_that_a_class_does_not_have_are_refused():
    with pytest.raises(TypeError, match=r"Did you mean `epsilon`\?"):
        restore(describe("move", Move()) | {"config": {"eps": 1.0}})


def test_two_objects_of_one_name_are_refused():
    def gradient():
        """Another one."""

    with pytest.raises(ValueError, match="`objects` must have names of their own, got gradient"):
        register(gradient)
    register(Move)
