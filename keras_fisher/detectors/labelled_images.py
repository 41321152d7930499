"""What a detector is fitted to and measured on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_fisher.checks import KnowsKeywords, check_integer, check_real, message, suggests_keywords
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LabelledImages(KnowsKeywords):
    """Images, which of them are adversarial, and which image each was made from.

    Three versions of one image (clean, noisy, adversarial) are near copies of each other. A split that puts
    them on both sides measures memory; `split` goes by source and never does.

    Args:
        images: (n, h, w, c).
        is_adversarial: (n,) bool.
        sources: (n,) integers, the same for all that were made from one image; None where that is not known.

    Raises:
        TypeError, ValueError: arrays of other dtypes, or of lengths that differ.

    Example:
        >>> import numpy as np
        >>> from keras_fisher.detectors import LabelledImages
        >>> clean = np.zeros((4, 8, 8, 1)) + np.arange(4).reshape(4, 1, 1, 1)
        >>> labelled = LabelledImages.from_attack(clean, adversarial=clean + 0.5, noisy=clean + 0.1)
        >>> train, test = labelled.split(test_fraction=0.5)
        >>> len(train), train.num_sources, test.num_sources
        (6, 2, 2)
        >>> set(train.sources) & set(test.sources)
        set()
    """

    images: Array
    is_adversarial: Array
    sources: Array | None

    def __post_init__(self) -> None:
        count = len(self.images)
        _check_column("is_adversarial", self.is_adversarial, "b", "bool", count)
        if self.sources is not None:
            _check_column("sources", self.sources, "iu", "integers", count)

    def __repr__(self) -> str:
        sources = None if self.sources is None else self.num_sources
        return (
            f"LabelledImages(n={len(self.images)}, num_adversarial={int(self.is_adversarial.sum())}, "
            f"num_sources={sources}, image_shape={self.images.shape[1:]})"
        )

    @classmethod
    def from_attack(cls, clean: Array, adversarial: Array, noisy: Array) -> LabelledImages:
        """Returns the clean and the noisy images as negatives and the adversarial ones as positives.

        Args:
            clean: (n, h, w, c).
            adversarial: (m, h, w, c), in the order of `clean` if m = n.
            noisy: (k, h, w, c), in the order of `clean` if k = n; none with k = 0. Another m or k leaves the
                sources unknown; else they are 0, …, n − 1, the positions in `clean`.

        Raises:
            ValueError: images of different shapes, or an adversarial image that is one of the clean ones.
        """
        clean, adversarial, noisy = np.asarray(clean), np.asarray(adversarial), np.asarray(noisy)
        for argument, images in (("adversarial", adversarial), ("noisy", noisy)):
            if images.shape[1:] != clean.shape[1:]:
                rule = f"hold images of shape {clean.shape[1:]}, as `clean` does"
                raise ValueError(message(argument, rule, images.shape[1:]))
        _check_moved(clean, adversarial)
        versions = (clean, noisy, adversarial)
        is_paired = len(adversarial) == len(clean) and len(noisy) in (0, len(clean))
        return cls(
            np.concatenate(versions),
            np.repeat([False, False, True], [len(images) for images in versions]),
            np.concatenate([np.arange(len(images)) for images in versions]) if is_paired else None,
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_sources(self) -> int:
        """The number of different sources.

        Raises:
            ValueError: they are not known.
        """
        return len(np.unique(self._known_sources()))

    def select(self, mask: Array) -> LabelledImages:
        """Returns the images where `mask`, (n,) bool, is True."""
        sources = None if self.sources is None else self.sources[mask]
        return LabelledImages(self.images[mask], self.is_adversarial[mask], sources)

    @suggests_keywords
    def split(self, test_fraction: float = 0.5, seed: int = 0) -> tuple[LabelledImages, LabelledImages]:
        """Returns (train, test), which share no source.

        Args:
            test_fraction: of the sources, in [0, 1]; at least one source goes to each side.
            seed: of the draw of the test sources.

        Raises:
            ValueError: sources that are not known, or fewer than two.
        """
        check_real("test_fraction", test_fraction, 0.0, 1.0)
        check_integer("seed", seed, 0)
        given = self._known_sources()
        sources = np.unique(given)
        if len(sources) < 2:
            raise ValueError(message("sources", "name at least two images, to be split", f"{len(sources)}"))
        num_test = min(max(round(test_fraction * len(sources)), 1), len(sources) - 1)
        test_sources = np.random.default_rng(seed).permutation(sources)[:num_test]
        is_test = np.isin(given, test_sources)
        return self.select(~is_test), self.select(is_test)

    def _known_sources(self) -> Array:
        if self.sources is None:
            remedy = "Pass one adversarial and one noisy image for each clean one, in the same order."
            raise ValueError(message("sources", "be known, to split by them", None, remedy))
        return self.sources


def _check_column(name: str, column: Any, kinds: str, what: str, count: int) -> None:
    dtype = getattr(column, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in kinds:
        found = type(column).__name__ if dtype is None else f"dtype {dtype}"
        raise TypeError(message(name, f"be an array of {what}", found))
    if column.shape != (count,):
        raise ValueError(message(name, f"have the shape ({count},), one for each image", column.shape))


def _check_moved(clean: Array, adversarial: Array) -> None:
    """Raises where an attack left an image as it was: one image with both labels poisons the training set."""
    dtype = np.result_type(clean, adversarial)
    # Zero added, −0 and 0 are the same bytes.
    untouched = {(image + 0).tobytes() for image in clean.astype(dtype)}
    where = [i for i, image in enumerate(adversarial.astype(dtype)) if (image + 0).tobytes() in untouched]
    if where:
        raise ValueError(
            message(
                "adversarial",
                "differ from the clean images",
                f"{len(where)} of {len(adversarial)} equal to one, first at index {where[0]}",
                "The attack failed there, or the clean image was misclassified as it stands. Pass the rest: "
                "keep = result.success & (result.norms > 0), then clean[keep] and result.images[keep].",
            )
        )
