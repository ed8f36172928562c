"""Bundles of masks and of several diseases, from end to end, and formats that cannot hold a network."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from dr_edge import metadata, runs
from dr_edge.data import tasks
from dr_edge.evaluation import flow
from dr_edge.evaluation.number_text import number
from dr_edge.models import unet
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export import photographs
from export.bundle import write
from export.graph.deployable import SERVER, deployable_graph
from export.graph.heads import elementwise_tail
from export.onnx import convert as onnx_convert
from export.parity import runtime
from export.settings import Settings

SIZE = 96  # of the drawn records


LOOSE = Settings(
    calibration_images=8, max_auc_drop=1.0, max_dice_drop=1.0, max_graph_auc_drop=1.0, max_graph_dice_drop=1.0
)


@pytest.fixture(scope="module")
def mask_bundle(run_on_synthetic, tmp_path_factory):
    """A UNet that nobody trained, fine-tuned for a moment by the loss that its run names."""
    import gin

    keras.utils.set_random_seed(0)
    task = tasks.optic_disc_and_cup()
    block = unet.ConvolutionBlock()
    model = unet.unet(SIZE, 2, encoder=lambda x: unet.plain_encoder(x, depth=2, width=8), prior=0.3, block=block)
    directory = tmp_path_factory.mktemp("masks")
    run = run_on_synthetic(directory / "run", task, model)
    (run / "config.gin").write_text("train.loss = @losses.bce_dice()\n")
    with gin.unlock_config():
        gin.bind_parameter("export.qat.epochs", 1)
    try:
        formats = ["float32", "static_int8", "qat_int8", "onnx_float32"]
        return run, directory / "bundle", write.export_run(run, directory / "bundle", formats, settings=LOOSE)
    finally:
        gin.clear_config()


@pytest.mark.slow
def test_a_mask_bundle_is_compared_by_dice_and_vcdr(mask_bundle):
    run, out, report = mask_bundle
    content = metadata.read_manifest(out, "bundle")
    loaded = runs.load_run(run)
    count = metadata.read_manifest(loaded.records, "dataset")["splits"]["val"]["examples"]
    validation = list(photographs.StoredPhotographs(loaded.records, "val", loaded.task, count))
    shapes = {output["name"]: output["shape"] for output in content["outputs"]}
    assert shapes == {"masks": [1, SIZE, SIZE, 2], "ood_distance": [1, 1], "quality": [1, 6]}
    assert report["not_made"] == {} and set(report["outputs_left_out"]) == {"heatmap"}
    assert content["ood"]["threshold"] > 0 and "reason" not in content["ood"]
    for name, row in report["artifacts"].items():
        assert {"dice optic disc", "dice optic cup", "vcdr_accuracy"} <= set(row["drop"]), name
        assert row["max_probability_difference"] < 1e-4 if "float32" in name else row["agreement"] > 0.9, name
        assert row["max_quality_difference"] < 1e-4, name
        # 8 bits shift the features of a UNet's maps, and all distances alike: each artifact has a threshold of its own.
        assert "float32" not in name or row["ood_relative_difference"] < 1e-3, name
        assert row["ood"]["photographs"] == len(validation), name
        distances = [float(runtime.open_artifact(out / name)(each)["ood_distance"][0, 0]) for each in validation]
        assert row["ood"]["threshold"] == pytest.approx(np.quantile(distances, 0.99), rel=1e-4), name
        entry = next(entry for entry in content["artifacts"].values() if entry["file"] == name)
        assert (
            entry["ood"]["threshold"] == row["ood"]["threshold"] and entry["ood"]["method"] == content["ood"]["method"]
        )
    assert report["finetuning"]["kept_epoch"] in (0, 1)
    page = (out / "parity.html").read_text()
    assert "Dice of the optic disc" in page and "Photographs with another answer" not in page
    card = (out / "MODEL_CARD.md").read_text()
    assert "probability is calibrated" not in card and "vcdr_" not in card
    for name, row in report[
        "artifacts"
    ].items():  # whose threshold, and how many of the judged photographs lie beyond it
        assert re.search(
            rf"\| {name} \|.*\| {number(row['ood']['threshold'])} \| {100 * row['ood_beyond']:.1f} % \|", card
        ), name
    for name in ("Dice of the optic disc", "Dice of the optic cup"):
        assert re.search(rf"- {name}: 0\.\d+ \(95 % interval 0\.\d+ to 0\.\d+\)", card), name
    error = re.search(
        r"cup-to-disc ratio .*: mean absolute error (\S+) \(95 % interval (\S+) to (\S+)\); found on", card
    )
    value, low, high = (float(error[index]) for index in (1, 2, 3))
    assert low <= value <= high and value == pytest.approx(1 - report["keras"]["vcdr_accuracy"], abs=6e-4)
    assert content["warning"] is None  # these records do not say `synthetic`: tests/test_demo.py has those
    assert content["training"]["classes"]["train"] == {"optic disc": 24, "optic cup": 24}
    assert "| split | photographs | optic disc | optic cup |" in card
    masks = np.load(out / "test_vectors" / "drawn_grade2.masks.npy")
    assert masks.shape == (1, SIZE, SIZE, 2) and 0 <= masks.min() < masks.max() <= 1


@pytest.mark.slow
def test_run_and_bundle_are_judged_against_the_same_constant_answer(mask_bundle):
    run, _, report = mask_bundle
    evaluated, exported = flow.evaluate(run, flow.Settings(examples=0))["verdict"], report["verdict"]
    assert [part["name"] for part in evaluated["parts"]] == ["vertical cup-to-disc ratio", "optic disc", "optic cup"]
    (ratio, *own), (exported_ratio, *others) = evaluated["parts"], exported["parts"]
    # How far a network that nobody trained is off from it says nothing.
    assert ratio["constant"] == exported_ratio["constant"]
    for one, other in zip(own, others, strict=True):
        assert one["baseline_value"] == pytest.approx(other["baseline_value"], abs=1e-6)
        assert one["value"] == pytest.approx(other["value"], abs=0.02) and one["status"] == other["status"]
    assert evaluated["status"] == exported["status"] and "the median of the validation photographs" in exported["text"]


@pytest.mark.slow
def test_a_bundle_of_several_diseases(run_on_synthetic, tmp_path):
    task = tasks.diseases(("glaucoma",))
    keras.utils.set_random_seed(0)
    run = run_on_synthetic(tmp_path / "run", task, resnet_v2_slim(SIZE, 1))
    report = write.export_run(run, tmp_path / "out", ["float32", "static_int8"], settings=LOOSE)
    assert report["artifacts"]["model.float32.tflite"]["drop"]["auc"] == pytest.approx(0, abs=1e-6)
    assert "heatmap" not in report["outputs_left_out"] and (tmp_path / "out" / "parity.html").stat().st_size > 10_000
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "| train | 24 | 12 of 24 |" in card and re.search(r"- glaucoma: AUC \S+ \(95 % interval", card)


def test_calibration_sees_the_healthy_too(records):
    task = tasks.diseases(("glaucoma",))
    labels = [int(value) for value in _glaucoma_of(photographs.training_photographs(records, task, 6), records, task)]
    assert sorted(labels[:2]) == [0, 1] and labels.count(0) == labels.count(1) == 3


def _glaucoma_of(chosen, records, task):
    from dr_edge.data import pipeline

    known = {}
    for batch in pipeline.evaluation_batches(records, "train", task, 24, photograph=True):
        for photograph, label in zip(batch["photograph"].numpy(), batch["label"].numpy(), strict=True):
            known[photograph.tobytes()] = label[0]
    return [known[photograph[0].tobytes()] for photograph in chosen]


def test_what_onnx_cannot_hold_is_named(run_on_synthetic, tmp_path):
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(4, 5, strides=8, name="cam_features")(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D(name="penultimate")(x)
    logits = layers.Dense(2, name="logits")(ops.erfinv(ops.tanh(x) * 0.9))
    model = keras.Model(inputs, logits)
    with pytest.raises(onnx_convert.NotExpressibleError):
        onnx_convert.convert_float32(
            deployable_graph(model, kind="classification", preprocess={"method": "crop"}, target=SERVER).model
        )
    run = run_on_synthetic(tmp_path / "run", tasks.referable_dr(), model)
    with pytest.raises(ValueError, match="None of the formats"):
        write.export_run(run, tmp_path / "out", ["onnx_float32"], settings=LOOSE)
    assert not (tmp_path / "out").exists()


def test_only_the_joins_before_the_last_map_stay_in_floating_point(run_dir):
    assert all("conv" not in name.lower() for name in elementwise_tail(runs.load_run(run_dir).model))
    inputs = keras.Input((32, 32, 3))
    trunk = layers.ReLU(name="out_relu")(layers.Conv2D(8, 3, name="Conv_1")(inputs))
    gate = layers.Activation("sigmoid", name="gate")(layers.Conv2D(8, 1, name="gate_conv")(trunk))
    features = layers.Add(name="cam_features")([trunk, layers.Multiply(name="times")([trunk, gate])])
    pooled = layers.GlobalAveragePooling2D(name="penultimate")(features)
    model = keras.Model(inputs, layers.Dense(2, name="logits")(pooled))
    assert set(elementwise_tail(model)) == {"cam_features", "times"}
