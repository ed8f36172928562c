"""The in-graph twins against OpenCV: in Keras, under tf.function, saved and loaded, and as a .tflite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dr_edge.fundus.crop import disc_mask
from dr_edge.fundus.graham import GRAHAM, graham_normalise, grey_normalise
from dr_edge.fundus.graham_layer import GrahamNormalisation, GreyNormalisation


def crops(size: int) -> np.ndarray:
    """Three uint8 crops: a textured disc, one cut at the top and dim, one black."""
    random = np.random.default_rng(size)
    image = np.array([170, 90, 50]) * np.linspace(0.5, 1.3, size)[:, None, None] + random.normal(0, 12, (size, size, 3))
    image[~disc_mask(size)] = random.integers(0, 5, 3)
    dim = image * 0.3
    dim[: size // 6] = 2
    return np.clip(np.stack([image, dim, 0 * image]), 0, 255).astype(np.uint8)


TWINS = {
    "graham": (GrahamNormalisation, lambda crop: graham_normalise(crop, sigma_ratio=GRAHAM["sigma_ratio"])),
    "grey": (GreyNormalisation, grey_normalise),
}


def reference(method: str, batch: np.ndarray) -> np.ndarray:
    return np.stack([TWINS[method][1](crop) for crop in batch]).astype(np.float32)


@pytest.mark.parametrize("method", TWINS)
@pytest.mark.parametrize("size", [64, 128, 224, 256])
def test_it_equals_opencv_up_to_rounding(method, size):
    batch = crops(size)[: 3 if method == "graham" else 2]
    layer = TWINS[method][0]()
    eager = np.asarray(layer(batch.astype(np.float32)))
    traced = np.asarray(tf.function(layer)(tf.constant(batch, tf.float32)))
    assert eager.shape == batch.shape and eager.dtype == np.float32
    assert eager.min() >= 0 and eager.max() <= 255
    np.testing.assert_allclose(traced, eager, atol=1e-3)
    difference = np.abs(eager - reference(method, batch))
    assert difference.mean() < 0.3 and difference.max() < 0.75  # the twin is rounded to whole levels


@pytest.mark.parametrize("method", TWINS)
def test_it_is_saved_and_loaded_with_its_constants(method, tmp_path):
    options = {"sigma_ratio": 1 / 20, "gain": 3.0} if method == "graham" else {}
    model = keras.Sequential([keras.Input((64, 64, 3)), TWINS[method][0](**options, name="normalise")])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    batch = crops(64)[:2].astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(batch, verbose=0), model.predict(batch, verbose=0))
    assert not loaded.weights
    assert options.items() <= loaded.get_layer("normalise").get_config().items()


@pytest.mark.parametrize("method", TWINS)
def test_the_tflite_needs_no_flex_and_agrees(method):
    from ai_edge_litert.interpreter import Interpreter

    size = 256
    model = keras.Sequential([keras.Input(batch_shape=(1, size, size, 3)), TWINS[method][0]()])
    flat = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = Interpreter(model_content=flat, num_threads=1)
    interpreter.allocate_tensors()
    names = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert not {name for name in names if "Flex" in name or name in ("SHAPE", "PACK", "CUSTOM")}
    batch = crops(size)[:1]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch.astype(np.float32))
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    difference = np.abs(got - reference(method, batch))
    assert difference.mean() < 0.3 and difference.max() < 0.75
    assert len(flat) < 400_000


@pytest.mark.parametrize("shape", [(None, None, None, 3), (None, 64, 60, 3), (None, 64, 64, 1)])
@pytest.mark.parametrize("method", TWINS)
def test_other_shapes_are_refused(method, shape):
    with pytest.raises(ValueError, match="square crops"):
        TWINS[method][0]().build(shape)


def test_a_gain_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="gain"):
        GrahamNormalisation(gain=0)
