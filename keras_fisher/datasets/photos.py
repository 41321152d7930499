"""Photos as a net trained on ImageNet wants them."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_fisher.checks import check_integer, check_real, message

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_LABEL = re.compile(r"_(\d+)$")


class Photo(NamedTuple):
    """One image of a folder."""

    name: str  # the path below the folder
    image: np.ndarray  # (height, width, 3) float32, in [0, 1]
    label: int | None  # the class index, if the folder tells it


def photos(folder: str | os.PathLike, *, size: int = 224, crop: float = 0.875) -> Iterator[Photo]:
    """Yields the images of a folder in the order of their paths, read one by one.

    The label of an image is the number after the last underscore of its name (`imagenet_03_990.jpg`: 990);
    or, if every image lies in a subfolder, the position of that among the subfolders in alphabetical order,
    as in ImageNet's own; or None.

    Args:
        folder: of `.jpg`, `.png`, `.bmp` or `.webp` files, with or without subfolders.
        size: height and width of what is returned, in pixels.
        crop: the side of the central square that is kept, over the shorter side of the image.

    Raises:
        TypeError, ValueError: a bad argument, a folder without images, a file that is no image.
        FileNotFoundError: there is no such folder.
    """
    root = pathlib.Path(folder)
    check_integer("size", size, 1)
    check_real("crop", crop, 0.0, 1.0, exclusive_minimum=True)
    if not root.is_dir():
        raise FileNotFoundError(message("folder", "be a folder", repr(str(folder)), "There is none."))
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ValueError(message("folder", f"hold {', '.join(_SUFFIXES)} files", repr(str(folder))))
    classes = _classes(root, paths)
    return (_read(root, path, classes, size, crop) for path in paths)


def _classes(root: pathlib.Path, paths: list[pathlib.Path]) -> dict[str, int]:
    """Returns the subfolders and their positions; nothing if images lie in the folder itself."""
    names = {path.relative_to(root).parts[0] for path in paths if path.parent != root}
    if any(path.parent == root for path in paths):
        return {}
    return {name: index for index, name in enumerate(sorted(names))}


def _read(root: pathlib.Path, path: pathlib.Path, classes: dict[str, int], size: int, crop: float) -> Photo:
    try:
        with Image.open(path) as file:
            image = central_square(file, size, crop)
    except (OSError, SyntaxError) as error:
        raise ValueError(message("folder", "hold images only", repr(str(path)), str(error))) from error
    name = path.relative_to(root)
    match = _LABEL.search(path.stem)
    label = int(match.group(1)) if match else classes.get(name.parts[0])
    return Photo(name.as_posix(), image, label)


def central_square(image: Any, size: int, crop: float) -> np.ndarray:
    """Returns (size, size, 3) float32 in [0, 1]: the middle of a Pillow image, as ImageNet nets see it."""
    image = image.convert("RGB")
    side = crop * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box), np.float32) / 255
