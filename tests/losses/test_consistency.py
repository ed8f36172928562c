"""The divergence of two answers against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, rel_entr, softmax

from dr_edge.losses.consistency import consistency


def test_two_classes_by_hand():
    """Logits (0, 0) and (0, ln 3): p = (1/2, 1/2), q = (1/4, 3/4); both directions are ln 3 / 4 together."""
    value = consistency("classification", 2.0)(tf.constant([[0.0, 0.0]]), tf.constant([[0.0, math.log(3.0)]]))
    np.testing.assert_allclose(value, [2.0 * math.log(3.0) / 8], rtol=1e-6)


def test_classes_equal_both_directions_of_scipys():
    first, second = np.random.default_rng(0).normal(0, 3, (2, 6, 5))
    p, q = softmax(first, -1), softmax(second, -1)
    expected = (rel_entr(p, q).sum(-1) + rel_entr(q, p).sum(-1)) / 2
    value = consistency("classification", 1.0)(tf.constant(first), tf.constant(second))
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_diseases_equal_both_directions_of_scipys():
    first, second = np.random.default_rng(1).normal(0, 3, (2, 6, 4))
    p, q = expit(first), expit(second)
    there = rel_entr(p, q) + rel_entr(1 - p, 1 - q)
    back = rel_entr(q, p) + rel_entr(1 - q, 1 - p)
    value = consistency("multilabel", 0.5)(tf.constant(first), tf.constant(second))
    np.testing.assert_allclose(value, 0.5 * (there + back).mean(-1) / 2, rtol=1e-4)


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_it_stays_finite_and_is_0_of_equal_answers(kind):
    logits = tf.Variable([[1e4, -1e4], [0.0, 3.0]])
    other = tf.constant([[-1e4, 1e4], [0.0, 3.0]])
    with tf.GradientTape() as tape:
        value = consistency(kind, 1.0)(logits, other)
    assert np.isfinite(tape.gradient(value, logits)).all() and np.isfinite(value).all()
    assert value[0] > 1e3 and value[1] == 0


def test_masks_are_refused():
    with pytest.raises(ValueError, match="a task of kind 'segmentation' gives no answer of that sort"):
        consistency("segmentation", 1.0)
