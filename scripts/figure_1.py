"""Draws Figure 1: images that one step along the top eigenvector makes the net err on."""

from __future__ import annotations

import pathlib

import _drawing as drawing
import numpy as np

CLASSES = {
    "mnist": [str(digit) for digit in range(10)],
    "cifar10": ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}


def section(output: pathlib.Path) -> str:
    parts = ["## Figure 1: images that one step of OSSA makes the net err on\n"]
    for data, result in drawing.found(output, "figure1").items():
        numbers, images = result["results"], drawing.arrays(output, f"figure1_{data}")
        clean = images["clean"].astype(np.float32) / 255
        drawn = drawing.figure(height=3.2)
        rows = (clean, images["adversarial"].astype(np.float32))
        titles = (
            [CLASSES[data][label] for label in numbers["labels"]],
            [
                f"{CLASSES[data][answer]} ({norm:.2f})"
                for answer, norm in zip(numbers["answers"], numbers["norms"], strict=True)
            ],
        )
        grid = drawn.subplots(2, len(clean), squeeze=False)
        for axes_row, images_row, titles_row, colour in zip(
            grid, rows, titles, ("black", "#c00000"), strict=True
        ):
            for axes, image, title in zip(axes_row, images_row, titles_row, strict=True):
                axes.imshow(np.clip(image, 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
                axes.set_axis_off()
                axes.set_title(title, fontsize=10, color=colour)
        drawn.suptitle(
            "above: clean, the net's right answer; below: after one step, its wrong answer (l2 norm)"
        )
        norms = ", ".join(f"{norm:.2f}" for norm in numbers["norms"])
        parts += [
            drawing.origin(result, f"of each class the first that is fooled, least norms {norms}"),
            drawing.save(output, f"figure1_{data}", drawn),
        ]
    parts.append(
        "As in the paper, one step along the top eigenvector changes the net's answer. These are the "
        "least steps that do it, within [0, 1]; the paper does not say how long its steps are. Some "
        "digits take a step that can be seen.\n"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    drawing.run(__doc__, section)
