"""MACs against published figures and TensorFlow's own profiler; the tables of `dr-edge models`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from snippets import blocks

from dr_edge.models import listing, measure, registry
from dr_edge.models.registry import PHONE, register

REPOSITORY = Path(__file__).resolve().parents[2]


def test_mobilenet_v2_has_the_known_macs():
    """300.8 M at 224 px with its classifier of 1000 classes (Sandler et al., 2018: 300 M)."""
    model = keras.applications.MobileNetV2(weights=None, input_shape=(224, 224, 3))
    assert measure.macs(model) == 300_774_272


@pytest.mark.parametrize(
    ("name", "kind", "known"),
    [
        ("resnet50", "backbone", 3.86e9),  # He et al., 2016: 3.8 G; stride in the first convolution of a block
        ("densenet121", "backbone", 2.83e9),  # Huang et al., 2017: 2.9 G with its classifier
        ("efficientnet_b4", "backbone", 4.39e9),  # Tan & Le, 2019: 4.2 G
        ("mobilenet_v2", "backbone", 0.2995e9),  # Sandler et al., 2018: 300 M with its classifier
        ("mobilenet_v3_large", "backbone", 0.214e9),  # Howard et al., 2019: 219 M with its classifier
        ("vit_b16", "model", 17.56e9),  # torchvision: 17.56 G
    ],
)
def test_listed_macs_are_those_of_the_literature(name, kind, known):
    (row,) = (row for row in listing.read() if (row["name"], row["kind"]) == (name, kind))
    assert row["macs"] == pytest.approx(known, rel=0.01)


def test_every_kind_of_product_is_counted_by_hand():
    inputs = keras.Input((16, 16, 4))
    x = keras.layers.Conv2D(8, 3, padding="same", strides=2)(inputs)  # 8 * 8 * 8 * 3 * 3 * 4
    x = keras.layers.Conv2D(8, 3, padding="same", groups=2)(x)  # 8 * 8 * 8 * 3 * 3 * 4
    x = keras.layers.DepthwiseConv2D(5, padding="same")(x)  # 8 * 8 * 8 * 5 * 5
    x = keras.layers.SeparableConv2D(6, 3, padding="same")(x)  # 8 * 8 * (8 * 3 * 3 + 8 * 6)
    x = keras.layers.Reshape((64, 6))(x)
    x = keras.layers.MultiHeadAttention(2, 3, output_shape=6)(x, x)  # 4 * 64 * 6 * 6 and 2 * 64 * 64 * 6
    shared = keras.layers.Dense(6)
    x = keras.layers.Dense(10)(shared(shared(x)))  # 2 * 64 * 6 * 6 + 64 * 6 * 10
    counted = (
        2 * 8 * 8 * 8 * 3 * 3 * 4 + 8 * 8 * 8 * 25 + 8 * 8 * (72 + 48)
        + 4 * 64 * 36 + 2 * 64 * 64 * 6 + 2 * 64 * 36 + 64 * 60
    )  # fmt: skip
    assert measure.macs(keras.Model(inputs, x)) == counted


def test_tensorflow_counts_the_same():
    """Its profiler counts a multiplication and an addition for each, of convolutions and products alone here."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = registry.build(registry.find("resnet_v2_slim"), 64)
    call = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec((1, 64, 64, 3)))
    graph = convert_variables_to_constants_v2(call).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options |= {"account_type_regexes": ["Conv2D", "MatMul"], "output": "none"}
    counted = tf.compat.v1.profiler.profile(graph, options=options).total_float_ops
    assert counted == 2 * measure.macs(model)


def test_a_shape_that_is_not_known_is_refused():
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="Cannot count"):
        measure.macs(keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs)))


def test_the_command_lists_every_network_without_tensorflow(starts):
    done = []

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "dr_edge.models", *arguments]
        done.append(subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True))
        return done[-1].stdout

    assert starts(lambda: call()) < 12
    table = done[0].stdout
    rows = listing.read()
    assert all(f"\n  {row['name']} " in table for row in rows) and max(map(len, table.splitlines())) <= 120
    assert "  mobilenet_v2_cbam                3.16 M    613 M    320  keras.applications" in table
    assert json.loads(call("--json")) == {"networks": rows}
    one = call("mobilenet_v2_cbam")
    assert "3,160,997 (3.16 M)" in one and "models.cbam_classifier.backbone = @backbones.mobilenet_v2" in one
    both = json.loads(call("mobilenet_v2", "--json"))["networks"]
    assert [row["kind"] for row in both] == ["model", "backbone"]


def test_the_document_shows_the_table_that_is_printed():
    (shown,) = (block.text for block in blocks(REPOSITORY / "docs" / "models.md") if block.language == "text")
    assert shown == listing.table(listing.read())


def test_new_figures_are_written_and_others_kept(monkeypatch, tmp_path):
    place = tmp_path / "measured.json"
    rows = [row | {"macs": 1} for row in listing.read()]
    place.write_text(json.dumps({"networks": rows}))
    monkeypatch.setattr(measure, "MEASURED", place)
    monkeypatch.setattr(measure, "read", lambda: rows)
    written = {(row["kind"], row["name"]): row["macs"] for row in measure.write(["resnet_v2_slim"])}
    assert json.loads(place.read_text())["networks"][0]["name"] == "densenet121"
    assert written.pop(("model", "resnet_v2_slim")) > 1e6 and set(written.values()) == {1}
    with pytest.raises(ValueError, match="No network 'resnet_v2_slin'. Did you mean 'resnet_v2_slim'"):
        measure.write(["resnet_v2_slin"])


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"name": "unet", "formats": PHONE}, "model 'unet' is registered already, by models.unet"),
        ({"name": "new"}, "model 'new' states formats, outputs and a task"),
        ({"name": "new", "formats": PHONE, "task": "detection"}, "a task of"),
        ({"name": "new", "kind": "backbone", "formats": PHONE}, "are stated of models"),
        ({"name": "new", "kind": "trunk"}, "a kind of"),
    ],
)
def test_a_registration_that_says_too_little_or_too_much_is_refused(stated, says):
    registry.load()

    def nothing(image_size: int, outputs: int) -> None: ...

    with pytest.raises(ValueError, match=says):
        register(stated.pop("name"), image_size=64, **stated)(nothing)
