"""Heads of a network, as the deployable graph reads them."""

from __future__ import annotations

import numpy as np

from export.graph import heads


def test_only_a_kernel_of_apart_heads_has_a_block_mask():
    blocks = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    np.testing.assert_array_equal(heads.block_mask(blocks * 0.5), blocks)
    assert heads.block_mask(np.ones((12, 3), np.float32)) is None  # one head for all
    assert heads.block_mask(np.ones((12, 1), np.float32)) is None and heads.block_mask(np.zeros((1, 1, 12, 3))) is None
    assert heads.block_mask(np.zeros((10, 3), np.float32)) is None
