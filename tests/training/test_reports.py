"""What a run says: its bar, its pictures, and which step of which epoch diverged."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from dr_edge import config
from dr_edge.data import tasks
from dr_edge.losses import classification as classification_losses
from dr_edge.models import backbones
from dr_edge.training import epoch, loop, monitor, optimizers, selection, trainer, validation

REPOSITORY = Path(__file__).resolve().parents[2]


def plain(image_size: int, outputs: int) -> keras.Model:
    inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.Conv2D(4, 5, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs, name="logits")(keras.layers.GlobalAveragePooling2D()(x)))


def arguments(records, run_dir, **changes):
    settings = {
        "records": str(records), "run_dir": str(run_dir), "task": tasks.referable_dr(), "model": plain, "epochs": 2,
        "batch_size": 8, "learning_rate": optimizers.constant(learning_rate=0.01),
    }  # fmt: skip
    return {**settings, **changes}


def test_the_bar_shows_loss_metrics_speed_and_the_time_left(coloured_records, tmp_path, monkeypatch, capsys):
    bars = []

    class Kept(monitor.Progress):
        def __init__(self, *positional, **named):
            super().__init__(*positional, **{**named, "mininterval": 0.0, "log_seconds": 0.0})
            bars.append(self)
            self.postfixes = []

        def set_postfix(self, shown, refresh=True):
            self.postfixes.append(dict(shown))
            super().set_postfix(shown, refresh=refresh)

    monkeypatch.setattr(monitor, "Progress", Kept)
    monkeypatch.setattr(epoch, "LOSS_EVERY", 2)
    loop.train(**arguments(coloured_records, tmp_path / "run"))
    bar = bars[0]
    assert bar.total == bar.n == 12 and bar.desc == "epoch 2/2: "
    from dr_edge.training.metrics_log import read_metrics

    rows = read_metrics(tmp_path / "run")
    last = bar.postfixes[-1]
    assert last["loss"] == f"{rows[2]['loss']:.4f}" and last["val auc"] == f"{rows[3]['auc']:.3f}"
    assert last["val accuracy"] == f"{rows[3]['accuracy']:.3f}" and float(last["images/s"]) > 0
    assert len({shown["loss"] for shown in bar.postfixes if "loss" in shown}) > 4, (
        "the loss stood still within the epochs"
    )
    shown = capsys.readouterr().err
    assert "epoch 2/2: 12 of 12 step" in shown and f"loss={last['loss']}" in shown and "images/s=" in shown
    import re

    assert re.search(r"[1-9]\d* of 12 step, .*step.*, \d\d:\d\d gone, \d\d:\d\d left", shown), "no time left was shown"


def test_an_epoch_shorter_than_a_look_at_the_loss_shows_its_mean(coloured_records, tmp_path, capsys):
    loop.train(**arguments(coloured_records, tmp_path / "run", batch_size=16, epochs=1))
    from dr_edge.training.metrics_log import read_metrics

    assert f"loss={read_metrics(tmp_path / 'run')[0]['loss']:.4f}" in capsys.readouterr().err


def test_a_divergence_at_the_last_step_is_named_with_its_place_and_an_advice(coloured_records, tmp_path):
    settings = arguments(
        coloured_records, tmp_path / "run", batch_size=48, learning_rate=optimizers.constant(learning_rate=1e38)
    )
    with pytest.raises(
        FloatingPointError, match="16 of 16 validation images are not finite after step 1 of epoch 1"
    ) as caught:
        loop.train(**settings)
    assert epoch.DIVERGED in str(caught.value)
    with pytest.raises(FloatingPointError, match=r"is not finite after 0 epochs and 1 steps. Lower the learning rate"):
        settings |= {
            "run_dir": str(tmp_path / "timed"),
            "learning_rate": optimizers.constant(learning_rate=float("nan")),
        }
        loop.train(**settings, checkpoint_minutes=1e-9)
    assert not list((tmp_path / "timed" / "checkpoints").glob("step-*"))


def masks_batches(task, found: bool):
    """Two images of 8 px whose first mask is drawn in one of them and whose other masks are empty."""
    label = np.zeros((2, 8, 8, len(task.class_names)), np.float32)
    label[0, 2:4, 2:4, 0] = float(found)
    return tf.data.Dataset.from_tensors({"image": tf.zeros((2, 8, 8, 3)), "label": tf.constant(label)})


def test_dice_of_a_mask_that_no_validation_image_has_is_undefined(tmp_path):
    from dr_edge.training.metrics_log import MetricsLog

    task, loss = tasks.optic_disc_and_cup(), classification_losses.binary_cross_entropy()

    def nothing_found(images):
        return tf.fill((2, 8, 8, 2), -9.0)

    values = validation.validate(nothing_found, masks_batches(task, True), task, loss)
    first, second = (f"dice/{name}" for name in task.class_names)
    assert values[first] == values["dice"] == 0.0 and values[second] is None
    values = validation.validate(nothing_found, masks_batches(task, False), task, loss)
    assert values["dice"] is values[first] is None
    MetricsLog(tmp_path, 0).append({"epoch": 1, **values})
    assert selection.is_better(values, {}, "dice")
    said = selection.undefined("dice", values)
    assert "no dice" in said and "--val_fraction" in said and "['loss']" in said


def test_an_undefined_metric_is_said_in_training(coloured_records, tmp_path, monkeypatch, caplog):
    real = trainer.validate
    monkeypatch.setattr(trainer, "validate", lambda *rest: {**real(*rest), "auc": None})
    with caplog.at_level("WARNING", logger="absl"):
        run = loop.train(**arguments(coloured_records, tmp_path / "run", epochs=1))
    assert run["best"]["value"] is None and "Epoch 1: validation gives no auc" in caplog.text


PROGRAM = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from dr_edge.training import strategies
where = strategies.mirrored()
data = where.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices({"image": tf.range(8.0)}).batch(8))
batch = next(iter(data))
assert not isinstance(batch["image"], tf.Tensor)
print(strategies.first_local(where, batch["image"]).numpy().tolist())
"""


def test_the_images_of_the_first_of_two_devices_are_shown():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.stdout.strip().splitlines()[-1:] == ["[0.0, 1.0, 2.0, 3.0]"], done.stderr[-2000:]


BACKBONES = {
    "mobilenet_v3": backbones.mobilenet_v3, "mobilenet_v2": backbones.mobilenet_v2, "resnet50": backbones.resnet50,
    "densenet121": backbones.densenet121, "efficientnet_b4": backbones.efficientnet_b4,
}  # fmt: skip


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3"])
def test_weights_that_cannot_be_downloaded_are_said_in_one_line(name, monkeypatch, tmp_path, clean_gin):
    from keras.src.utils import file_utils

    def no_network(*rest, **named):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(file_utils, "urlretrieve", no_network)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    with warnings.catch_warnings(), pytest.raises(OSError) as caught:
        warnings.simplefilter("error")
        BACKBONES[name](keras.Input((64, 64, 3)), weights="imagenet")
    assert config.own_message(caught.value) == (
        f"Could not download the ImageNet weights of {name} (Name or service not known). Give a file by "
        f"--gin_param=\"backbones.{name}.weights = 'PATH'\", or take random weights by "
        f'--gin_param="backbones.{name}.weights = None".'
    )


@pytest.mark.parametrize("name", list(BACKBONES))
def test_each_backbone_says_its_own_name_where_the_download_fails(name, monkeypatch, clean_gin):
    def fails(**named):
        raise Exception("URL fetch failure on https://x/y.h5: None -- timed out")

    for builder in ("MobileNetV3Large", "MobileNetV2", "ResNet50", "DenseNet121", "EfficientNetB4"):
        monkeypatch.setattr(keras.applications, builder, fails)
    with pytest.raises(ConnectionError, match=rf"weights of {name} \(timed out\).*backbones\.{name}\.weights = 'PATH'"):
        BACKBONES[name](keras.Input((64, 64, 3)), weights="imagenet")


def test_the_binding_of_the_model_that_asked_for_the_weights_is_named(monkeypatch, clean_gin):
    import gin

    from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam

    def fails(**named):
        raise Exception("URL fetch failure on https://x/y.h5: None -- timed out")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", fails)
    gin.bind_parameter("models.mobilenet_v3_cbam.weights", "imagenet")
    with pytest.raises(ConnectionError, match=r"--gin_param=\"(models\.)?mobilenet_v3_cbam\.weights = 'PATH'"):
        mobilenet_v3_cbam(64, 2, variant="small")


def test_a_healthy_class_called_the_disease_is_said_in_training(coloured_records, tmp_path, monkeypatch, caplog):
    from dr_edge.data import tasks
    from dr_edge.training import loop, run_directory

    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    monkeypatch.setattr(run_directory, "claim", begin)
    for positive, cautioned in (("0", True), ("1", False)):
        caplog.clear()
        given = ("0",) if positive == "0" else ("1", "2", "3", "4")
        with caplog.at_level("WARNING", logger="absl"), pytest.raises(Begun):
            loop.train(
                str(coloured_records),
                str(tmp_path / positive),
                tasks.label("dr_grade", positive=given),
                model=lambda *_: None,
                epochs=1,
                batch_size=4,
                learning_rate=0.01,
            )
        assert ("'0' was called the disease, and reads as healthy" in caplog.text) is cautioned
