"""The deployable graph on real photographs: the training-time pipeline's answers, tf-keras-vis' heat maps."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest

from dr_edge.fundus import graham, photograph
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.graham import PREPROCESS
from export.graph import frozen
from export.graph.deployable import PHONE, PHONE_INT8, deployable_graph
from export.parity import runtime
from export.tflite import convert as tflite_convert
from export.tflite import static_int8 as tflite_static_int8

SIZE = 224
TRAIN, TEST = 48, 16
EPOCHS = 12  # half a minute

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crops(real_data):
    """IDRiD photographs as an app crops them, (training [N, S, S, 3] uint8, referable [N], test)."""
    root = real_data / "idrid" / "B. Disease Grading"
    with open(next((root / "2. Groundtruths").glob("a.*.csv")), newline="", encoding="utf-8-sig") as file:
        grades = {row[0]: int(row[1]) for row in csv.reader(file) if row[1].isdigit()}

    def crop(path):
        whole = photograph.read_photograph(path, min_side=SIZE)
        return crop_square(whole, find_fov(whole), SIZE)

    train = sorted((root / "1. Original Images" / "a. Training Set").glob("*.jpg"))[::7][:TRAIN]
    test = sorted((root / "1. Original Images" / "b. Testing Set").glob("*.jpg"))[::4][:TEST]
    labels = np.array([grades[path.stem] >= 2 for path in train]).astype(int)
    return np.stack([crop(path) for path in train]), labels, np.stack([crop(path) for path in test])


@pytest.fixture(scope="module")
def network(crops, real_weights):
    """ImageNet's MobileNetV2, trained briefly: first a logistic regression as its head, then all but the statistics.

    The second step matters to 8 bits: of a trunk that knows ImageNet only the maps are small differences of large
    numbers.
    """
    from sklearn.linear_model import LogisticRegression

    from dr_edge.models import backbones

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    trunk = backbones.mobilenet_v2(inputs, weights=str(real_weights / "mobilenet_v2_imagenet_notop.weights.h5"))
    features = keras.layers.Activation("linear", name="cam_features")(trunk)
    pooled = keras.layers.GlobalAveragePooling2D(name="penultimate")(features)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(pooled))
    given = keras.Model(inputs, pooled).predict(prepared(crops[0]), batch_size=16, verbose=0)
    head = LogisticRegression(C=0.1, max_iter=1000).fit(given, crops[1])
    kernel, bias = head.coef_[0], head.intercept_[0]
    model.get_layer("logits").set_weights([np.stack([-kernel, kernel], 1) / 2, np.array([-bias, bias]) / 2])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    model.compile(
        keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    history = model.fit(prepared(crops[0]), crops[1], batch_size=8, epochs=EPOCHS, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    return model


def prepared(crops: np.ndarray) -> np.ndarray:
    """The training-time pipeline: OpenCV's Graham normalisation of the crop."""
    return np.stack([graham.preprocess(crop, "graham") for crop in crops]).astype(np.float32)


@pytest.fixture(scope="module")
def artifacts(network, crops, tmp_path_factory):
    """{"float32": run, "static_int8": run}, made as export makes them."""
    preprocess = {"method": "graham", **PREPROCESS["graham"]}
    directory = tmp_path_factory.mktemp("artifacts")

    def saved(target) -> tuple[str, tuple[str, ...]]:
        graph = deployable_graph(network, kind="classification", preprocess=preprocess, target=target)
        frozen.save(*frozen.of_model(graph.model), directory / f"saved{target.integer_friendly}")
        return str(directory / f"saved{target.integer_friendly}"), graph.head

    calibrated = tflite_static_int8.calibrate(saved(PHONE_INT8)[0], lambda: iter(crops[0][:32, None]))
    contents = {
        "float32": tflite_convert.convert_float(saved(PHONE)[0], "float32"),
        "static_int8": tflite_static_int8.quantise(calibrated, saved(PHONE_INT8)[1]),
    }
    runs = {}
    for name, content in contents.items():
        path = directory / f"{name}.tflite"
        path.write_bytes(content)
        runs[name] = runtime.open_artifact(path)
    return runs


def test_the_float_artifact_answers_as_the_training_pipeline(network, crops, artifacts):
    logits = network.predict(prepared(crops[2]), batch_size=16, verbose=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = np.concatenate([artifacts["float32"](crop[None])["probabilities"] for crop in crops[2]])
    assert expected.std(axis=0).min() > 0.1  # the answers differ, so agreement says something
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize(("variant", "least"), [("float32", 0.99), ("static_int8", 0.95)])
def test_heat_maps_are_those_of_tf_keras_vis(network, crops, artifacts, variant, least):
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    images = prepared(crops[2])
    classes = network.predict(images, batch_size=16, verbose=0).argmax(axis=1)
    # At the layer itself and at its own resolution: enlarging is the app's affair.
    options = {"seek_penultimate_conv_layer": False, "expand_cam": False, "normalize_cam": False}
    expected = Gradcam(network, clone=False)(CategoricalScore(classes.tolist()), images, "cam_features", **options)
    correlations = []
    for crop, chosen, own in zip(crops[2], classes, np.asarray(expected), strict=True):
        outputs = artifacts[variant](crop[None])
        if outputs["probabilities"].argmax() != chosen:
            continue  # another class has another map
        if own.max() <= 0:  # no place speaks for the class
            assert outputs["heatmap"].max() <= 0
        else:
            correlations.append(np.corrcoef(outputs["heatmap"].ravel(), own.ravel())[0, 1])
    assert len(correlations) >= TEST // 2
    print(f"{variant}: correlation with tf-keras-vis' Grad-CAM, median {np.median(correlations):.4f}")
    assert np.median(correlations) >= least
