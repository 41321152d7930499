"""Table 2 on ImageNet: the mean least l2 norm with which FGM and OSSA fool the net, and how often they do.

Of the photos that the net answers right, one after the other; a photo without a label is taken at the net's
word. A run that was stopped goes on where it was. Prints the table beside the paper's; results go to
`--output`: rows.jsonl, a line a photo, and summary.json.

    python scripts/imagenet_table2.py                                      # ResNet-152, 20 photos of Foolbox
    python scripts/imagenet_table2.py --images imagenet_v2 --limit 1000
    python scripts/imagenet_table2.py --model lite0.keras --clip --output runs/table2_clipped
    python scripts/imagenet_table2.py --model lite0.keras --most 60 --best-of 20 --output runs/table2_further

Source: Zhao et al. 2019, Table 2 ("binary search in [0.0, 6.0]"). `kf.attacks.least_perturbation` scans the
bracket before it bisects, because fooling is not monotone.
"""

from __future__ import annotations

from typing import Any

import _imagenet
import numpy as np
import scipy.stats
from rich.console import Console
from rich.table import Table

import keras_fisher as kf

PAPER = {"FGM": (0.48, 100), "OSSA": (0.47, 100)}  # mean least norm, % fooled


def main() -> None:
    parser = _imagenet.argument_parser(__doc__, "imagenet_table2")
    _imagenet.add_clip(parser)
    parser.add_argument(
        "--most",
        type=_imagenet.number(float, 0.125, 1000.0),
        default=6.0,
        help="upper end of the search (default: %(default)s, the paper's)",
    )
    parser.add_argument(
        "--best-of",
        type=_imagenet.number(int, 2),
        help="a third row: OSSA with the best of so many eigenvectors, the paper's further subspaces",
    )
    arguments = parser.parse_args()
    search = _imagenet.least_norm_settings(arguments.most)
    attacks = {
        "FGM": kf.attacks.FGM(clip=arguments.clip),
        "OSSA": kf.attacks.OSSA(clip=arguments.clip, seed=arguments.seed),
    }
    if arguments.best_of:
        attacks[f"OSSA, best of {arguments.best_of}"] = kf.attacks.OSSA(
            clip=arguments.clip, seed=arguments.seed, num_eigenvectors=arguments.best_of
        )

    def measure_photo(classifier: kf.Classifier, photo: kf.datasets.Photo) -> dict[str, Any]:
        return least_norms(attacks, classifier, photo, search)

    settings = {"clip": arguments.clip, "attacks": list(attacks), **search}
    config, rows = _imagenet.measure(arguments, settings, measure_photo)
    summary = summarise(rows, list(attacks))
    _imagenet.write_json(arguments.output / "summary.json", {"config": config, **summary})
    print_table(config, summary)


def least_norms(
    attacks: dict[str, kf.attacks.FixedEpsilonAttack],
    classifier: kf.Classifier,
    photo: kf.datasets.Photo,
    search: dict[str, Any],
) -> dict[str, Any]:
    """Returns the net's answer and, if it is right, what each attack finds in the search."""
    label, answer = _imagenet.label_and_answer(classifier, photo)
    row: dict[str, Any] = {"answer": answer, "is_right": answer == label}
    if row["is_right"]:
        for name, attack in attacks.items():
            found = kf.attacks.least_perturbation(attack, classifier, photo.image[None], [label], **search)
            row[name] = {
                "success": bool(found.success[0]),
                "norm": float(found.norms[0]),
                "epsilon": float(found.epsilons[0]),
                "prediction": int(found.predictions[0]),
            }
    return row


def summarise(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Returns the counts, each attack's mean norm and rate, and OSSA less FGM where both fool."""
    right = [row for row in rows if row["is_right"]]
    summary: dict[str, Any] = {"num_photos": len(rows), "num_right": len(right)}
    for name in names:
        norms = [row[name]["norm"] for row in right if row[name]["success"]]
        rate = 100 * len(norms) / len(right) if right else None
        summary[name] = {"num_fooled": len(norms), "rate_percent": rate, "norm": mean_and_interval(norms)}
    both = [row for row in right if all(row[name]["success"] for name in PAPER)]
    differences = [row["OSSA"]["norm"] - row["FGM"]["norm"] for row in both]
    return summary | {"OSSA_less_FGM": {"n": len(both)} | mean_and_interval(differences)}


def mean_and_interval(values: list[float]) -> dict[str, float | None]:
    """Returns the mean and the half width of its 95 % interval by Student's t; None where there is none."""
    half = None
    if len(values) > 1:
        half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))
    return {"mean": float(np.mean(values)) if values else None, "plus_minus": half}


def print_table(config: dict[str, Any], summary: dict[str, Any]) -> None:
    console = Console(width=110, highlight=False)
    console.print(
        f"{config['model']} (weights: {config['weights']}), {'clipped' if config['clip'] else 'unclipped'}: "
        f"{summary['num_right']} of {summary['num_photos']} photos ({config['images']}) answered right",
        soft_wrap=True,
    )
    table = Table()
    for heading in ("", "least norm, mean ± 95 %", "fooled %", "paper: norm", "paper: fooled %"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in config["attacks"]:
        ours = summary[name]
        percent = "-" if ours["rate_percent"] is None else f"{ours['rate_percent']:.1f}"
        paper = [f"{PAPER[name][0]:.2f}", f"{PAPER[name][1]}"] if name in PAPER else ["", ""]
        table.add_row(name, in_words(ours["norm"]), percent, *paper)
    console.print(table)
    difference = summary["OSSA_less_FGM"]
    console.print(f"OSSA - FGM on the {difference['n']} photos that both fool: {in_words(difference)}")


def in_words(estimate: dict[str, float | None]) -> str:
    mean, half = estimate["mean"], estimate["plus_minus"]
    if mean is None:
        return "-"
    return f"{mean:.4f}" + ("" if half is None else f" ± {half:.4f}")


if __name__ == "__main__":
    main()
