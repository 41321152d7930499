"""Draws from many discrete distributions at once, O(1) a draw."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.typing import Tensor


class AliasTable:
    """Vose's alias tables of a batch of discrete distributions.

    Each of the C columns of a table holds at most two classes: its own, kept with `acceptance`, and its
    `alias`. A draw picks a column and flips one coin, whatever C. Building takes O(C) steps, done for
    the whole batch at once.

    Args:
        probabilities: (batch, classes), ≥ 0; rows are scaled to sum to one.

    Source: Walker 1977; Vose 1991; Marsaglia, Tsang and Wang 2004 (Zhao et al. 2019, Algorithm 1, line 2).

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.fisher.alias_table import AliasTable
        >>> AliasTable(tf.constant([[0.0, 1.0, 0.0]])).draw(4, seed=0).numpy()
        array([[1, 1, 1, 1]], dtype=int32)
    """

    def __init__(self, probabilities: Tensor) -> None:
        probabilities = tf.cast(probabilities, tf.float64)
        self._num_classes = int(probabilities.shape[1])
        weights = probabilities / tf.reduce_sum(probabilities, axis=-1, keepdims=True)
        # (batch, classes): the chance of keeping the column's own class, and the class taken otherwise.
        self.acceptance, self.alias = _build(weights * self._num_classes)

    def draw(self, num_draws: int, seed: int) -> Tensor:
        """Returns (batch, num_draws) int32 classes.

        Every row uses the same random numbers, so that a draw does not depend on the rest of its batch.
        """
        uniform = tf.random.stateless_uniform([2, num_draws], [seed, 0], dtype=tf.float64)
        column = tf.cast(uniform[0] * self._num_classes, tf.int32)
        is_kept = uniform[1] < tf.gather(self.acceptance, column, axis=1)
        return tf.where(is_kept, column, tf.gather(self.alias, column, axis=1))


def _build(heights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (acceptance, alias) of columns whose heights average one.

    The columns are sorted, short ones in front. Each step closes one column of every table: the next short
    one, topped up to height one by the current donor; or the donor itself, once it has given so much that
    it is short, topped up by the next tall one. C − 1 steps close all but one, which is full by then.
    """
    num_classes = int(heights.shape[1])
    order = tf.argsort(heights, axis=-1, stable=True)
    heights = tf.gather(heights, order, batch_dims=1)
    batch_size = tf.shape(heights)[0]
    rows = tf.range(batch_size)

    def unclosed(step, *_):
        return step < num_classes - 1

    def close_one(step, short, donor, remaining, acceptance, alias):
        gives = remaining > 1.0
        height = tf.gather(heights, short, batch_dims=1)
        closed = tf.where(gives, short, donor)
        filler = tf.where(gives, donor, donor - 1)
        kept = tf.clip_by_value(tf.where(gives, height, remaining), 0.0, 1.0)
        where = tf.stack([rows, closed], axis=1)
        acceptance = tf.tensor_scatter_nd_update(acceptance, where, kept)
        alias = tf.tensor_scatter_nd_update(alias, where, filler)
        following = tf.gather(heights, tf.maximum(donor - 1, 0), batch_dims=1)
        remaining = tf.where(gives, remaining, following) - (1.0 - kept)
        return (
            step + 1,
            short + tf.cast(gives, tf.int32),
            filler,
            remaining,
            acceptance,
            alias,
        )

    last = num_classes - 1
    start = (
        0,
        tf.zeros([batch_size], tf.int32),
        tf.fill([batch_size], last),
        heights[:, last],
        tf.ones_like(heights),
        tf.zeros_like(heights, tf.int32),
    )
    *_, acceptance, alias = tf.while_loop(unclosed, close_one, start)
    # Back from sorted positions to classes.
    classes = tf.gather(order, alias, batch_dims=1)
    back = tf.argsort(order, axis=-1)
    return tf.gather(acceptance, back, batch_dims=1), tf.gather(classes, back, batch_dims=1)
