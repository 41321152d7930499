"""Accuracy, cost and memory of the Fisher spectrum, as JSON.

Everything is measured in this run, on the packaged MNIST images and, where TensorFlow Datasets has it, on
CIFAR-10. Times are ratios to one gradient (one forward and one backward pass) of the same batch and to the
bare passes, taken turn by turn: the machine's own speed cancels. The accuracy is that against a float64
reference by another route (kf.testing.reference_spectrum).

    python scripts/benchmark_spectrum.py                 all sections, a few minutes on two cores
    python scripts/benchmark_spectrum.py --only cost     one of: accuracy, solvers, kl, cost, first_calls,
    memory
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts, testing

EFFICIENTNET = pathlib.Path("runs/efficientnet_lite0.keras")
NETS = ("lenet5", "depthwise", "attention", "softmax")
SECTIONS = ("accuracy", "solvers", "kl", "cost", "first_calls", "memory")


def main() -> None:
    arguments = parse_arguments()
    report: dict = {
        "command": " ".join(["python", "scripts/benchmark_spectrum.py", *sys.argv[1:]]),
        "versions": artefacts.versions(),
        "cores": os.cpu_count(),
        "seed": 0,
    }
    for section in [arguments.only] if arguments.only else SECTIONS:
        print(f"{section} ...", file=sys.stderr, flush=True)
        start = time.perf_counter()
        report[section] = run(section, arguments)
        print(f"{section}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.output:
        artefacts.write_atomically(arguments.output, lambda path: pathlib.Path(path).write_text(text + "\n"))


def run(section: str, arguments: argparse.Namespace) -> dict:
    if section == "accuracy":
        return accuracy(arguments.accuracy_images)
    if section == "solvers":
        return solvers(arguments.accuracy_images)
    if section == "kl":
        return kl()
    if section == "cost":
        return cost(arguments.repeats)
    if section == "first_calls":
        return first_calls()
    return memory_of_a_fresh_process() if not arguments.in_process else memory()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SECTIONS, help="run one section")
    parser.add_argument("--accuracy-images", type=int, default=256, help="of `accuracy` and `solvers`")
    parser.add_argument("--repeats", type=int, default=10, help="of `cost` (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help="also write the JSON here")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def net(name: str) -> keras.Model:
    return kf.models.lenet5(weights="mnist") if name == "lenet5" else testing.small_net(name)


def accuracy(count: int) -> dict:
    """Every eigenvalue of at least 1e-10 λ₁ against the float64 reference; logits times one and ten."""
    images = kf.datasets.mnist_sample()[0][:count]
    rows = []
    for name in NETS:
        for factor in (1.0, 10.0):
            model = testing.scaled_logits(net(name), factor)
            expected = testing.reference_spectrum(testing.float64_copy(model), images).eigenvalues
            found = kf.fisher_spectrum(model, images, solver="exact", eigenvectors=False).eigenvalues
            counted = expected >= 1e-10 * expected[:, :1]
            errors = np.where(counted, np.abs(found / expected - 1), 0).max(axis=-1)
            rows.append(
                {
                    "net": name,
                    "logits_times": factor,
                    "n": len(images),
                    "smallest_top_eigenvalue": float(expected[:, 0].min()),
                    "largest_relative_error": float(errors.max()),
                    "median_relative_error": float(np.median(errors)),
                    "images_above_1e-4": int(np.sum(errors > 1e-4)),
                    "nan": int(np.isnan(found).sum()),
                    "negative": int((found < 0).sum()),
                    # What the forward pass alone is off by, against float64 logits.
                    "float32_forward_pass_error": log_probability_error(model, images),
                }
            )
    return {"target": "largest_relative_error <= 1e-4", "rows": rows}


def log_probability_error(model: keras.Model, images: np.ndarray) -> float:
    """The largest error of log p − log p_top of the float32 net: the relative error of p that it causes."""
    found = kf.Classifier(model).logits(images).astype(np.float64)
    expected = testing.float64_copy(model)(images.astype(np.float64), training=False).numpy()
    top = expected.argmax(axis=-1)[:, None]
    margins = [logits - np.take_along_axis(logits, top, axis=-1) for logits in (found, expected)]
    return float(np.abs(margins[0] - margins[1]).max())


def solvers(count: int) -> dict:
    """The iterative solvers where they say `converged`, against the exact one."""
    images = kf.datasets.mnist_sample()[0][:count]
    rows = []
    for name in ("lenet5", "depthwise", "softmax"):
        classifier = kf.Classifier(net(name))
        exact = kf.fisher_spectrum(classifier, images, solver="exact", eigenvectors=False).eigenvalues
        for solver, pairs in (("power", 1), ("lanczos", 1), ("lanczos", 3), ("golub_kahan", 1)):
            found = kf.fisher_spectrum(classifier, images, pairs, solver, eigenvectors=False)
            errors = np.abs(found.eigenvalues / exact[:, :pairs] - 1)[found.converged]
            rows.append(
                {
                    "net": name,
                    "solver": solver,
                    "pairs": pairs,
                    "n": len(images),
                    "converged": float(found.converged.mean()),
                    "largest_relative_error_where_converged": float(errors.max(initial=0)),
                    "largest_residual_where_converged": float(
                        found.residual_norms[found.converged].max(initial=0)
                    ),
                    "mean_backward_passes": float(found.num_backward.mean()),
                }
            )
    return {"target": "power, lanczos: error <= 1e-4 and residual <= 1e-3; golub_kahan: 1e-3", "rows": rows}


def kl() -> dict:
    """KL(p(x) ‖ p(x + η)) along OSSA and along FGM, unclipped, in a float64 copy of the net.

    On the images themselves, and blended with 10 % of uniform noise: in a flat background all inputs of a
    max-pool are equal, the net has a kink there, and KL no second derivative.
    """
    pixels, classes = kf.datasets.mnist_sample()
    noise = np.random.default_rng(0).uniform(size=pixels.shape)
    model = net("lenet5")
    classifier = kf.Classifier(model)
    double = testing.float64_copy(model)
    rows = []
    for name, images in (("images", pixels), ("blended", (0.9 * pixels + 0.1 * noise).astype(np.float32))):
        correct = classifier.predict(images) == classes
        images, labels = images[correct], classes[correct]
        for epsilon in (0.05, 0.01, 0.001):
            fgm = kf.attacks.FGM(epsilon, clip=False)(classifier, images, labels).images
            along_fgm = testing.kl_divergence(double, images, fgm)
            for solver in ("golub_kahan", "exact"):
                ossa = kf.attacks.OSSA(epsilon, clip=False, solver=solver)(classifier, images, labels).images
                ratio = testing.kl_divergence(double, images, ossa) / along_fgm
                rows.append(
                    {
                        "images": name,
                        "n": len(images),
                        "epsilon": epsilon,
                        "solver": solver,
                        "share_at_least_0.999": round(float(np.mean(ratio >= 0.999)), 4),
                        "median_ratio": round(float(np.median(ratio)), 5),
                        "1_percent_quantile": round(float(np.quantile(ratio, 0.01)), 5),
                    }
                )
    return {"target": "share_at_least_0.999 >= 0.99 at epsilon 0.05", "rows": rows}


def cost(repeats: int) -> dict:
    """Times of whole calls in gradients of the same batch, and over the bare passes that they are made of.

    All of it is taken in turn. "passes_of_one_pair" is a graph of one forward pass, Jᵀe, J v and Jᵀu and
    nothing else; "passes_of_nine" of one forward and nine backward passes.
    """
    cases = [("lenet5", kf.models.lenet5(weights="mnist"), kf.datasets.mnist_sample()[0][:256])]
    try:
        photos = kf.datasets.load("cifar10", "test")[0][:64]
        cases += [
            (f"vgg {weights}", kf.models.vgg(weights=weights), photos)
            for weights in ("cifar10", "cifar10_narrow")
        ]
    except (ImportError, OSError, RuntimeError) as error:
        print(f"no CIFAR-10 here, so no VGG: {error}", file=sys.stderr)
    rows = [cost_of(name, model, images, repeats) for name, model, images in cases]
    return {"oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's default"), "rows": rows}


def cost_of(name: str, model: keras.Model, images: np.ndarray, repeats: int) -> dict:
    """One net's row of `cost`."""
    classifier = kf.Classifier(model)
    passes = bare_passes(classifier.target.logits, images.shape[1:])
    pixels = tf.constant(images)
    labels = classifier.predict(images)

    def spectrum(solver: Any, pairs: int | None, eigenvectors: bool) -> Callable:
        return lambda: kf.fisher_spectrum(classifier, images, pairs, solver, eigenvectors=eigenvectors)

    attack = kf.attacks.OSSA(epsilon=2.0)
    candidates: dict[str, Callable] = {
        **{kind: lambda program=program: fetch(program(pixels)) for kind, program in passes.items()},
        "one_pair_auto": spectrum("auto", 1, True),
        "one_pair_fixed_three_products": spectrum(kf.solvers.FixedGolubKahan(3), 1, True),
        "nine_eigenvalues": spectrum("exact", None, False),
        "nine_eigenpairs": spectrum("exact", None, True),
        "ossa_call": lambda: attack(classifier, images, labels),
        "one_pair_auto_of_a_keras_model": lambda: kf.fisher_spectrum(model, images, 1),
    }
    times = taken_in_turn(candidates, repeats)
    exact = kf.fisher_spectrum(classifier, images, solver="exact", eigenvectors=False).eigenvalues[:, 0]
    top = kf.fisher_spectrum(classifier, images, 1)

    def over(kind: str, floor: str) -> float:
        return round(times[kind] / times[floor], 2)

    return {
        "net": name,
        "n": len(images),
        "repeats": repeats,
        "milliseconds": {kind: round(1e3 * value, 2) for kind, value in times.items()},
        "in_gradients": {kind: over(kind, "gradient") for kind in times},
        "one_pair_over_its_passes": over("one_pair_auto", "passes_of_one_pair"),
        "nine_eigenvalues_over_their_passes": over("nine_eigenvalues", "passes_of_nine"),
        "nine_eigenpairs_over_their_passes": over("nine_eigenpairs", "passes_of_nine"),
        "keras_model_over_classifier": over("one_pair_auto_of_a_keras_model", "one_pair_auto"),
        "one_pair_largest_relative_error": float(np.abs(top.eigenvalues[:, 0] / exact - 1).max()),
        "one_pair_settled_at_once": float(np.mean(top.num_backward == top.num_backward.min())),
    }


def bare_passes(logits: Callable, shape: tuple[int, ...]) -> dict[str, Callable]:
    """Graphs of passes and nothing else, by name: what the library's own calls are measured against."""

    def forward(pixels):
        return logits(pixels)

    def gradient(pixels):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            outputs = logits(pixels)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.argmax(outputs, axis=-1), outputs)
        return tape.gradient(loss, pixels)

    def one_pair(pixels):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            outputs = logits(pixels)
        top = tf.one_hot(tf.argmax(outputs, axis=-1), outputs.shape[1])
        first = tape.gradient(outputs, pixels, output_gradients=top)  # Jᵀe
        zeros = tf.zeros_like(outputs)
        with tf.GradientTape(watch_accessed_variables=False) as second:
            second.watch(zeros)
            pulled = tape.gradient(outputs, pixels, output_gradients=zeros)
        pushed = second.gradient(pulled, zeros, output_gradients=first)  # J v
        return tape.gradient(outputs, pixels, output_gradients=pushed)  # Jᵀu

    def nine(pixels):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            outputs = logits(pixels)
        rows = tf.unstack(tf.eye(outputs.shape[1])[: outputs.shape[1] - 1])
        return [
            tape.gradient(outputs, pixels, output_gradients=tf.broadcast_to(row, tf.shape(outputs)))
            for row in rows
        ]

    signature = [tf.TensorSpec([None, *shape], tf.float32)]
    functions = {
        "forward": forward,
        "gradient": gradient,
        "passes_of_one_pair": one_pair,
        "passes_of_nine": nine,
    }
    return {
        kind: tf.function(function, input_signature=signature, autograph=False)
        for kind, function in functions.items()
    }


def fetch(tensors: object) -> None:
    """Waits for the results."""
    for tensor in tf.nest.flatten(tensors):
        tensor.numpy()


def taken_in_turn(candidates: dict[str, Callable], repeats: int) -> dict[str, float]:
    """The median seconds of each, after two runs that do not count."""
    for candidate in candidates.values():
        candidate()
        candidate()
    times: dict[str, list[float]] = {kind: [] for kind in candidates}
    for _ in range(repeats):
        for kind, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            times[kind].append(time.perf_counter() - start)
    return {kind: float(np.median(values)) for kind, values in times.items()}


def first_calls() -> dict:
    """Seconds of a first call, tracing and all, each in a process that has the net and nothing else."""
    code = {
        "fisher_spectrum of LeNet-5 with eigenvectors": """
images = kf.datasets.mnist_sample()[0][:64]
model = kf.models.lenet5(weights="mnist")
start = time.perf_counter()
kf.fisher_spectrum(model, images)
""",
        "OSSA on LeNet-5": """
images = kf.datasets.mnist_sample()[0][:64]
model = kf.models.lenet5(weights="mnist")
start = time.perf_counter()
kf.attacks.OSSA(2.0)(model, images)
""",
    }
    if EFFICIENTNET.exists():
        code["OSSA on EfficientNet-Lite0"] = f"""
import keras, numpy
model = keras.saving.load_model({str(EFFICIENTNET)!r})
photo = numpy.random.default_rng(0).uniform(size=(1, 224, 224, 3)).astype("float32")
start = time.perf_counter()
kf.attacks.OSSA(2.0)(model, photo)
"""
    else:
        print(f"no {EFFICIENTNET}: scripts/build_efficientnet_lite0.py makes it", file=sys.stderr)
    before = "import time, keras_fisher as kf, keras_fisher.fisher, keras_fisher.attacks"
    after = "print(time.perf_counter() - start)"
    seconds = {}
    for name, body in code.items():
        command = [sys.executable, "-c", f"{before}\n{body}\n{after}"]
        runs = [
            float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(5)
        ]
        seconds[name] = round(float(np.median(runs)), 2)
    return {"runs": 5, "seconds": seconds}


def memory_of_a_fresh_process() -> dict:
    """The section `memory` in a process that has done nothing else."""
    command = [sys.executable, __file__, "--only", "memory", "--in-process"]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(finished.stdout)["memory"]


def memory() -> dict:
    """Peak memory of 10,000 images (the sample ten times) above that of the imports and the images."""
    images = np.tile(kf.datasets.mnist_sample()[0], (10, 1, 1, 1))
    classifier = kf.Classifier(net("lenet5"))
    rows = []
    for eigenvectors in (False, True):
        before = peak_megabytes()
        start = time.perf_counter()
        spectrum = kf.fisher_spectrum(classifier, images, solver="exact", eigenvectors=eigenvectors)
        rows.append(
            {
                "n": len(spectrum),
                "eigenvectors": eigenvectors,
                "baseline_megabytes": round(before),
                "peak_above_first_baseline_megabytes": round(
                    peak_megabytes() - (rows[0]["baseline_megabytes"] if rows else before)
                ),
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
    return {"target": "peak within 1024 MB of the baseline", "rows": rows}


def peak_megabytes() -> float:
    """Peak resident memory of this process. Linux counts in kilobytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


if __name__ == "__main__":
    main()
