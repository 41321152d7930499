"""What costs time, computed in parts that are kept: a run that was stopped goes on where it was.

A part is one file in runs/reproduction, named by all that it depends on: net, images, settings, the library,
versions, and the file of the function that computes it. Two experiments share what they have in common. The
folder may be deleted at any time.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import _nets as nets
import numpy as np
import rich.progress

import keras_fisher as kf
from keras_fisher import artefacts

PARTS = nets.REPOSITORY / "runs" / "reproduction"
#: Packages of the library that results depend on; nets are told by their weights.
COMPUTING = ("attacks", "classifiers", "datasets", "detectors", "fisher", "linalg", "models", "testing")
#: Modules of scripts/ that no result of the run_ scripts depends on, by the beginnings of their names.
NOT_COMPUTING = ("_drawing", "_training", "_worker", "benchmark_", "build_", "compare_", "figure_",
                 "package_", "reproduce", "run_", "table_", "train_")  # fmt: skip
#: Images a part: what a kill can lose.
PART_SIZE = 250
#: Table 2's "binary search in [0.0, 6.0]" to 6 / 96 / 2⁶ = 0.001; scanned first: fooling is not monotone.
LEAST_NORM = {"bracket": (0.0, 6.0), "num_scanned": 96, "num_refined": 6}

Arrays = dict[str, np.ndarray]


def in_parts(
    name: str,
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    compute: Callable[[np.ndarray, np.ndarray], Arrays],
    settings: Any,
    size: int = PART_SIZE,
) -> Arrays:
    """Returns `compute(images, labels)`, arrays with one row an image, computed in parts that are kept.

    What is random depends on the seed and on the position in the part: other parts have the same random
    targets, starts and noise, for other images.

    Args:
        name: stands before the bar, and is a part of the key.
        classifier: what it is computed of.
        images: (n, h, w, c).
        labels: (n,).
        compute: gives arrays of which row i belongs to image i of its argument.
        settings: all else that the result depends on, as JSON or an object whose repr tells its settings.
        size: images a part.
    """
    # The library, and the file that `compute` is written in. That of its neighbours is for `code_digest`.
    code = f"{code_digest()} {_file_digest(inspect.getfile(compute))}"
    key = hashlib.sha256(f"{name} {_plain(settings)} {code} {nets.weights_digest(classifier)}".encode())
    starts = range(0, len(images), size)
    found = []
    for start in rich.progress.track(starts, name):
        part = slice(start, start + size)
        digest = key.copy()
        digest.update(images[part].tobytes() + labels[part].tobytes())
        file = PARTS / f"{digest.hexdigest()[:32]}.npz"
        if not file.exists():
            arrays = compute(images[part], labels[part])
            artefacts.write_atomically(file, functools.partial(np.savez_compressed, **arrays))
        with np.load(file) as kept:
            found.append(dict(kept))
    return {field: np.concatenate([arrays[field] for arrays in found]) for field in found[0]}


@functools.cache
def _file_digest(path: str) -> str:
    return artefacts.sha256(pathlib.Path(path))[:16]


def _plain(settings: Any) -> str:
    """Returns the settings as text, without the addresses of functions and objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(settings))


@functools.cache
def code_digest(script: str | None = None) -> str:
    """Returns what tells this library, its versions and a script from others: parts of two are not mixed."""
    state = hashlib.sha256(json.dumps(artefacts.versions(), sort_keys=True).encode())
    package = pathlib.Path(kf.__file__).parent
    paths = sorted(path for folder in COMPUTING for path in (package / folder).rglob("*.py"))
    if script is not None:
        scripts = sorted((nets.REPOSITORY / "scripts").glob("*.py"))
        paths += [path for path in scripts if path.stem == script or not path.stem.startswith(NOT_COMPUTING)]
    for path in paths:
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()[:16]


def digest(array: np.ndarray) -> str:
    """Returns what tells an array from others."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class LeastNorm:
    """An attack at the least norm with which it fools the net."""

    attack: kf.attacks.FixedEpsilonAttack

    def __call__(
        self, classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray
    ) -> kf.attacks.AttackResult:
        return kf.attacks.least_perturbation(self.attack, classifier, images, labels, **LEAST_NORM)


def attacked(
    attack: Callable[..., kf.attacks.AttackResult],
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
) -> kf.attacks.AttackResult:
    """Returns the result of an attack whose repr tells its settings, by parts."""
    names = [field.name for field in dataclasses.fields(kf.attacks.AttackResult)]

    def compute(images: np.ndarray, labels: np.ndarray) -> Arrays:
        found = attack(classifier, images, labels)
        return {name: getattr(found, name) for name in names}

    name = type(attack).__name__
    if isinstance(attack, LeastNorm):
        name = f"least norm of {type(attack.attack).__name__}"
    # An attack of a run_ script is told by its file too.
    settings = (attack, LEAST_NORM, _file_digest(inspect.getfile(type(attack))))
    arrays = in_parts(name, classifier, images, labels, compute, settings, 125)
    return kf.attacks.AttackResult(**arrays)


def first_eigenvalues(
    classifier: kf.Classifier, images: np.ndarray, solver: Any = "exact", seed: int = 0
) -> np.ndarray:
    """Returns λ₁ (n,) of each image, by parts."""

    def compute(images: np.ndarray, labels: np.ndarray) -> Arrays:
        found = kf.fisher_spectrum(
            classifier, images, num_eigenpairs=1, solver=solver, eigenvectors=False, seed=seed
        )
        return {"first": found.eigenvalues[:, 0]}

    labels = np.zeros(len(images), np.int64)
    return in_parts("eigenvalues", classifier, images, labels, compute, (solver, seed))["first"]


def log10(eigenvalues: np.ndarray) -> np.ndarray:
    """Returns log10 λ, where that below 1e-300 is taken for 1e-300: zero has no logarithm."""
    return np.log10(np.maximum(eigenvalues, 1e-300))


def least_norms(
    attack: kf.attacks.FixedEpsilonAttack,
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    search: dict[str, Any] | None = None,
) -> Arrays:
    """Returns `norms`, `epsilons`, `success` of the least perturbation of each image, by parts."""
    search = search or LEAST_NORM

    def compute(images: np.ndarray, labels: np.ndarray) -> Arrays:
        found = kf.attacks.least_perturbation(attack, classifier, images, labels, **search)
        return {"norms": found.norms, "epsilons": found.epsilons, "success": found.success}

    name = f"least norm of {type(attack).__name__}"
    return in_parts(name, classifier, images, labels, compute, (attack, search))
