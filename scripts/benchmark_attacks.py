"""Attacks beside Foolbox's and ART's: success, norms and time, as JSON.

The same Keras model, the same images (classified right), the same budget; each attack warmed up once and
then timed turn by turn, so that the machine's own speed cancels in the ratios. LeNet-5 on the packaged MNIST
images, VGG on CIFAR-10 (which TensorFlow Datasets fetches).

    python scripts/benchmark_attacks.py                          all sections, about 20 minutes on two cores
    python scripts/benchmark_attacks.py --only mnist             one of: mnist, cifar10, loops, cost,
                                                                 directions
    TF_ENABLE_ONEDNN_OPTS=1 python scripts/benchmark_attacks.py  with oneDNN, where it is not the default
"""

# pyright: reportPrivateImportUsage=false
# Foolbox names its public parts in a way that pyright takes for private.

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import foolbox
import numpy as np
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts, testing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ART says what else it could work with.
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

SECTIONS = ("mnist", "cifar10", "loops", "cost", "directions")
SEED = 0


@dataclasses.dataclass(frozen=True)
class Setting:
    """A net with images that it answers right, and the budget of the attacks with an epsilon."""

    name: str
    classifier: kf.Classifier
    images: np.ndarray
    labels: np.ndarray
    epsilon: float
    steps: int
    #: Of Adam, in C&W: small against the norms that the net needs.
    adam_step: float
    #: Only attacks whose name starts so are run.
    attack: str = ""

    def first(self, count: int) -> Setting:
        return dataclasses.replace(self, images=self.images[:count], labels=self.labels[:count])


@dataclasses.dataclass(frozen=True)
class Run:
    """An attack of one library on one setting: returns the images that it found."""

    library: str
    attack: Callable[[], np.ndarray]


def main() -> None:
    arguments = parse_arguments()
    report: dict = {
        "command": " ".join(["python", "scripts/benchmark_attacks.py", *sys.argv[1:]]),
        "versions": artefacts.versions() | {"foolbox": foolbox.__version__},
        "cores": os.cpu_count(),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "seed": SEED,
    }
    for section in [arguments.only] if arguments.only else SECTIONS:
        start = time.perf_counter()
        report[section] = run_section(section, arguments)
        say(f"{section}: {time.perf_counter() - start:.0f} s")
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.output:
        artefacts.write_atomically(arguments.output, lambda path: pathlib.Path(path).write_text(text + "\n"))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SECTIONS, help="run one section")
    parser.add_argument("--attack", default="", help='of mnist and cifar10, e.g. "C&W" or DDN')
    parser.add_argument("--repeats", type=int, default=3, help="timed runs (default: %(default)s)")
    parser.add_argument("--images", type=int, help="at most so many images of each section")
    parser.add_argument("--output", type=pathlib.Path, help="also write the JSON here")
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_section(section: str, arguments: argparse.Namespace) -> dict:
    if section == "cost":
        return cost(mnist(arguments.images or 256), max(arguments.repeats, 5))
    if section == "directions":
        return directions(arguments)
    if section == "loops":
        return loops(arguments)
    if section == "mnist":
        setting = mnist(arguments.images or 256)
        return comparison(wanted(setting, arguments), arguments.repeats, num_slow=64)
    setting = cifar10(arguments.images or 64, arguments.data_dir)
    return comparison(wanted(setting, arguments), arguments.repeats, num_slow=8)


def wanted(setting: Setting, arguments: argparse.Namespace) -> Setting:
    return dataclasses.replace(setting, attack=arguments.attack)


def mnist(count: int) -> Setting:
    images, labels = kf.datasets.mnist_sample()
    return right(
        Setting("lenet5", kf.Classifier(kf.models.lenet5(weights="mnist")), images, labels, 2.0, 20, 0.05),
        count,
    )


def cifar10(count: int, data_dir: str | None) -> Setting:
    images, labels = kf.datasets.load("cifar10", "test[:400]", data_dir=data_dir)
    return right(
        Setting("vgg", kf.Classifier(kf.models.vgg(weights="cifar10_narrow")), images, labels, 0.5, 20, 0.01),
        count,
    )


def right(setting: Setting, count: int) -> Setting:
    """Returns the first `count` images that the net answers right."""
    index = np.flatnonzero(setting.classifier.predict(setting.images) == setting.labels)[:count]
    return dataclasses.replace(setting, images=setting.images[index], labels=setting.labels[index])


def comparison(setting: Setting, repeats: int, num_slow: int) -> dict:
    """Every attack beside its peers."""
    slow = setting.first(num_slow)
    epsilon, steps = setting.epsilon, setting.steps
    step_size = epsilon / 8
    fixed: dict[str, Any] = {"epsilon": epsilon, "steps": steps, "step_size": step_size}
    penalty: dict[str, Any] = {"binary_search_steps": 9, "steps": 100}
    rows = [
        row(
            "FGM",
            setting,
            repeats,
            kf.attacks.FGM(epsilon),
            foolbox.attacks.L2FastGradientAttack(),
            evasion.FastGradientMethod,
            {"eps": epsilon},
        ),
        row(
            "BIM",
            setting,
            repeats,
            kf.attacks.BIM(**fixed),
            foolbox.attacks.L2BasicIterativeAttack(abs_stepsize=step_size, steps=steps),
            evasion.ProjectedGradientDescent,
            {
                "eps": epsilon,
                "eps_step": step_size,
                "max_iter": steps,
                "num_random_init": 0,
                "verbose": False,
            },
        ),
        row(
            "BIM, no early stop",
            setting,
            repeats,
            kf.attacks.BIM(**fixed, early_stop=False),
            foolbox.attacks.L2BasicIterativeAttack(abs_stepsize=step_size, steps=steps),
        ),
        row(
            "PGD",
            setting,
            repeats,
            kf.attacks.PGD(**fixed),
            foolbox.attacks.L2PGD(abs_stepsize=step_size, steps=steps),
            evasion.ProjectedGradientDescent,
            {
                "eps": epsilon,
                "eps_step": step_size,
                "max_iter": steps,
                "num_random_init": 1,
                "verbose": False,
            },
        ),
        row("DeepFool", setting, repeats, kf.attacks.DeepFool(), foolbox.attacks.L2DeepFoolAttack()),
        row(
            "DeepFool, relaxation 1",
            setting,
            1,
            kf.attacks.DeepFool(relaxation=1.0),
            foolbox.attacks.L2DeepFoolAttack(),
        ),
        row("DDN", setting, repeats, kf.attacks.DDN(steps=50), foolbox.attacks.DDNAttack(steps=50)),
        row(
            "C&W",
            slow,
            1,
            kf.attacks.CarliniWagner(step_size=setting.adam_step, initial_const=1e-3, **penalty),
            foolbox.attacks.L2CarliniWagnerAttack(stepsize=setting.adam_step, initial_const=1e-3, **penalty),
        ),
        row(
            "C&W, own start",
            slow,
            1,
            kf.attacks.CarliniWagner(step_size=setting.adam_step, binary_search_steps=5, steps=100),
            foolbox.attacks.L2CarliniWagnerAttack(stepsize=setting.adam_step, initial_const=1e-3, **penalty),
        ),
        row("Opt", slow, 1, kf.attacks.Opt(step_size=0.01, binary_search_steps=5, steps=100)),
    ]
    return {
        "net": setting.name,
        "n": len(setting.images),
        "n_penalty": len(slow.images),
        "epsilon": epsilon,
        "steps": steps,
        "step_size": step_size,
        "rows": [found for found in rows if found],
    }


def row(
    name: str,
    setting: Setting,
    repeats: int,
    ours: kf.attacks.Attack,
    foolbox_attack: Any = None,
    art_attack: Any = None,
    art_options: Any = None,
) -> dict:
    """Returns success, norms and times of one attack in up to three libraries; {} if it is not wanted."""
    if not name.startswith(setting.attack):
        return {}
    runs = [Run("ours", lambda: ours(setting.classifier, setting.images, setting.labels).images)]
    if foolbox_attack is not None:
        runs.append(Run("foolbox", lambda: in_foolbox(foolbox_attack, setting)))
    if art_attack is not None:
        estimator = art_estimator(setting)
        attack = art_attack(estimator, norm=2, batch_size=len(setting.images), **art_options)
        runs.append(Run("art", lambda: attack.generate(setting.images, setting.labels)))
    # Not before each run: it empties TensorFlow's caches, which whoever comes next would pay for.
    tf.random.set_seed(SEED)
    seconds, found = timed(runs, repeats)
    result: dict = {"attack": name, "settings": repr(ours)}
    for run in runs:
        result[run.library] = judged(setting, found[run.library]) | {
            "seconds": float(np.median(seconds[run.library]))
        }
    for library in ("foolbox", "art"):
        if library in seconds:
            ratios = np.divide(seconds[library], seconds["ours"])
            result[f"times_{library}"] = float(np.median(ratios))
    say(f"  {name}: " + json.dumps({key: value for key, value in result.items() if key != "settings"}))
    return result


def timed(runs: list[Run], repeats: int) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Returns the seconds of each run, taken turn by turn, and what it found. Ours is warmed up, it compiles;
    the peers, which do not, too from three repeats on."""
    found: dict[str, np.ndarray] = {}
    seconds: dict[str, list[float]] = {run.library: [] for run in runs}
    for run in runs:
        if repeats > 2 or run.library == "ours":
            run.attack()
    for _ in range(repeats):
        for run in runs:
            start = time.perf_counter()
            found[run.library] = run.attack()
            seconds[run.library].append(time.perf_counter() - start)
    return seconds, found


def in_foolbox(attack, setting: Setting) -> np.ndarray:
    model = foolbox.TensorFlowModel(setting.classifier.model, bounds=(0, 1), device="/CPU:0")
    epsilon = None if isinstance(attack, foolbox.attacks.base.MinimizationAttack) else setting.epsilon
    _, clipped, _ = attack(model, tf.constant(setting.images), tf.constant(setting.labels), epsilons=epsilon)
    return np.asarray(clipped)


def art_estimator(setting: Setting) -> TensorFlowV2Classifier:
    return TensorFlowV2Classifier(
        setting.classifier.model,
        nb_classes=setting.classifier.num_classes,
        input_shape=setting.images.shape[1:],
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )


def judged(setting: Setting, images: np.ndarray) -> dict:
    """Returns the success rate and the mean norm over the successes, by one measure for all libraries."""
    fooled = setting.classifier.predict(np.clip(images, 0, 1)) != setting.labels
    norms = np.linalg.norm((images.astype(np.float64) - setting.images).reshape(len(images), -1), axis=-1)
    return {"success_percent": 100 * float(fooled.mean()), "mean_norm": float(norms[fooled].mean())}


def loops(arguments: argparse.Namespace) -> dict:
    """Iterative attacks over a bare compiled loop of the same passes, at equal iterations.

    Each is traced three times and the quickest counts: TensorFlow's oneDNN pass rewrites the gradient of
    max-pooling in some traces and not in others, which makes two traces of one graph differ by more than what
    is measured here.
    """
    rows = []
    for setting in (mnist(arguments.images or 256), cifar10(arguments.images or 64, arguments.data_dir)):
        budget = {"epsilon": setting.epsilon, "steps": setting.steps, "step_size": setting.epsilon / 8}
        ours = {
            "BIM": kf.attacks.BIM(**budget, early_stop=False),
            "DDN": kf.attacks.DDN(steps=50),
        }
        bare = {"BIM": bare_bim, "DDN": bare_ddn}
        for name, attack in ours.items():
            runs = []
            for trace in range(3):
                classifier = kf.Classifier(testing.scaled_logits(setting.classifier.model, 1.0))
                again = dataclasses.replace(setting, classifier=classifier)
                loop = bare[name](again)
                runs += [
                    Run(f"ours {trace}", lambda attack=attack, again=again: whole(attack, again)),
                    Run(f"bare {trace}", lambda loop=loop, again=again: loop(tf.constant(again.images))),
                ]
            seconds, _ = timed(runs, max(arguments.repeats, 10))
            medians = {run.library: float(np.median(seconds[run.library])) for run in runs}
            best = {
                kind: min(value for key, value in medians.items() if key.startswith(kind))
                for kind in ("ours", "bare")
            }
            rows.append(
                {
                    "net": setting.name,
                    "attack": name,
                    "n": len(setting.images),
                    "seconds": medians,
                    "over_bare": best["ours"] / best["bare"],
                }
            )
            say(f"  {setting.name}, {name}: {json.dumps(rows[-1])}")
    return {"rows": rows}


def whole(attack: kf.attacks.Attack, setting: Setting) -> np.ndarray:
    return attack(setting.classifier, setting.images, setting.labels).images


def bare_bim(setting: Setting) -> Callable[[tf.Tensor], np.ndarray]:
    """Twenty steps of one length in the ball and within bounds, and a last forward pass."""
    logits, labels = setting.classifier.target.logits, tf.constant(setting.labels)

    @tf.function(input_signature=[tf.TensorSpec([None, *setting.images.shape[1:]], tf.float32)])
    def run(origins):
        images = origins
        for _ in tf.range(setting.steps):
            gradient, _ = loss_gradient(logits, images, labels)
            images += setting.epsilon / 8 * gradient / norms_of(gradient)
            offsets = images - origins
            offsets *= tf.minimum(1.0, setting.epsilon / norms_of(offsets))
            images = tf.clip_by_value(origins + offsets, 0.0, 1.0)
        return images, logits(images)

    return lambda images: run(images)[0].numpy()


def bare_ddn(setting: Setting) -> Callable[[tf.Tensor], np.ndarray]:
    """Fifty steps of DDN that keep the nearest image which fools, and a last forward pass."""
    logits, labels = setting.classifier.target.logits, tf.constant(setting.labels)

    @tf.function(input_signature=[tf.TensorSpec([None, *setting.images.shape[1:]], tf.float32)])
    def run(origins):
        images, best = origins, origins
        least = tf.fill([tf.shape(origins)[0], 1, 1, 1], np.float32(np.inf))
        radii = tf.ones_like(least)
        for index in tf.range(50):
            gradient, outputs = loss_gradient(logits, images, labels)
            is_fooled = (tf.argmax(outputs, axis=-1) != labels)[:, None, None, None]
            lengths = norms_of(images - origins)
            is_better = is_fooled & (lengths < least)
            best = tf.ensure_shape(tf.where(is_better, images, best), origins.shape)
            least = tf.ensure_shape(tf.where(is_better, lengths, least), least.shape)
            radii = tf.ensure_shape(radii * tf.where(is_fooled, 0.95, 1.05), least.shape)
            rate = 0.01 + 0.495 * (1.0 + tf.cos(np.pi * tf.cast(index, tf.float32) / 50.0))
            images += rate * gradient / norms_of(gradient)
            offsets = images - origins
            offsets *= radii / norms_of(offsets)
            images = tf.clip_by_value(origins + offsets, 0.0, 1.0)
        return best, logits(images)

    return lambda images: run(images)[0].numpy()


def loss_gradient(logits: Callable, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        outputs = logits(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
    return tape.gradient(loss, images), outputs


def norms_of(images: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(images), axis=[1, 2, 3], keepdims=True)) + 1e-12


def cost(setting: Setting, repeats: int) -> dict:
    """OSSA and the iterative attacks in FGM gradients, and the iterations to 90 % fooling."""
    classifier, images, labels = setting.classifier, setting.images, setting.labels
    fgm, ossa = kf.attacks.FGM(), kf.attacks.OSSA()
    batch = fgm.gather(classifier, images, labels, None, None)
    steps: dict[str, Any] = {
        "epsilon": 20.0,
        "step_size": 0.05,
        "steps": 5,
        "early_stop": False,
        "clip": False,
    }
    bim, iterative = kf.attacks.BIM(**steps), kf.attacks.IterativeOSSA(**steps)
    runs = {
        "gradient": lambda: fgm.prepare(classifier, batch),
        "ossa_direction": lambda: ossa.prepare(classifier, batch),
        "ossa_whole": lambda: ossa.run(classifier, batch),
        "fgm_whole": lambda: fgm.run(classifier, batch),
        "bim_5_steps": lambda: bim.run(classifier, batch),
        "iterative_ossa_5_steps": lambda: iterative.run(classifier, batch),
    }
    seconds, _ = timed([Run(name, run) for name, run in runs.items()], repeats)
    gradient = np.asarray(seconds["gradient"])
    in_gradients = {name: float(np.median(np.asarray(taken) / gradient)) for name, taken in seconds.items()}
    iterations = {}
    for attack in (kf.attacks.BIM, kf.attacks.IterativeOSSA, kf.attacks.IterativeOTCM):
        budget = attack(epsilon=6.0, step_size=setting.adam_step, clip=False)
        curve = kf.attacks.fooling_curve(budget, classifier, images, labels, iterations=range(101))
        reached = np.flatnonzero(curve.rates >= 0.9)
        iterations[attack.__name__] = int(reached[0]) if reached.size else None
    return {
        "n": len(images),
        "in_gradients": in_gradients,
        "iterative_ossa_gradients_a_step": in_gradients["iterative_ossa_5_steps"] / 5,
        "iterations_to_90_percent_step_0.05": iterations,
    }


def directions(arguments: argparse.Namespace) -> dict:
    """The cosine of FGM's and OTCM's directions with a float64 gradient, on every MNIST test image."""
    images, labels = kf.datasets.load("mnist", "test", data_dir=arguments.data_dir)
    images, labels = images[: arguments.images], labels[: arguments.images]
    model = kf.models.lenet5(weights="mnist")
    classifier, double = kf.Classifier(model), testing.float64_copy(model)
    targets = kf.attacks.random_targets(labels, classifier.num_classes, SEED)
    result: dict = {"n": len(images)}
    for name, attack, classes, sign in (
        ("FGM", kf.attacks.FGM(1.0, clip=False), labels, 1.0),
        ("OTCM", kf.attacks.OTCM(1.0, clip=False, seed=SEED), targets, -1.0),
        ("FGM(float32_loss=True)", kf.attacks.FGM(1.0, clip=False, float32_loss=True), labels, 1.0),
    ):
        moved = attack(classifier, images, labels).images.astype(np.float64) - images
        cosines = []
        for start in range(0, len(images), 500):
            part = slice(start, start + 500)
            expected = sign * float64_gradient(double, images[part], classes[part])
            cosines.append(cosine(moved[part], expected))
        values = np.concatenate(cosines)
        result[name] = {"least_cosine": float(values.min()), "below_0.9999": int((values < 0.9999).sum())}
    return result


def float64_gradient(double, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """∇ log((1 − p_c) / p_c) by automatic differentiation in float64: along ∇(−log p_c)."""
    pixels = tf.constant(images, tf.float64)
    of_class = tf.one_hot(classes, 10, on_value=True, off_value=False)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = double(pixels, training=False)
        others = tf.where(of_class, tf.constant(-np.inf, tf.float64), logits)
        odds = tf.reduce_logsumexp(others, axis=-1) - tf.boolean_mask(logits, of_class)
    return tape.gradient(odds, pixels).numpy()


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns (n,), 0 where one of the two is zero."""
    first, second = (array.reshape(len(array), -1) for array in (first, second))
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.divide(np.sum(first * second, axis=-1), lengths, out=np.zeros(len(first)), where=lengths > 0)


if __name__ == "__main__":
    main()
