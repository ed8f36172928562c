"""System E's network: heads that share a trunk and nothing else, before and after training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.models import multitask


def blocks_of(model: keras.Model, hidden: int, outputs: int) -> np.ndarray:
    """Returns the kernel of `logits` as [disease of the hidden unit, hidden unit, disease of the output]."""
    return model.get_layer("logits").get_weights()[0].reshape(outputs, hidden, outputs)


def test_each_disease_reads_its_own_hidden_units_only():
    keras.utils.set_random_seed(0)
    model = multitask.multitask(64, 3, trunk="alexnet", hidden=4)
    kernel = blocks_of(model, 4, 3)
    for block in range(3):
        for output in range(3):
            assert (kernel[block, :, output] != 0).all() == (block == output)
            assert not kernel[block, :, output].any() or block == output
    assert model.get_layer("penultimate").output.shape == (None, 12)
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    features = model.get_layer("penultimate").get_weights()
    before = model(x).numpy()
    model.get_layer("penultimate").set_weights([features[0], features[1] + np.repeat([0.0, 5.0, 0.0], 4)])
    changed = ~np.isclose(model(x).numpy(), before).all(axis=0)
    assert changed.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("trunk", "channels", "parameters"),
    [
        ("densenet121", 1024, 7_037_504),
        ("resnet50", 2048, 23_587_712),
        ("mobilenet_v3_cbam", 960, 2_996_352 + 462_099),
        ("mobilenet_v2_cbam", 1280, 2_257_984 + 1280 * 320 + 320 + 320 * 1280 + 1280 + 99),
    ],
)
def test_trunks(trunk, channels, parameters):
    """The counts are keras.applications', and for CBAM those of SYSTEMS A: 230,640 + 231,360 + 99."""
    model = multitask.multitask(64, 2, trunk=trunk, hidden=8)
    assert model.count_params() == parameters + channels * 16 + 16 + 16 * 2 + 2
    assert model.get_layer("cam_features").output.shape[-1] == channels
    assert not [layer.name for layer in model.layers if isinstance(layer, keras.Model)], "the graph must be flat"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"trunk": "vgg"}, "trunk of"),
        ({"trunk": "alexnet", "weights": "imagenet"}, "No ImageNet weights of alexnet"),
        ({"trunk": "resnet50", "image_size": 32}, "image_size >= 64"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        multitask.multitask(**{"image_size": 64, "outputs": 2, **arguments})


def test_training_by_the_loop_keeps_the_heads_apart(stand_in_records, tmp_path):
    """Exp-UWBCE, missing labels, mean F1 chooses the best; the saved model is plain Keras and block-diagonal."""
    import gin

    from dr_edge.losses.multilabel import exp_uwbce
    from dr_edge.training import loop, optimizers

    def small(image_size, outputs):
        return multitask.multitask(image_size, outputs, trunk="alexnet", hidden=4)

    with gin.unlock_config():
        gin.clear_config()
    # Some images lack the label; twice the same one will do to see whether the heads stay apart.
    twice = tasks.Task("twice", "multilabel", ("glaucoma", "again"), labels=("glaucoma", "glaucoma"))
    run = loop.train(
        records=str(stand_in_records), run_dir=str(tmp_path / "run"), task=twice, model=small, epochs=2, batch_size=12,
        learning_rate=optimizers.constant(1e-4), loss=exp_uwbce(), select_by="mean_f1",
        optimizer=lambda rate: optimizers.adamw(rate, weight_decay=5e-4),
    )  # fmt: skip
    assert run["status"] == "finished" and run["best"]["metric"] == "mean_f1"
    kernel = blocks_of(keras.models.load_model(tmp_path / "run" / "best.keras"), 4, 2)
    assert not kernel[0, :, 1].any() and not kernel[1, :, 0].any() and kernel[0, :, 0].all()
