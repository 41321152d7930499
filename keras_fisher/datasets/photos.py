"""Photos as a net trained on ImageNet wants them."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_fisher.checks import check_integer, check_real, message, suggests_keywords

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_LABEL = re.compile(r"_(\d+)$")


class Photo(NamedTuple):
    """One image of a folder."""

    name: str  # the path below the folder
    image: np.ndarray  # (height, width, 3) float32, in [0, 1]
    label: int | None  # the class index, if the folder tells it

    def __repr__(self) -> str:
        return f"Photo(name={self.name!r}, image=<array {self.image.shape}>, label={self.label})"


@suggests_keywords
def photos(folder: str | os.PathLike, *, size: int = 224, crop: float = 0.875) -> Iterator[Photo]:
    """Yields the images of a folder in the order of their paths, read one by one.

    If every image lies in a subfolder, its label is the position of that among the subfolders in alphabetical
    order, as in ImageNet's own. Otherwise it is the number after the last underscore of its name
    (`imagenet_03_990.jpg`: 990), or None. Hidden files and folders are left out.

    Args:
        folder: of `.jpg`, `.png`, `.bmp` or `.webp` files, with or without subfolders.
        size: height and width of what is returned, in pixels.
        crop: the side of the central square that is kept, over the shorter side of the image.

    Raises:
        TypeError, ValueError: a bad argument, a folder without images; while reading, a file that is no
            image of 8 bits.
        FileNotFoundError: there is no such folder.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(message("folder", "be a path", repr(folder)))
    root = pathlib.Path(folder)
    size = check_integer("size", size, 1)
    crop = check_real("crop", crop, 0.0, 1.0, exclusive_minimum=True)
    if not root.is_dir():
        raise FileNotFoundError(message("folder", "be a folder", repr(str(folder)), "There is none."))
    paths = sorted(path for path in root.rglob("*") if _is_image(path.relative_to(root)) and path.is_file())
    if not paths:
        raise ValueError(message("folder", f"hold {', '.join(_SUFFIXES)} files", repr(str(folder))))
    classes = _classes(root, paths)
    return (_read(root, path, classes, size, crop) for path in paths)


def _is_image(path: pathlib.Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in _SUFFIXES and not is_hidden


def _classes(root: pathlib.Path, paths: list[pathlib.Path]) -> dict[str, int]:
    """Returns the subfolders and their positions; nothing if images lie in the folder itself."""
    if any(path.parent == root for path in paths):
        return {}
    # Those without images too: in part of a data set the positions are those in the whole.
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {name: index for index, name in enumerate(names)}


def _read(root: pathlib.Path, path: pathlib.Path, classes: dict[str, int], size: int, crop: float) -> Photo:
    try:
        with Image.open(path) as file:
            image = central_square(file, size, crop)
    # Pillow raises OSError, SyntaxError, ValueError, EOFError or DecompressionBombError for a broken file.
    except Exception as error:
        raise ValueError(message("folder", "hold images only", repr(str(path)), str(error))) from error
    name = path.relative_to(root)
    return Photo(name.as_posix(), image, _label(name, classes))


def _label(name: pathlib.Path, classes: dict[str, int]) -> int | None:
    if classes:
        return classes[name.parts[0]]
    match = _LABEL.search(name.stem)
    return int(match.group(1)) if match else None


@suggests_keywords
def central_square(image: Image.Image, size: int, crop: float) -> np.ndarray:
    """Returns (size, size, 3) float32 in [0, 1]: the middle of a Pillow image, as ImageNet nets see it.

    Args:
        image: of any mode with 8 bits a channel; transparency is left out.
        size: height and width of what is returned, in pixels.
        crop: the side of the central square that is kept, over the shorter side of the image.

    Raises:
        TypeError, ValueError: a bad argument, an image of more than 8 bits.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(message("image", "be a Pillow image", repr(image)))
    size = check_integer("size", size, 1)
    crop = check_real("crop", crop, 0.0, 1.0, exclusive_minimum=True)
    if image.mode.startswith(("I", "F")):  # Pillow would clip them to 255.
        raise ValueError(message("image", "have 8 bits a channel", f"mode {image.mode!r}"))
    image = image.convert("RGB")
    side = crop * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box), np.float32) / 255
