"""Quantisation-aware training: the twin computes what the network computes, trains, and converts to int8."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from dr_edge import fitting, trained
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from export import finetuning, qat, tflite
from export.delegation import delegation
from export.graph import wanted_tensors


@pytest.mark.slow
def test_the_twin_of_mobilenet_computes_the_same_within_8_bits(records):
    from dr_edge.data import pipeline, tasks

    keras.utils.set_random_seed(0)
    model = mobilenet_v3_cbam(image_size=96, outputs=2, variant="small")
    images = next(iter(pipeline.evaluation_batches(records, "train", tasks.referable_dr(), 16)))["image"].numpy()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    wanted = wanted_tensors(model, "classification", False)
    twin = qat.quantised_twin(wanted.network, images, wanted.layers)
    expected = [np.asarray(value) for value in wanted.network(images)]
    values = [np.asarray(value) for value in twin(images, training=False)]
    found = [np.corrcoef(value.ravel(), other.ravel())[0, 1] for value, other in zip(values, expected, strict=True)]
    # Weights that nobody trained lose more to 8 bits than trained ones (0.99 and above).
    assert min(found) > 0.8, dict(zip(wanted.names, found, strict=True))
    wrapped = [layer for layer in twin.layers if layer.name.startswith("quant_")]
    assert len(wrapped) > 100
    assert not {f"quant_{name}" for name in wanted.layers} & {layer.name for layer in wrapped}


def test_a_layer_without_twin_is_named():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3)(image)
    x = layers.LayerNormalization(name="of_a_transformer")(x)
    network = keras.Model(image, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(NotImplementedError, match="of_a_transformer"):
        qat.quantised_twin(network, np.zeros((2, 16, 16, 3), np.float32), ["logits"])


def test_finetuning_keeps_the_best_epoch_and_converts_to_int8(run_dir, records, tmp_path):
    run = trained.load_run(run_dir)
    keras.utils.set_random_seed(1)
    image = keras.Input((96, 96, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    x = layers.Conv2D(8, 5, strides=4, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("hard_silu")(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.ReLU(name="cam_features")(x)
    x = layers.GlobalAveragePooling2D(name="penultimate")(x)
    network = keras.Model(image, layers.Dense(2, name="logits")(x), name="tiny")
    run = dataclasses.replace(run, model=network)
    fit = fitting.fit(run, records)
    settings = finetuning.QatSettings(epochs=2, learning_rate=1e-3, batch_size=8, range_images=8)
    report = finetuning.save_finetuned(run, fit, records, tmp_path / "saved", settings)
    assert report["steps"] == 6 and len(report["validation_loss"]) == 3
    assert all(np.isfinite(report["validation_loss"]))
    content = tflite.convert_qat_int8(tmp_path / "saved")
    found = delegation(content)
    assert found.partitions == 1 and set(found.left) <= {"CAST"}
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=content).get_tensor_details()
    assert sum(detail["dtype"] is np.int8 for detail in details) >= 8


def test_a_loss_that_explodes_is_an_error():
    import tensorflow as tf
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    wrapped = tf_keras.Model(model.input, [model.output])
    batch = {"image": tf.ones((2, 3)), "label": tf.zeros((2,), tf.int32)}
    with pytest.raises(FloatingPointError, match="step 1 of epoch 1"):
        qat.fine_tune(
            wrapped,
            lambda epoch: iter([batch]),
            lambda label, logits: tf.reduce_sum(logits, axis=1) * np.nan,
            lambda model: 0.0,
            epochs=1,
            steps_per_epoch=1,
            learning_rate=1e-3,
            batch_size=2,
            progress=lambda: None,
        )
