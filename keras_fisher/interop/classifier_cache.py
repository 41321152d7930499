"""Classifiers of other libraries' models, made once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any

from keras_fisher.classifiers import Classifier


class ClassifierCache:
    """The Classifier of each foreign model, so that nothing is tried out and traced again in every call.

    A model that is gone takes its Classifier along. One whose settings changed gets a new Classifier.
    """

    def __init__(self) -> None:
        self._entries: weakref.WeakKeyDictionary[Any, tuple[Hashable, Classifier]] = (
            weakref.WeakKeyDictionary()
        )

    def get(self, owner: Any, settings: Hashable, make: Callable[[], Classifier]) -> Classifier:
        """Returns the Classifier of `owner`, from `make` if there is none with these settings.

        Args:
            owner: the foreign model.
            settings: all that the Classifier depends on; equal as long as it still does.
            make: returns the Classifier. That must hold no reference to `owner`, or neither ever goes.
        """
        known = self._entries.get(owner)
        if known is None or known[0] != settings:
            known = (settings, make())
            self._entries[owner] = known
        return known[1]
