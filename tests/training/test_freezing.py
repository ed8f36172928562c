"""Transfer learning in two stages: what is frozen stays, bit for bit; what is not moves."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.models import backbones
from dr_edge.models.mobilenet_v3_cbam import cbam_classifier
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from dr_edge.training import loop, optimizers
from dr_edge.training.freezing import freeze


def train(records, run_dir, **changes):
    made = []

    def model(image_size, outputs):
        made.append(
            cbam_classifier(image_size, outputs, functools.partial(backbones.mobilenet_v2, alpha=0.35), hidden=8)
        )
        made.append({layer.name: layer.get_weights() for layer in made[0].layers})
        return made[0]

    arguments = {
        "records": str(records), "run_dir": str(run_dir), "task": tasks.referable_dr(), "model": model,
        "learning_rate": optimizers.two_stage(head_learning_rate=0.01, head_epochs=1, learning_rate=0.001),
        "batch_size": 16, "frozen_backbone_epochs": 1, "freeze_batch_norm": True,
    }  # fmt: skip
    loop.train(**{**arguments, **changes})
    return made


def moved(network: keras.Model, before: dict, name: str) -> bool:
    return any((a != b).any() for a, b in zip(network.get_layer(name).get_weights(), before[name], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "backbone_moves"), [(1, False), (2, True)])
def test_the_backbone_moves_in_the_second_stage_only(epochs, backbone_moves, coloured_records, tmp_path):
    network, before = train(coloured_records, tmp_path / "run", epochs=epochs)
    convolutions = [name for name in network.backbone_layers if name.startswith(("Conv", "block")) and "BN" not in name]
    assert any(moved(network, before, name) for name in convolutions) == backbone_moves
    assert moved(network, before, "penultimate") and moved(network, before, "spatial_attention_conv")
    assert not any(
        moved(network, before, n.name) for n in network.layers if isinstance(n, keras.layers.BatchNormalization)
    )


@pytest.mark.slow
def test_without_freezing_batch_norm_it_moves(coloured_records, tmp_path):
    network, before = train(coloured_records, tmp_path / "run", epochs=2, freeze_batch_norm=False)
    assert moved(network, before, "block_5_expand_BN")


def test_a_network_without_a_backbone_is_refused():
    with pytest.raises(ValueError, match="no pretrained backbone to freeze"):
        freeze(resnet_v2_slim(32, 2, channels=(4,)), backbone=True, batch_norm=False)


def test_the_schedules_follow_their_formulas():
    two = optimizers.two_stage(head_learning_rate=0.1, head_epochs=2, learning_rate=0.01)(10, 6)
    rates = [float(two(step)) for step in range(60)]
    assert rates[:20] == pytest.approx([0.1] * 20)
    assert rates[20:] == pytest.approx([0.005 * (1 + np.cos(np.pi * i / 40)) for i in range(40)], rel=1e-4)
    assert type(two).from_config(two.get_config()).get_config() == two.get_config()
    stepped = optimizers.step_decay(learning_rate=1.0, every_epochs=2, factor=0.5)(5, 6)
    assert [float(stepped(step)) for step in (0, 9, 10, 20, 29)] == pytest.approx([1, 1, 0.5, 0.25, 0.25])
    cosine = optimizers.cosine(learning_rate=1.0, warmup_epochs=1.0)(10, 3)
    assert [float(cosine(step)) for step in (0, 5, 10, 20, 30)] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)
