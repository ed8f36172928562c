"""Every network that is registered keeps what it claims: it is built, saved and exported, and shows where it looked.

A new model is registered (dr_edge/models/registry.py) and measured (`python -m dr_edge.models --measure`); the tests
here take it from there. The first of each kind runs in `make test`, all of them in `make test-all`.
"""

from __future__ import annotations

import gin
import keras
import numpy as np
import pytest

from dr_edge import config
from dr_edge.explanation import heatmaps
from dr_edge.models import listing, measure, registry
from export import convert
from export.formats import FORMATS, parse_formats
from export.graph.deployable import PHONE, deployable_graph
from export.parity import measure as parity
from export.parity import runtime
from export.parity.delegation import delegation

SIDE = 64
CROP = {"method": "crop"}
QUICK = ("resnet_v2_slim", "alexnet", "plain_encoder")
# How far an artifact's probabilities may lie from those of the Keras graph, at most and on average. No two sets of
# float32 kernels were 2e-5 apart. Weights that nobody trained are hard on 16 and on 8 bits, most of all on single
# pixels of masks.
LARGEST = {"float32": 1e-4, "onnx_float32": 1e-4, "float16": 0.02}
MEAN = {"float16": 5e-3, "dynamic_int8": 0.05, "static_int8": 0.05, "int16x8": 0.05, "onnx_static_int8": 0.05}

ENTRIES = registry.entries()
MODELS = registry.entries(registry.MODEL)


def each(entries: list[registry.Entry]) -> list:
    """The entries as parameters of a test; those that are not quick are slow."""
    return [
        pytest.param(entry, id=f"{entry.kind}-{entry.name}", marks=() if entry.name in QUICK else pytest.mark.slow)
        for entry in entries
    ]


def needs(entry: registry.Entry) -> None:
    """Skips a network whose extra is not installed."""
    if entry.extra == "vit":
        pytest.importorskip("keras_hub", reason="keras-hub is not installed: pip install 'dr_edge[vit]'")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    from dr_edge.fundus.crop import crop_square
    from dr_edge.fundus.fov import find_fov
    from tfrecord_tools.synthetic.draw import draw_fundus

    synthetic = [draw_fundus(seed, grade=seed % 5, size=2 * SIDE).image for seed in range(8)]
    return [crop_square(image, find_fov(image), SIDE)[None] for image in synthetic]


def adapted(entry: registry.Entry, photographs: list[np.ndarray]) -> keras.Model:
    """The network at 64 px, its batch normalisation adapted to the photographs, as training would leave it."""
    needs(entry)
    keras.utils.set_random_seed(1)
    made = registry.build(entry, SIDE)
    for layer in made.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(8):
        made(np.concatenate(photographs).astype(np.float32), training=True)
    return made


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest, photographs: list[np.ndarray]) -> tuple[registry.Entry, keras.Model]:
    """An entry and its network; pytest runs the tests of one together, so that it is built once for all of them."""
    return request.param, adapted(request.param, photographs)


def networks(entries: list[registry.Entry]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("built", each(entries), indirect=True)


def test_the_file_of_figures_states_what_is_registered():
    kept = [{key: row[key] for key in row if key not in ("parameters", "macs")} for row in listing.read()]
    advice = "run `python -m dr_edge.models --measure` (names: only those)"
    assert kept == [measure.stated(entry) for entry in ENTRIES], advice


def test_claims_are_formats_that_there_are_and_every_part_is_part_of_a_model():
    assert {name for entry in MODELS for name in entry.formats} <= set(FORMATS)
    assert set(QUICK) <= {entry.name for entry in ENTRIES}
    parts = {entry.name for entry in ENTRIES if entry.kind != registry.MODEL}
    used = {entry.backbone for entry in MODELS if entry.backbone}
    assert used == parts, "the formats of a part are tested as those of a model on it"


def test_every_function_that_gin_can_bind_as_a_network_is_registered():
    from dr_edge import choices

    config.import_names()
    registered = {entry.configurable for entry in ENTRIES}
    for module, helpers in (("models", {"ConvolutionBlock"}), ("backbones", set()), ("encoders", set())):
        assert {f"{module}.{name}" for name in choices.known(module) if name not in helpers} <= registered


@pytest.mark.parametrize("entry", each(ENTRIES))
def test_parameters_and_macs_are_the_listed_ones(entry):
    needs(entry)
    (row,) = (row for row in listing.read() if (row["kind"], row["name"]) == (entry.kind, entry.name))
    assert measure.measure(entry) == {"parameters": row["parameters"], "macs": row["macs"]}


@pytest.mark.parametrize("entry", each(MODELS))
def test_its_lines_of_a_gin_file_ask_for_it(entry, clean_gin):
    needs(entry)
    config.import_names()
    required = ("train.records = 'r'", "train.run_dir = 'd'")
    config.parse(["gin_configs/base.gin"], [*required, *entry.bindings])
    asked = gin.query_parameter("train.model")
    made = asked.configurable.wrapper(SIDE, entry.outputs)
    assert [weight.shape for weight in made.weights] == [weight.shape for weight in registry.build(entry, SIDE).weights]


@networks(MODELS)
def test_a_model_gives_logits_by_the_layers_that_others_rely_on(built, photographs):
    entry, network = built
    logits = np.asarray(network(photographs[0].astype(np.float32)))
    places = (SIDE, SIDE) if entry.task == "segmentation" else ()
    assert logits.shape == (1, *places, entry.outputs) and np.isfinite(logits).all()
    names = {layer.name for layer in network.layers}
    assert {"penultimate", "logits"} <= names
    assert "cam_features" in names or not entry.heat_map


@networks(MODELS)
def test_a_model_that_was_saved_answers_the_same(built, photographs, tmp_path):
    entry, network = built
    network.save(tmp_path / "best.keras")
    loaded = keras.models.load_model(tmp_path / "best.keras", compile=False)
    images = np.concatenate(photographs).astype(np.float32)
    np.testing.assert_allclose(loaded(images), network(images), rtol=1e-5, atol=1e-5)
    assert loaded.count_params() == network.count_params()


@networks([entry for entry in MODELS if entry.task != "segmentation"])
def test_a_classifier_shows_where_it_looked(built, photographs):
    entry, network = built
    images = np.concatenate(photographs[:2]).astype(np.float32)
    method = "gradcam" if "cam_features" in {layer.name for layer in network.layers} else "saliency"
    maps = heatmaps.heat_maps(network, method, images, np.array([0, entry.outputs - 1]))
    assert maps.shape == (2, SIDE, SIDE) and maps.min() >= 0 and maps.max() <= 1
    graph = deployable_graph(network, kind=entry.task, preprocess=CROP)
    assert ("heatmap" in graph.outputs) == entry.heat_map and ("heatmap" in graph.left_out) == (not entry.heat_map)


@networks(MODELS)
def test_every_format_that_it_claims_answers_as_keras(built, photographs, tmp_path):
    entry, network = built
    graph = deployable_graph(network, kind=entry.task, preprocess=CROP, target=PHONE)
    call, key = parity.graph_function(graph.model), graph.outputs[0]
    expected = np.concatenate([call(photograph)[key] for photograph in photographs])
    assert expected.std() > 1e-3  # an answer that says something
    done = convert.convert_all(
        lambda target: deployable_graph(network, kind=entry.task, preprocess=CROP, target=target),
        parse_formats(entry.formats), tmp_path, photographs, finetune=None,
    )  # fmt: skip
    assert done.not_made == {}
    for name in entry.formats:
        path = tmp_path / FORMATS[name].file
        run = runtime.open_artifact(path)
        found = np.concatenate([run(photograph)[key] for photograph in photographs])
        apart = np.abs(found - expected)
        print(f"{entry.name} {name}: largest {apart.max():.1e}, mean {apart.mean():.1e}")
        assert np.isfinite(found).all() and found.std() > 1e-3, name
        assert apart.max() < LARGEST.get(name, 1) and apart.mean() < MEAN.get(name, 1), name
        if name == "static_int8":  # in one piece of XNNPACK's: what it leaves to LiteRT's own kernels is slow
            pieces = delegation(path.read_bytes())
            assert pieces.partitions == 1, pieces.left
