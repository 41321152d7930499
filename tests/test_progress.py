"""Progress bars: what moves them, and silence."""

from __future__ import annotations

import pytest

import keras_fisher as kf
from keras_fisher import progress


@pytest.fixture
def moves(monkeypatch) -> list[float]:
    """Where bars are moved to, in items."""
    found: list[float] = []
    update = progress.Progress.update

    def spy(self, task, *, completed):
        found.append(completed)
        update(self, task, completed=completed)

    monkeypatch.setattr(progress.Progress, "update", spy)
    return found


def test_bar_moves_with_each_item_and_within_it(moves):
    for _ in progress.track(["a", "b"], "work", 2, True, listen=True):
        progress.note(0.25)
        progress.note(2.0)  # no more than the item
    assert moves == [0.25, 1, 1, 1.25, 2, 2]


def test_bar_that_does_not_listen_moves_with_items_only(moves):
    outer = progress.track(["a"], "outer", 1, True, listen=True)
    for _ in outer:
        for _ in progress.track(["b"], "inner", 1, True):
            progress.note(0.5)
    assert moves == [1, 1]
    progress.note(0.5)  # nobody is there
    assert len(moves) == 2


def test_silence_is_the_default(moves, classifier, images, capsys):
    kf.attacks.BIM(steps=3)(classifier, images[:2])
    assert moves == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "attack",
    [
        kf.attacks.BIM(epsilon=0.1, steps=20),
        kf.attacks.DeepFool(steps=20, relaxation=0.01),
        kf.attacks.CarliniWagner(steps=2, binary_search_steps=4),
    ],
)
def test_long_attacks_move_their_bar_on_the_way(attack, moves, classifier, images):
    attack(classifier, images[:2], progress=True)
    assert len(moves) >= 4
    assert moves == sorted(moves)
    assert moves[-1] == 1
