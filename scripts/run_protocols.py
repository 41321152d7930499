"""What the paper leaves open, varied one at a time: how much each choice moves the AUC of the eigenvalues.

From OSSA at the least norm within [0, 1], successes only, against clean images and noise as long, fitted to
half of the source images and tested on the others: clipped or not; the least or a fixed norm, and which; the
successful images only or all; how much noise the noisy negatives have; only images that the net is sure of;
and another net of the same data set. What the same choices do to Table 2 is in its own table.

Source: Zhao et al. 2019, section 4, which names none of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import _detection as detection
import _estimates as estimates
import _nets as nets
import _parts as parts
import _reproduction as common
import numpy as np
from _kept_detectors import kept

import keras_fisher as kf

STRENGTHS = {"mnist": (0.5, 1.0, 2.0, 3.0), "cifar10": (0.1, 0.25, 0.5, 1.0, 2.0)}
ATTACKS = {"FGM": kf.attacks.FGM, "OSSA": kf.attacks.OSSA}
#: Nets beside that of the data set.
OTHER_NETS = {
    "mnist": ("LeNet, wide", "LeNet, ELU"),
    "cifar10": ("VGG of width 32, CIFAR-10", "VGG of width 32 without normalisation, CIFAR-10"),
}
#: The top probability of a clean image from which on the net is called sure of it.
SURE = 0.99


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One way to make and to count images."""

    attack: str = "OSSA"
    #: None is the least norm.
    epsilon: float | None = None
    clip: bool = True
    only_successful: bool = True
    #: of the norm of the perturbation; 0 is no noisy negatives.
    noise: float = 1.0
    #: Sources whose clean image has at least this top probability.
    least_top_probability: float = 0.0
    #: None is that of the data set.
    net: str | None = None


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 2000, "cifar10": 300}, {"mnist": 120, "cifar10": 25})
    parser.prog = "run_protocols.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    rows = [dataclasses.asdict(one) | measure(arguments, one) for one in protocols(arguments.data)]
    used = [nets.NET_OF[arguments.data], *OTHER_NETS[arguments.data]]
    common.write(
        arguments, f"protocols_{arguments.data}", started, {"rows": rows}, used, search=parts.LEAST_NORM
    )


def protocols(data: str) -> list[Protocol]:
    """Returns the base and its variations."""
    fixed = common.EPSILON[data]
    return [
        Protocol(),
        Protocol(attack="FGM"),
        Protocol(clip=False),
        *(Protocol(noise=noise) for noise in (0.0, 0.5, 2.0)),
        Protocol(least_top_probability=SURE),
        *(Protocol(net=net) for net in OTHER_NETS[data]),
        *(Protocol(epsilon=epsilon, only_successful=False) for epsilon in STRENGTHS[data]),
        Protocol(epsilon=fixed, only_successful=True),
        Protocol(epsilon=fixed, only_successful=False, clip=False),
        *(Protocol(epsilon=fixed, only_successful=False, noise=noise) for noise in (0.0, 0.5, 2.0)),
        Protocol(epsilon=fixed, only_successful=False, least_top_probability=SURE),
        *(Protocol(epsilon=fixed, only_successful=False, net=net) for net in OTHER_NETS[data]),
    ]


def measure(arguments: Any, protocol: Protocol) -> dict[str, Any]:
    """Returns the AUC on the second half of the sources, fitted to the first."""
    classifier = nets.load_classifier(protocol.net or nets.NET_OF[arguments.data], bounded=protocol.clip)
    images, labels = common.right_images(arguments, [classifier])
    attack: Any = ATTACKS[protocol.attack](protocol.epsilon or 1.0)
    if protocol.epsilon is None:
        attack = parts.LeastNorm(attack)
    # Without clipping the classifier has no bounds.
    found = parts.attacked(attack, classifier, images, labels)
    adversarial, success = found.images, found.success
    norms = np.linalg.norm((adversarial - images).reshape(len(images), -1).astype(np.float64), axis=1)
    is_asked = np.ones(len(images), bool)
    if protocol.least_top_probability:
        is_asked = np.exp(classifier.log_probabilities(images).max(axis=1)) >= protocol.least_top_probability
    is_counted = is_asked & (norms > 0) & (success if protocol.only_successful else True)
    noisy = kf.detectors.matched_noise(classifier, images, protocol.noise * norms, seed=arguments.seed)

    detector = kept(kf.FisherDetector(classifier, seed=arguments.seed))
    kinds = [adversarial, images, *([noisy] if protocol.noise else [])]
    rows = np.flatnonzero(is_counted)
    scores = detection.score_second_half(detector, [detector.features_of(kind) for kind in kinds], rows=rows)
    return {
        "auc": scores.auc(arguments.seed),
        "norm": estimates.mean(norms[rows]),
        "fooled": estimates.share(success[is_asked]),
    }


if __name__ == "__main__":
    main()
