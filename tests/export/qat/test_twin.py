"""Quantisation-aware training: the twin computes what the network computes, trains, and converts to int8."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.metrics import roc_auc_score

from dr_edge import runs
from dr_edge.calibration import fit as fit_lib
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from export.graph.deployable import wanted_tensors
from export.graph.not_made import FormatNotMadeError
from export.parity.delegation import delegation
from export.qat import finetune, training
from export.qat.twin import quantised_twin
from export.tflite import convert as tflite_convert

pytestmark = pytest.mark.slow


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
    twin = quantised_twin(wanted.network, images, wanted.layers)
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
    with pytest.raises(FormatNotMadeError, match="of_a_transformer"):
        quantised_twin(network, np.zeros((2, 16, 16, 3), np.float32), ["logits"])


def test_finetuning_keeps_the_best_epoch_and_converts_to_int8(run_dir, records, tmp_path):
    run = runs.load_run(run_dir)
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
    fit = fit_lib.fit(run, records)
    settings = finetune.QatSettings(epochs=2, learning_rate=1e-3, batch_size=8, range_images=8)
    report = finetune.save_finetuned(run, fit, records, tmp_path / "saved", settings)
    assert report["steps"] == 6 and len(report["validation_loss"]) == 3
    assert all(np.isfinite(report["validation_loss"]))
    content = tflite_convert.convert_qat_int8(tmp_path / "saved")
    found = delegation(content)
    assert found.partitions == 1 and set(found.left) <= {"CAST"}
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=content).get_tensor_details()
    assert sum(detail["dtype"] is np.int8 for detail in details) >= 8


@pytest.fixture
def tiny_run(run_dir):
    """A run around a small network with hidden units in its head: tiny_run(outputs) -> run."""

    def make(outputs: int):
        keras.utils.set_random_seed(2)
        image = keras.Input((96, 96, 3), name="image")
        x = layers.Rescaling(1 / 127.5, -1.0)(image)
        x = layers.Conv2D(8, 5, strides=8, activation="relu")(x)
        x = layers.ReLU(name="cam_features")(x)
        x = layers.GlobalAveragePooling2D(name="pooled")(x)
        x = layers.Dense(4 * outputs, activation="relu", name="penultimate")(x)
        network = keras.Model(image, layers.Dense(outputs, name="logits")(x), name="tiny")
        return dataclasses.replace(runs.load_run(run_dir), model=network)

    return make


def test_the_heat_map_is_that_of_the_finetuned_head(tiny_run, records, tmp_path, monkeypatch):
    import tensorflow as tf

    run, twins = tiny_run(2), []
    fit = fit_lib.fit(run, records)

    def moved(twin, *args, **kwargs):
        """Fine-tuning that moves the head far, and nothing else."""
        for name in ("penultimate", "logits"):
            kernel = twin.get_layer(name).kernel
            kernel.assign(np.random.default_rng(len(name)).normal(0, 1, kernel.shape))
        twins.append(twin)
        return [1.0, 0.5]

    monkeypatch.setattr(training, "fine_tune", moved)
    settings = finetune.QatSettings(epochs=1, batch_size=8, range_images=8)
    finetune.save_finetuned(run, fit, records, tmp_path / "saved", settings)
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    found = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"](image=tf.constant(image))[
        "heatmap"
    ]
    from dr_edge.fundus.in_graph import prepare

    prepared = np.asarray(prepare(keras.ops.cast(image, "float32"), run.preprocess))
    names = wanted_tensors(run.model, "classification", True).names
    with tf.GradientTape() as tape:
        tensors = dict(zip(names, twins[0](tf.constant(prepared), training=False), strict=True))
        score = tf.reduce_max(tensors["logits"])
    weights = tf.reduce_mean(tape.gradient(score, tensors["cam_features"]), axis=(1, 2), keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(weights * tensors["cam_features"], axis=-1)).numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(found.numpy(), expected / expected.max(), atol=1e-4)


def test_qat_ends_at_least_as_accurate_as_static_int8(tiny_run, records, tmp_path):
    """On a network trained for seconds to tell the drawn lesions; what it costs a real one is in docs/results.md."""
    from dr_edge.data import pipeline, tasks
    from export.graph import frozen
    from export.graph.deployable import PHONE_INT8, deployable_graph
    from export.parity import runtime
    from export.tflite import static_int8 as tflite_static_int8

    run, task = tiny_run(2), tasks.referable_dr()

    def split(name: str) -> tuple[np.ndarray, ...]:
        batches = list(pipeline.evaluation_batches(records, name, task, 24, photograph=True))
        return tuple(
            np.concatenate([batch[key].numpy() for batch in batches]) for key in ("image", "photograph", "label")
        )

    (images, photographs, labels), (_, tests, answers) = split("train"), split("test")
    run.model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = run.model.fit(images, labels, batch_size=8, epochs=60, verbose=0).history
    assert history["loss"][-1] < 0.5
    fit = fit_lib.fit(run, records)
    finetune.save_finetuned(run, fit, records, tmp_path / "qat", finetune.QatSettings(1, 1e-4, 8, 24))
    graph = deployable_graph(
        run.model, kind=task.kind, preprocess=run.preprocess, temperature=fit.temperature, target=PHONE_INT8
    )
    frozen.save(*frozen.of_model(graph.model), tmp_path / "static")
    calibrated = tflite_static_int8.calibrate(tmp_path / "static", lambda: iter(photographs[:, None]))
    contents = {
        "static": tflite_static_int8.quantise(calibrated, graph.head),
        "qat": tflite_convert.convert_qat_int8(tmp_path / "qat"),
    }
    found = {}
    for name, content in contents.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        call = runtime.open_artifact(path)
        scores = np.concatenate([call(photograph[None])["probabilities"] for photograph in tests])
        chosen = np.clip(scores[np.arange(len(answers)), np.rint(answers).astype(int)], 1e-6, 1)
        found[name] = (roc_auc_score(answers, scores[:, 1]), -np.log(chosen).mean())
    print(f"AUC and cross-entropy on test: {found}")
    # Training and rounding differ by processor: one pair may swap places.
    pair = 1 / (answers.sum() * (1 - answers).sum())
    assert found["qat"][0] >= found["static"][0] - pair - 1e-9 and found["static"][0] > 0.8
    assert found["qat"][1] <= found["static"][1] + 0.02


@pytest.mark.parametrize("apart", [True, False])
def test_heads_that_are_apart_stay_apart(tiny_run, apart):
    import tensorflow as tf

    from dr_edge.losses import classification

    run = tiny_run(3)
    blocks = np.repeat(np.eye(3), 4, axis=0)
    kernel, bias = run.model.get_layer("logits").get_weights()
    run.model.get_layer("logits").set_weights([kernel * blocks if apart else kernel, bias])
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 96, 96, 3)).astype(np.float32)
    wanted = wanted_tensors(run.model, "multilabel", False)
    twin = quantised_twin(wanted.network, images, wanted.layers)
    batch = {"image": tf.constant(images), "label": tf.constant(rng.integers(0, 2, (8, 3)).astype(np.float32))}
    before, values = twin.get_layer("logits").kernel.numpy(), iter([1.0, 0.5])
    training.fine_tune(
        twin,
        lambda epoch: iter([batch] * 3),
        classification.binary_cross_entropy(),
        lambda model: next(values),
        epochs=1,
        steps_per_epoch=3,
        learning_rate=1e-2,
        batch_size=8,
        progress=lambda: None,
    )
    after = twin.get_layer("logits").kernel.numpy()
    assert (after != before)[blocks == 1].any()
    assert not after[blocks == 0].any() if apart else (after != before)[blocks == 0].any()


def test_a_loss_that_explodes_is_an_error():
    import tensorflow as tf
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    wrapped = tf_keras.Model(model.input, [model.output])
    batch = {"image": tf.ones((2, 3)), "label": tf.zeros((2,), tf.int32)}
    with pytest.raises(FloatingPointError, match="step 1 of epoch 1"):
        training.fine_tune(
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
