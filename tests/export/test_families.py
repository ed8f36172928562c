"""Every model family of the project becomes artifacts that answer as Keras does."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import keras
import numpy as np
import pytest

from dr_edge.models import backbones, classifiers, multitask, unet
from dr_edge.models.mobilenet_v3_cbam import cbam_classifier, mobilenet_v3_cbam
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export.graph import frozen
from export.graph.deployable import PHONE, PHONE_INT8, SERVER, deployable_graph
from export.onnx import convert as onnx_convert
from export.parity import measure, runtime
from export.parity.delegation import delegation
from export.tflite import convert as tflite_convert
from export.tflite import static_int8 as tflite_static_int8

SIDE = 64
CROP = {"method": "crop"}

# name -> (builder of (image_size, outputs), kind, XNNPACK partitions in int8)
PHONE_FAMILIES = {
    "mobilenet_v3_small": (functools.partial(mobilenet_v3_cbam, variant="small"), "classification", 1),
    "mobilenet_v3_large": (functools.partial(mobilenet_v3_cbam, variant="large"), "classification", 1),
    "mobilenet_v2_cbam": (functools.partial(cbam_classifier, backbone=backbones.mobilenet_v2), "classification", 1),
    "resnet_v2_slim": (resnet_v2_slim, "classification", 1),
    "unet_plain": (
        functools.partial(unet.unet, encoder=functools.partial(unet.plain_encoder, depth=3, width=8)),
        "segmentation",
        1,
    ),
    "unet_mobile": (functools.partial(unet.unet, encoder=backbones.mobilenet_v3_encoder), "segmentation", 1),
    "multitask_mobilenet_v2_cbam": (functools.partial(multitask.multitask, trunk="mobilenet_v2_cbam"), "multilabel", 1),
}
SERVER_FAMILIES = {
    "resnet50": (functools.partial(classifiers.classifier, architecture="resnet50"), "classification"),
    "densenet121": (functools.partial(classifiers.classifier, architecture="densenet121"), "classification"),
    "efficientnet_b4": (functools.partial(classifiers.classifier, architecture="efficientnet_b4"), "classification"),
    "multitask_alexnet": (functools.partial(multitask.multitask, trunk="alexnet"), "multilabel"),
}

QUICK = ("mobilenet_v3_small", "resnet_v2_slim", "unet_plain")  # one of each kind; the rest takes minutes


def marked(names: Iterable[str]) -> list:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    from dr_edge.fundus.crop import crop_square
    from dr_edge.fundus.fov import find_fov
    from tfrecord_tools.synthetic.draw import draw_fundus

    synthetic = [draw_fundus(seed, grade=seed % 5, size=2 * SIDE).image for seed in range(8)]
    return [crop_square(image, find_fov(image), SIDE)[None] for image in synthetic]


def network(build, photographs) -> keras.Model:
    """The family's network, its batch normalisation adapted to the photographs, as training would leave it."""
    keras.utils.set_random_seed(1)
    made = build(SIDE, 2)
    for layer in made.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(8):
        made(np.concatenate(photographs).astype(np.float32), training=True)
    return made


def answers(content: bytes, suffix: str, photographs, directory) -> tuple[str, np.ndarray]:
    path = directory / f"model.{suffix}"
    path.write_bytes(content)
    run = runtime.open_artifact(path)
    outputs = [run(photograph) for photograph in photographs]
    key = "masks" if "masks" in outputs[0] else "probabilities"
    return key, np.concatenate([output[key] for output in outputs])


def saved(model: keras.Model, directory) -> str:
    frozen.save(*frozen.of_model(model), directory)
    return str(directory)


# MobileNetV3-Small and its head are what test_tflite.py and test_onnx.py convert; MobileNetV2's differs in the trunk
# alone.
@pytest.mark.parametrize(
    "name", marked(["mobilenet_v3_large", "resnet_v2_slim", "unet_plain", "unet_mobile", *SERVER_FAMILIES])
)
def test_float_artifacts_answer_as_keras(name, photographs, tmp_path):
    build, kind = {**PHONE_FAMILIES, **SERVER_FAMILIES}[name][:2]
    trained = network(build, photographs)
    graphs = {
        target: deployable_graph(trained, kind=kind, preprocess=CROP, target=target).model for target in (PHONE, SERVER)
    }
    call = measure.graph_function(graphs[PHONE])
    contents = {
        "tflite": tflite_convert.convert_float(saved(graphs[PHONE], tmp_path / "saved"), "float32"),
        "onnx": onnx_convert.convert_float32(graphs[SERVER]),
    }
    for suffix, content in contents.items():
        key, found = answers(content, suffix, photographs, tmp_path)
        expected = np.concatenate([call(photograph)[key] for photograph in photographs])
        assert expected.std() > 1e-3  # an answer that says something
        # The limit of an export; both sides compute in 24 bits, and no two sets of kernels were 2e-5 apart.
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=suffix)


# The server's families take a minute each. Tried once: ResNet50, EfficientNet-B4 and AlexNet run in one piece,
# DenseNet121 in four, since XNNPACK leaves its three average pools to LiteRT's own kernels.
@pytest.mark.parametrize("name", marked(PHONE_FAMILIES))
def test_int8_runs_in_one_piece_and_answers_alike(name, photographs, tmp_path):
    build, kind, partitions = PHONE_FAMILIES[name]
    trained = network(build, photographs)
    call = measure.graph_function(deployable_graph(trained, kind=kind, preprocess=CROP).model)
    graph = deployable_graph(trained, kind=kind, preprocess=CROP, target=PHONE_INT8)
    calibrated = tflite_static_int8.calibrate(saved(graph.model, tmp_path / "saved"), lambda: iter(photographs))
    content = tflite_static_int8.quantise(calibrated, graph.head)
    found = delegation(content)
    assert found.partitions == partitions, f"{name}: left to LiteRT's own kernels: {found.left}"
    key, values = answers(content, "tflite", photographs, tmp_path)
    expected = np.concatenate([call(photograph)[key] for photograph in photographs])
    # Weights that nobody trained are hard on 8 bits. A mean, since XNNPACK's integers are the same on every processor
    # but a value that is computed in floating point may be rounded to the next one.
    assert np.abs(values - expected).mean() < 0.05
