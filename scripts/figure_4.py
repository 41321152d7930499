"""Draws Figure 4: the distribution of λ₁, and eigenvalues along the perturbation."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing
import numpy as np

SHOWN = ("clean", "noisy", "FGM, least norm", "FGM, fixed norm")
NUM_EXAMPLES = 8


def section(output: pathlib.Path) -> str:
    parts = ["## Figure 4: (a) the distribution of λ₁, (b) λ₁ along OSSA\n"]
    for data, result in drawing.found(output, "figure4").items():
        points, numbers = drawing.arrays(output, f"figure4_{data}"), result["results"]
        drawn = drawing.figure()
        left, right = drawn.subplots(1, 2)
        low, high = np.percentile(np.concatenate([points[name] for name in SHOWN]), [0.5, 100])
        for name, colour in zip(SHOWN, drawing.COLOURS, strict=False):
            left.hist(points[name], bins=np.linspace(low, high, 60), density=True, histtype="step",
                      color=colour, label=name, linewidth=1.5)  # fmt: skip
        left.set(xlabel="log10 λ₁", ylabel="density", title="(a) distribution")
        left.legend()
        along = numbers["along"]
        epsilons, quartiles = np.array(along["epsilons"]), np.array(along["quartiles"])
        for index in range(min(NUM_EXAMPLES, len(points["along"]))):
            right.plot(epsilons, points["along"][index, :, 0], color="0.75", linewidth=0.8)
        right.plot(epsilons, quartiles[:, 1], color=drawing.COLOURS[0], label="median")
        right.fill_between(epsilons, quartiles[:, 0], quartiles[:, 2], alpha=0.2, color=drawing.COLOURS[0])
        right.set(
            xlabel="l2 norm of the step", ylabel="log10 λ₁", title="(b) along OSSA, quartiles and examples"
        )
        right.grid(alpha=0.3)
        rows = []
        for name, one in numbers["eigenvalue"].items():
            quartile = ", ".join(drawing.MISSING if x is None else f"{x:.2f}" for x in one["quartiles"])
            score = drawing.number(one["auc"]) if "auc" in one else ""
            rows.append([name, f"{one['n']:,}", quartile, score])
        epsilon = result["config"]["epsilon"]
        parts += [
            drawing.origin(result, f"fixed norm {epsilon:g}; (b) n = {along['n']}"),
            drawing.save(output, f"figure4_{data}", drawn),
            drawing.table(
                ["log10 λ₁ of images", "n", "quartiles", "AUC % of λ₁ itself, against clean"], rows
            ),
            drawing.verdict(result, distribution, data, numbers["eigenvalue"]),
            drawing.verdict(result, along_sentence, along),
        ]
    return "\n".join(parts)


def along_sentence(along: dict[str, Any]) -> str:
    """Returns how λ₁ goes along the step."""
    epsilons, medians = np.array(along["epsilons"]), np.array(along["quartiles"])[:, 1]
    return (
        f"Along OSSA λ₁ rises at first on {drawing.number(along['rises_at_first'])} % of the images, as in "
        f"the paper; {rise(epsilons, medians)}, and at {epsilons[-1]:g} λ₁ is above its start on "
        f"{drawing.number(along['rises_to_the_end'])} %.\n"
    )


def rise(epsilons: np.ndarray, medians: np.ndarray) -> str:
    """Returns where the median of log λ₁ stops rising."""
    most = epsilons[medians.argmax()]
    nearly = epsilons[np.argmax(medians - medians[0] >= 0.9 * (medians.max() - medians[0]))]
    return f"its median has made nine tenths of its rise by a norm of {nearly:g} and is highest at {most:g}"


def distribution(data: str, sets: dict[str, Any]) -> str:
    """Returns how the sets lie to each other, and to the paper's words, which are of MNIST."""
    clean, least, fixed, fooled = (
        sets[name] for name in ("clean", "FGM, least norm", "FGM, fixed norm", "FGM, fixed norm, successful")
    )
    rise = least["quartiles"][1] - clean["quartiles"][1]
    widths = [one["quartiles"][2] - one["quartiles"][0] for one in (clean, least)]
    gap = drawing.value(fooled["auc"]) - drawing.value(fixed["auc"])
    resisting = f"without the images that resist it is {drawing.number(fooled['auc'])} %"
    cause = (
        f"{resisting}, so that they are a part of it" if gap > 0 else f"{resisting}: they are not the cause"
    )
    paper = (
        'The paper calls the clean ones "approximately" Gaussian with the smaller mean, and speaks of an '
        "overlap. "
        if data == "mnist"
        else ""
    )
    return (
        f"{paper}On {drawing.TITLES[data]} log λ₁ of clean images has a skewness of "
        f"{clean['skewness']:.2f}, where a Gaussian has 0. Images at the least norm are {rise:.1f} "
        "orders of magnitude above in the median and lie "
        f"{'denser' if widths[1] < widths[0] else 'less densely'} (between quartiles {widths[1]:.1f} "
        f"orders, clean ones {widths[0]:.1f}). At one norm for all the sets overlap more: "
        f"{drawing.number(fixed['auc'])} % against {drawing.number(least['auc'])} %; {cause}.\n"
    )


if __name__ == "__main__":
    drawing.run(__doc__, section)
