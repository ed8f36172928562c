"""System D's networks against keras.applications: parameters, features, and the weights' own input conventions."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pytest

from dr_edge.models import backbones, classifiers

HAS_HUB = importlib.util.find_spec("keras_hub") is not None
REFERENCES = {
    "resnet50": (keras.applications.ResNet50, 2048, 23_587_712, keras.applications.resnet50),
    "densenet121": (keras.applications.DenseNet121, 1024, 7_037_504, keras.applications.densenet),
    "efficientnet_b4": (keras.applications.EfficientNetB4, 1792, 17_673_823, keras.applications.efficientnet),
    "mobilenet_v2": (keras.applications.MobileNetV2, 1280, 2_257_984, keras.applications.mobilenet_v2),
}


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("efficientnet_b4", marks=pytest.mark.slow),
    ],
)
def test_parameters_and_features_equal_keras_applications(name, tmp_path):
    """With a file of keras.applications' own, our raw-pixel graph gives the features that it gives after its own
    preprocess_input; B4 gets the weights as a file where Keras gets them under the name "imagenet".
    """
    build, channels, parameters, module = REFERENCES[name]
    keras.utils.set_random_seed(0)
    theirs = build(include_top=False, weights=None, input_shape=(64, 64, 3))
    assert theirs.count_params() == parameters
    rng = np.random.default_rng(0)
    if name == "efficientnet_b4":
        norm = next(layer for layer in theirs.layers if isinstance(layer, keras.layers.Normalization))
        norm.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]) ** 2, np.array(0)])
        norm.finalize_state()
    path = str(tmp_path / "notop.weights.h5")
    theirs.save_weights(path)
    ours = classifiers.classifier(64, 5, architecture=name, weights=path, hidden=8)
    head = channels * 8 + 8 + 8 * 5 + 5
    assert ours.count_params() == parameters + head
    assert ours.get_layer("cam_features").output.shape == (None, 2, 2, channels)
    assert ours.get_layer("penultimate").output.shape == (None, 8) and ours.output.shape == (None, 5)
    assert not [layer.name for layer in ours.layers if isinstance(layer, keras.Model)], "the graph must be flat"
    x = rng.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    features = keras.Model(ours.inputs, ours.get_layer("cam_features").output)([x])
    if name == "efficientnet_b4":
        # What "imagenet" adds behind the normalisation, see keras.applications; here in front of the first convolution.
        first = next(n for n, layer in enumerate(theirs.layers) if isinstance(layer, keras.layers.Normalization))
        y = theirs.layers[first](theirs.layers[first - 1](x)) / np.sqrt([0.229, 0.224, 0.225])
        inner = keras.Model(theirs.layers[first].output, theirs.output)
        expected = inner(y)
    else:
        expected = theirs(module.preprocess_input(x.copy()))
    # Up to 160 layers of float32 sums, whose order oneDNN takes by instruction set: room for 3,000 last places of the
    # largest value.
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=2e-4 * float(np.abs(expected).max()))


def test_alexnet_by_hand():
    inputs = keras.Input((224, 224, 3))
    model = keras.Model(inputs, backbones.alexnet(inputs))
    widths = [3, 96, 256, 384, 384, 256]
    kernels = [11, 5, 3, 3, 3]
    expected = sum(k * k * a * b + b for k, a, b in zip(kernels, widths[:-1], widths[1:], strict=True))
    assert model.count_params() == expected == 3_747_200 and model.output.shape == (None, 6, 6, 256)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"architecture": "vgg16"}, "architecture must be one of"),
        ({"architecture": "resnet50", "weights": "/nowhere.h5"}, "no such file"),
        ({"architecture": "vit_b16", "image_size": 100}, "a multiple of 16"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        classifiers.classifier(**{"image_size": 64, "outputs": 5, **arguments})


def test_without_keras_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(RuntimeError, match=r"dr_edge\[vit\]"):
        classifiers.classifier(64, 5, architecture="vit_b16")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_HUB, reason="keras-hub is not installed: pip install 'dr_edge[vit]'")
def test_vit_b16_has_the_published_parameters(tmp_path):
    """85,798,656 at 224 px without head (Dosovitskiy et al., 2021: 86 M), and the features of keras-hub's own model."""
    model = classifiers.classifier(224, 5, architecture="vit_b16", hidden=8)
    assert model.count_params() == 85_798_656 + 768 * 8 + 8 + 8 * 5 + 5
    assert model.get_layer("penultimate").output.shape == (None, 8)
    import keras_hub

    theirs = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), **classifiers.VIT_SHAPE)
    theirs.save_weights(tmp_path / "vit.weights.h5")
    ours = classifiers.classifier(32, 5, architecture="vit_b16", weights=str(tmp_path / "vit.weights.h5"))
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    token = keras.Model(ours.inputs, ours.get_layer("class_features").output)([x])
    np.testing.assert_allclose(token, theirs(x / 127.5 - 1)[:, 0], rtol=1e-3, atol=1e-3)
    ours.save(tmp_path / "vit.keras")
    np.save(tmp_path / "x.npy", x)
    code = "import keras, numpy, sys; d = sys.argv[1]; x = numpy.load(d + '/x.npy')"
    code += "; numpy.save(d + '/y.npy', keras.models.load_model(d + '/vit.keras', compile=False)(x))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)  # as evaluation loads it: afresh
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), ours(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="exist for"):
        classifiers.classifier(32, 5, architecture="vit_b16", weights="imagenet")
