"""Conversions to TFLite, run by LiteRT."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from dr_edge import runs
from dr_edge.calibration import fit as fit_lib
from export import photographs
from export.graph import frozen
from export.graph.deployable import PHONE_DYNAMIC, PHONE_INT8, PHONE_INT16, deployable_graph, quality_graph
from export.parity import measure
from export.parity.delegation import delegation
from export.tflite import convert as tflite_convert
from export.tflite import static_int8 as tflite_static_int8
from export.tflite.graft import grafted

INTEGERS = ("dynamic_int8", "static_int8", "int16x8")  # which get the photograph's quality afterwards


@pytest.fixture(scope="module")
def converted(run_dir, records, tmp_path_factory):
    """(deployable graph, {variant: flatbuffer}, training photographs, SavedModels, the Keras graph's outputs)."""
    run = runs.load_run(run_dir)
    fit = fit_lib.fit(run, records)
    build = functools.partial(
        deployable_graph,
        run.model,
        kind=run.task.kind,
        preprocess=run.preprocess,
        temperature=fit.temperature,
        features=fit.features,
    )
    scratch = tmp_path_factory.mktemp("saved")
    graph = build()
    frozen.save(*frozen.of_model(graph.model), scratch / "float")
    frozen.save(*frozen.of_model(build(target=PHONE_INT8).model), scratch / "integer")
    given = photographs.training_photographs(records, run.task, 8)
    frozen.save(*frozen.of_model(build(target=PHONE_DYNAMIC).model), scratch / "dynamic")
    contents = {variant: tflite_convert.convert_float(scratch / "float", variant) for variant in ("float32", "float16")}
    contents["dynamic_int8"] = tflite_convert.convert_float(scratch / "dynamic", "dynamic_int8")
    calibrated = tflite_static_int8.calibrate(scratch / "integer", lambda: iter(given))
    contents["static_int8"] = tflite_static_int8.quantise(calibrated, graph.head)
    frozen.save(*frozen.of_model(build(target=PHONE_INT16).model), scratch / "int16")
    contents["int16x8"] = tflite_convert.convert_int16x8(scratch / "int16", lambda: iter(given))
    frozen.save(*frozen.of_model(quality_graph(96)), scratch / "quality")
    quality = tflite_convert.convert_float(scratch / "quality", "float32")
    contents |= {variant: grafted(contents[variant], quality) for variant in INTEGERS}
    call = measure.graph_function(graph.model)
    expected = [call(photograph) for photograph in given]
    expected = {key: np.concatenate([output[key] for output in expected]) for key in expected[0]}
    return graph, contents, given, scratch, expected


def run_all(content: bytes, photographs) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner(frozen.SIGNATURE)
    outputs = [{key: np.array(value) for key, value in runner(image=photo).items()} for photo in photographs]
    return {key: np.concatenate([output[key] for output in outputs]) for key in outputs[0]}


# The tolerances cover what each number format costs this network (1e-6, 0.001, 0.002 to 0.003 with any kernels of
# x86-64 and ARM), many times over; what another processor adds is measured in test_all_formats.py, on a trained
# network.
@pytest.mark.parametrize(
    ("variant", "tolerance"),
    [("float32", 1e-4), ("float16", 2e-2), ("dynamic_int8", 0.15), ("static_int8", 0.15), ("int16x8", 0.15)],
)
def test_probabilities_are_those_of_keras(converted, variant, tolerance):
    _, contents, photographs, _, expected = converted
    outputs = run_all(contents[variant], photographs)
    np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=tolerance)


def test_float32_gives_the_same_heat_map_and_distance(converted):
    _, contents, photographs, _, expected = converted
    outputs = run_all(contents["float32"], photographs)
    np.testing.assert_allclose(outputs["heatmap"], expected["heatmap"], atol=2e-3)
    np.testing.assert_allclose(outputs["ood_distance"], expected["ood_distance"], rtol=2e-3)


@pytest.mark.parametrize(
    ("variant", "tolerance"), [("float32", 1e-5), ("float16", 5e-3), *((variant, 1e-5) for variant in INTEGERS)]
)
def test_no_number_format_changes_the_quality(converted, variant, tolerance):
    _, contents, photographs, _, expected = converted
    assert expected["quality"].std() > 0
    np.testing.assert_allclose(run_all(contents[variant], photographs)["quality"], expected["quality"], atol=tolerance)
    even = np.full_like(photographs[0], 90)  # no detail at all
    black, grey = run_all(contents[variant], [np.zeros_like(even), even])["quality"]
    assert not black.any() and not grey[:3].any() and grey[3] > 0.5


@pytest.mark.parametrize("variant", ["float32", "static_int8"])
def test_xnnpack_takes_the_graph_in_one_piece(converted, variant):
    contents = converted[1]
    found = delegation(contents[variant])
    assert found.partitions == 1
    assert set(found.left) <= {"CAST"}, "only the conversion of the uint8 input stays outside"


def test_int8_is_a_quarter_and_float16_half(converted):
    contents = converted[1]
    size = {variant: len(content) for variant, content in contents.items()}
    assert size["static_int8"] < 0.45 * size["float32"]
    assert size["dynamic_int8"] < 0.45 * size["float32"]
    assert size["float16"] < 0.6 * size["float32"]


def test_input_and_outputs_have_names_and_a_fixed_batch(converted):
    from ai_edge_litert.interpreter import Interpreter

    graph, contents = converted[:2]
    for content in contents.values():
        interpreter = Interpreter(model_content=content)
        signature = interpreter.get_signature_list()
        assert list(signature) == [frozen.SIGNATURE]
        assert signature[frozen.SIGNATURE]["inputs"] == ["image"]
        assert sorted(signature[frozen.SIGNATURE]["outputs"]) == sorted(graph.outputs)
        (detail,) = interpreter.get_input_details()
        assert detail["dtype"] is np.uint8 and list(detail["shape"]) == [1, 96, 96, 3]
        assert list(detail["shape_signature"]) == [1, 96, 96, 3]
        assert all(output["dtype"] is np.float32 for output in interpreter.get_output_details())


def test_dense_layers_of_16_bits_have_one_scale(converted):
    """tflite-runtime 2.14 takes the first of several for all channels, and answers otherwise without a word."""
    from tensorflow.lite.python import schema_py_generated as schema

    graph = (model := schema.ModelT.InitFromPackedBuf(converted[1]["int16x8"])).subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    dense = [
        operation
        for operation in graph.operators
        if codes[operation.opcodeIndex] == schema.BuiltinOperator.FULLY_CONNECTED
        and graph.tensors[operation.inputs[0]].type != schema.TensorType.FLOAT32  # as the photograph's quality is
    ]
    assert len(dense) > 5 and {len(graph.tensors[operation.inputs[1]].quantization.scale) for operation in dense} == {1}


def test_calibration_without_photographs_is_refused(converted):
    with pytest.raises(ValueError, match="int16x8 needs training photographs"):
        tflite_convert.convert_int16x8(converted[3] / "int16", lambda: iter(()))


def test_the_oldest_runtime_is_stated(converted):
    for content in converted[1].values():
        version = tuple(int(part) for part in tflite_convert.minimum_runtime(content).split("."))
        assert (1, 14, 0) <= version <= (2, 14, 0)


def test_flex_operations_are_refused(tmp_path):
    import tensorflow as tf

    with pytest.raises(ValueError, match="float16"):
        tflite_convert.convert_float(tmp_path, "float8")
    function = tf.function(lambda x: tf.strings.length(tf.strings.as_string(x)))
    concrete = function.get_concrete_function(tf.TensorSpec([8], tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(ValueError, match="Flex"):
        tflite_convert.check_operations(converter.convert())
