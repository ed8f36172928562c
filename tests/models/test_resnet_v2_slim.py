"""System B's network: the table of its report, row by row."""

from __future__ import annotations

import pytest

from dr_edge.models.resnet_v2_slim import resnet_v2_slim


def test_the_table_of_the_report():
    model = resnet_v2_slim(256, 2)
    shapes = {
        "stem_conv": (128, 128, 16), "stem_pool": (64, 64, 16), "block1_add": (32, 32, 16),
        "block2_add": (16, 16, 32), "block3_add": (8, 8, 64), "cam_features": (8, 8, 64),
    }  # fmt: skip
    assert {name: model.get_layer(name).output.shape[1:] for name in shapes} == shapes
    assert model.get_layer("penultimate").output.shape == (None, 64) and model.output.shape == (None, 2)
    stem = 7 * 7 * 3 * 16 + 4 * 16

    def block(cin: int, c: int) -> int:
        return 4 * cin + (cin * c + c) + 9 * cin * c + 4 * c + 9 * c * c + c

    assert model.count_params() == stem + block(16, 16) + block(16, 32) + block(32, 64) + 64 * 2 + 2


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match="channels not empty"):
        resnet_v2_slim(256, 2, channels=())
