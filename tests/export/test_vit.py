"""A vision transformer becomes artifacts of standard operations that answer as Keras, and what is left out is said."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras_hub", reason="keras-hub is not installed: pip install 'dr_edge[vit]'")

pytestmark = pytest.mark.slow

FORMATS = ["float32", "float16", "dynamic_int8", "static_int8", "onnx_float32"]
# The builder's own network, smaller: 2 blocks of 32 numbers for ViT-B/16's 12 of 768, on patches of 16 px.
TINY = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}


def spread(model, images) -> None:
    """Scales the logits to a spread of 1.5 around 0 on `images`: answers that say something, untrained."""
    logits = model.predict_on_batch(images)
    kernel, bias = model.get_layer("logits").get_weights()
    factor = 1.5 / logits.std(axis=0)
    model.get_layer("logits").set_weights([kernel * factor, (bias - logits.mean(axis=0)) * factor])


@pytest.fixture(scope="module")
def vit_run(records, run_on_synthetic, tmp_path_factory):
    """A finished run of a tiny ViT at 96 px, referable DR, with weights that nobody trained."""
    import keras

    from dr_edge.data import pipeline, tasks
    from dr_edge.models import classifiers

    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "VIT_SHAPE", TINY)
        model = classifiers.classifier(96, 2, architecture="vit_b16", hidden=16)
    task = tasks.referable_dr()
    spread(model, next(iter(pipeline.evaluation_batches(records, "train", task, 24)))["image"])
    return run_on_synthetic(tmp_path_factory.mktemp("vit") / "run", task, model)


@pytest.fixture(scope="module")
def exported(vit_run, tmp_path_factory):
    """(bundle directory, content of parity.json) of all FORMATS."""
    from export import settings
    from export.bundle import write

    out = tmp_path_factory.mktemp("vit") / "bundle"
    # The AUC of 16 photographs and a network that nobody trained says nothing; probabilities are compared below.
    loose = settings.Settings(
        calibration_images=8, triton=False, max_auc_drop=dict.fromkeys(settings.MAX_AUC_DROP, 1.0)
    )
    return out, write.export_run(vit_run, out, FORMATS, settings=loose)


def test_every_format_is_made_and_the_missing_heat_map_has_its_reason(exported):
    from dr_edge import metadata
    from export.formats import FORMATS as KNOWN

    out, report = exported
    assert report["not_made"] == {}
    assert set(report["artifacts"]) == {KNOWN[name].file for name in FORMATS}
    assert report["outputs_left_out"].keys() == {"heatmap"}
    assert "no map of features, as in a ViT" in report["outputs_left_out"]["heatmap"]
    content = metadata.read_manifest(out, "bundle")
    assert [output["name"] for output in content["outputs"]] == ["probabilities", "ood_distance"]
    assert "No `heatmap`: the network has no layer cam_features" in (out / "MODEL_CARD.md").read_text()


def test_the_files_hold_standard_operations_only(exported):
    import onnx
    from tensorflow.lite.python import schema_py_generated as schema

    out, _ = exported
    for path in sorted(out.glob("*.tflite")):
        codes = schema.ModelT.InitFromPackedBuf(path.read_bytes()).operatorCodes
        assert [code.customCode for code in codes if code.customCode] == [], path.name
    proto = onnx.load(out / "model.float32.onnx")
    assert {node.domain for node in proto.graph.node} == {""}
    assert "Erf" in {node.op_type for node in proto.graph.node}  # GELU, exact as in Keras


def test_the_files_answer_as_keras(exported, vit_run):
    from dr_edge.data import pipeline
    from dr_edge.runs import load_run
    from export.parity import runtime

    out, report = exported
    run = load_run(vit_run)
    batch = next(iter(pipeline.evaluation_batches(run.records, "test", run.task, 16, photograph=True)))
    images, photographs = batch["image"].numpy(), batch["photograph"].numpy().astype(np.uint8)
    logits = run.model.predict_on_batch(images)
    assert (logits[:, 1] - logits[:, 0]).std() > 0.5
    for name, limit in {"float32": 1e-4, "float16": 5e-3, "dynamic_int8": 0.1, "static_int8": 0.1}.items():
        assert report["artifacts"][f"model.{name}.tflite"]["max_probability_difference"] < limit, name
    assert report["artifacts"]["model.float32.onnx"]["max_probability_difference"] < 1e-4
    # The same by another way: the trained network on the records' own pixels, for two files of two runtimes.
    for name in ("model.float32.tflite", "model.float32.onnx"):
        call = runtime.open_artifact(out / name)
        found = np.concatenate([call(photograph[None])["probabilities"] for photograph in photographs])
        odds = np.log(found[:, 1] / found[:, 0])  # (logits' difference) / temperature
        wanted = logits[:, 1] - logits[:, 0]
        temperature = (wanted @ wanted) / (wanted @ odds)
        # The records hold Graham-normalised pixels rounded to whole grey levels; these weights make much of that.
        np.testing.assert_allclose(odds * temperature, wanted, atol=0.25, err_msg=name)


def test_formats_that_cannot_hold_a_transformer_say_why(vit_run, tmp_path):
    from export import settings
    from export.bundle import write

    wanted = ["float32", "int16x8", "qat_int8"]
    loose = settings.Settings(calibration_images=4, triton=False, max_auc_drop={"float32": 1.0})
    report = write.export_run(vit_run, tmp_path / "bundle", wanted, settings=loose)
    assert list(report["artifacts"]) == ["model.float32.tflite"]
    assert "LiteRT cannot run the graph: SquaredDifference" in report["not_made"]["int16x8"]
    assert "no 8-bit twin for layer 'vi_t_backbone" in report["not_made"]["qat_int8"]
