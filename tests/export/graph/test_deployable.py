"""The deployable graph: exact Grad-CAM, distances, and what it says when a network cannot hold an output."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from dr_edge.calibration import statistics
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.quality import quality
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export.formats import FORMATS
from export.graph.deployable import deployable_graph
from export.graph.heads import linear_head, positive
from tfrecord_tools.synthetic.draw import draw_fundus

CROP = {"method": "crop"}
SIDE = 64


def photograph(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)


def grad_cam(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Grad-CAM by automatic differentiation, as the paper defines it, with a maximum of 1."""
    import tensorflow as tf

    network = keras.Model(model.inputs, [model.get_layer("cam_features").output, model.get_layer("logits").output])
    with tf.GradientTape() as tape:
        features, logits = network(image.astype(np.float32))
        tape.watch(features)
        chosen = logits[0, int(np.argmax(logits[0]))]
    weights = tf.reduce_mean(tape.gradient(chosen, features), axis=(1, 2), keepdims=True)
    heat = np.maximum(np.sum(features * weights, axis=-1), 0)
    return heat / max(heat.max(), 1e-6)


@pytest.mark.parametrize(
    "model",
    [
        lambda: mobilenet_v3_cbam(image_size=SIDE, outputs=3, variant="small"),
        lambda: resnet_v2_slim(image_size=SIDE, outputs=2),
    ],
)
def test_heat_map_is_exactly_grad_cam(model):
    keras.utils.set_random_seed(0)
    network = model()
    graph = deployable_graph(network, kind="classification", preprocess=CROP)
    shown = 0
    for seed in range(4):
        outputs = graph.model(photograph(seed))
        expected = grad_cam(network, photograph(seed))
        np.testing.assert_allclose(np.asarray(outputs["heatmap"]), expected, atol=2e-4)
        shown += expected.max() > 0
    assert shown


def test_probabilities_carry_the_temperature():
    network = resnet_v2_slim(image_size=SIDE, outputs=3)
    logits = np.asarray(network(photograph().astype(np.float32)))
    graph = deployable_graph(network, kind="classification", preprocess=CROP, temperature=2.5)
    expected = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum()
    np.testing.assert_allclose(np.asarray(graph.model(photograph())["probabilities"]), expected, atol=1e-6)
    several = deployable_graph(network, kind="multilabel", preprocess=CROP, temperature=2.5)
    expected = 1 / (1 + np.exp(-logits / 2.5))
    np.testing.assert_allclose(np.asarray(several.model(photograph())["probabilities"]), expected, atol=1e-6)


def test_distance_is_that_of_the_reliability_module():
    network = resnet_v2_slim(image_size=SIDE, outputs=2)
    features = keras.Model(network.inputs, network.get_layer("penultimate").output)
    training = np.concatenate([photograph(seed) for seed in range(20)]).astype(np.float32)
    training[10:] *= np.linspace(0.2, 1, 10, dtype=np.float32)[:, None, None, None]
    fitted = statistics.fit_features(np.asarray(features(training)), np.repeat([0, 1], 10))
    graph = deployable_graph(network, kind="classification", preprocess=CROP, features=fitted)
    expected = statistics.mahalanobis_distance(np.asarray(features(photograph(30).astype(np.float32))), fitted)
    value = np.asarray(graph.model(photograph(30))["ood_distance"])
    assert value.shape == (1, 1)
    np.testing.assert_allclose(value[0], expected, rtol=1e-3)


def test_graham_is_inside_where_the_records_had_it():
    from dr_edge.fundus.graham import PREPROCESS
    from dr_edge.fundus.graham_layer import GrahamNormalisation

    network = resnet_v2_slim(image_size=SIDE, outputs=2)
    graham = {"method": "graham", **PREPROCESS["graham"]}
    graph = deployable_graph(network, kind="classification", preprocess=graham)
    prepared = GrahamNormalisation()(photograph().astype(np.float32))
    expected = np.asarray(keras.ops.softmax(network(prepared)))
    np.testing.assert_allclose(np.asarray(graph.model(photograph())["probabilities"]), expected, atol=1e-6)


def test_records_of_other_constants_are_refused():
    network = resnet_v2_slim(image_size=SIDE, outputs=2)
    with pytest.raises(ValueError, match="Build the records again"):
        deployable_graph(network, kind="classification", preprocess={"method": "graham", "lit_from": 99.0})
    with pytest.raises(ValueError, match="sepia"):
        deployable_graph(network, kind="classification", preprocess={"method": "sepia"})


def test_a_segmentation_graph_gives_masks_only():
    image = keras.Input((SIDE, SIDE, 3))
    network = keras.Model(image, layers.Conv2D(2, 1, name="logits")(layers.Rescaling(1 / 255)(image)))
    graph = deployable_graph(network, kind="segmentation", preprocess=CROP)
    masks = np.asarray(graph.model(photograph())["masks"])
    assert graph.outputs == ("masks", "quality") and masks.shape == (1, SIDE, SIDE, 2)
    assert set(graph.left_out) == {"heatmap", "ood_distance"}


def _with_head(*head) -> keras.Model:
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, name="cam_features")(image)
    for layer in head:
        x = layer(x)
    return keras.Model(image, layers.Dense(2, name="logits")(x))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ((layers.GlobalMaxPooling2D(),), "global average pool"),
        ((layers.Flatten(),), "global average pool"),
        ((layers.GlobalAveragePooling2D(), layers.Dense(3, activation="tanh", name="middle")), "not a ReLU layer"),
        ((layers.GlobalAveragePooling2D(), layers.BatchNormalization(name="norm")), "no closed form"),
    ],
)
def test_a_head_without_closed_form_is_reported(head, reason):
    network = _with_head(*head)
    found, why = linear_head(network)
    assert found is None and reason in why
    graph = deployable_graph(network, kind="classification", preprocess=CROP)
    assert "heatmap" not in graph.outputs and reason in graph.left_out["heatmap"]


def test_a_network_without_logits_or_square_input_is_refused():
    image = keras.Input((SIDE, SIDE, 3))
    with pytest.raises(ValueError, match="no layer 'logits'"):
        deployable_graph(keras.Model(image, layers.Flatten()(image)), kind="classification", preprocess=CROP)
    wide = keras.Input((SIDE, 2 * SIDE, 3))
    network = keras.Model(wide, layers.Conv2D(1, 1, name="logits")(wide))
    with pytest.raises(ValueError, match="one input"):
        deployable_graph(network, kind="segmentation", preprocess=CROP)


def test_positive_is_a_comparison():
    values = np.array([0.0, 1e-9, 1e-3, 1.0, 1e6], np.float32)
    np.testing.assert_array_equal(np.asarray(positive(values)), [0, 1, 1, 1, 1])


def test_the_quality_is_measured_on_the_photograph_as_it_comes():
    """Not on the normalised one, and by no part of the network."""
    network = resnet_v2_slim(image_size=SIDE, outputs=2)
    image = draw_fundus(5, size=300).image
    crop = crop_square(image, find_fov(image), SIDE)[None]
    found = {}
    for method in ("crop", "grey"):
        graph = deployable_graph(network, kind="classification", preprocess={"method": method})
        assert graph.outputs[-1] == "quality" and "quality" not in graph.left_out
        found[method] = np.asarray(graph.model(crop)["quality"])
    np.testing.assert_array_equal(found["crop"], found["grey"])
    assert found["crop"].shape == (1, 6)
    assert found["crop"][0, 0] == pytest.approx(quality(crop[0]).score, abs=0.02)
    masks = deployable_graph(network, kind="segmentation", preprocess=CROP)
    np.testing.assert_array_equal(np.asarray(masks.model(crop)["quality"]), found["crop"])


def test_graphs_for_integers_leave_the_quality_to_be_put_in_later():
    network = resnet_v2_slim(image_size=SIDE, outputs=2)
    for fmt in FORMATS.values():
        graph = deployable_graph(network, kind="classification", preprocess=CROP, target=fmt.target)
        assert ("quality" in graph.outputs) == fmt.target.quality == (fmt.suffix == "onnx" or "float" in fmt.name)
        assert "quality" not in graph.left_out


def test_a_crop_that_is_too_small_has_no_quality_and_the_graph_says_why():
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, layers.Dense(2, name="logits")(layers.Flatten()(image)))
    graph = deployable_graph(network, kind="classification", preprocess=CROP)
    assert "quality" not in graph.outputs
    assert graph.left_out["quality"] == "a crop of 16 px is too small, 32 are needed"
