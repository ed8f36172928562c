"""Two TFLite graphs in one file: each gives what it gave alone, and what does not fit is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from export.graph import frozen
from export.parity import runtime
from export.tflite.convert import convert_float, minimum_runtime
from export.tflite.graft import grafted

SIDE = 8


@pytest.fixture
def graph(tmp_path):
    """graph(name, layer): the TFLite file of a layer whose output has that name."""

    def make(name: str, layer: keras.layers.Layer, side: int = SIDE) -> bytes:
        image = keras.Input(batch_shape=(1, side, side, 3), dtype="uint8", name="image")
        output = keras.layers.Identity(name=name)(layer(keras.ops.cast(image, "float32")))
        frozen.save(*frozen.of_model(keras.Model(image, {name: output})), tmp_path / name)
        return convert_float(tmp_path / name, "float32")

    return make


def answers(content: bytes, path, image: np.ndarray) -> dict[str, np.ndarray]:
    path.write_bytes(content)
    return runtime.open_artifact(path)(image)


def test_the_outputs_of_both_are_what_each_gives_alone(graph, tmp_path):
    keras.utils.set_random_seed(2)
    one = graph("means", keras.layers.GlobalAveragePooling2D())
    other = graph("maps", keras.layers.Conv2D(4, 3, activation="relu"))
    image = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    expected = {**answers(one, tmp_path / "one.tflite", image), **answers(other, tmp_path / "other.tflite", image)}
    assert expected["maps"].std() > 0
    for number, pair in enumerate([(one, other), (other, one)]):
        found = answers(grafted(*pair), tmp_path / f"{number}.tflite", image)
        assert found.keys() == {"means", "maps"}
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6)


def test_the_file_states_the_later_of_both_runtimes(graph):
    early, late = graph("means", keras.layers.GlobalAveragePooling2D()), graph("gelu", keras.layers.Activation("gelu"))
    assert minimum_runtime(early) != minimum_runtime(late)
    assert minimum_runtime(grafted(early, late)) == minimum_runtime(grafted(late, early)) == minimum_runtime(late)


def test_what_does_not_fit_is_refused(graph):
    one = graph("means", keras.layers.GlobalAveragePooling2D())
    with pytest.raises(ValueError, match=r"Both graphs give \['means'\]"):
        grafted(one, one)
    with pytest.raises(ValueError, match=r"inputs \(shape, type\) differ: .*8, 8.*9, 9"):
        grafted(one, graph("other", keras.layers.GlobalAveragePooling2D(), side=9))
