"""android_bench.bundle: what is listed is there, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from android_bench import bundle


@pytest.fixture
def copy(bundle_files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_files, tmp_path / "copy"))


def test_reads_every_artifact_with_its_accuracy(bundle_files):
    read = bundle.read_bundle(bundle_files)
    assert [a.key for a in read.artifacts] == ["float32.tflite", "float32.onnx", "dynamic_int8.tflite"]
    assert [a.accuracy["auc"] for a in read.artifacts] == [0.91, 0.90, 0.87]
    assert all(a.path.stat().st_size == a.bytes for a in read.artifacts)
    assert read.accuracy_data == "test split, 80 images"


@pytest.mark.parametrize(
    "only", [["float32.tflite"], ["model.float32.tflite"], ["float32"], ["dynamic_int8", "float32.onnx"]]
)
def test_keeps_what_is_asked_for(bundle_files, only):
    kept = bundle.read_bundle(bundle_files, only).artifacts
    assert kept and all({a.key, a.file, a.variant} & set(only) for a in kept)


def test_says_what_there_is_when_asked_for_something_else(bundle_files):
    with pytest.raises(ValueError, match=r"no artifact int4.*float32\.tflite"):
        bundle.read_bundle(bundle_files, ["int4"])


def test_refuses_an_artifact_that_was_changed(copy):
    path = copy / "model.float32.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="sha256"):
        bundle.read_bundle(copy)


def test_an_artifact_that_is_not_asked_for_may_be_missing(copy):
    (copy / "model.float32.onnx").unlink()
    assert len(bundle.read_bundle(copy, ["dynamic_int8"]).artifacts) == 1
    with pytest.raises(ValueError, match="missing"):
        bundle.read_bundle(copy)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"file": "../model.float32.tflite"}, "the name of a file beside metadata.json"),
        ({"format": "mlmodel"}, "format 'mlmodel'"),
        ({"sha256": None}, "lacks sha256"),
    ],
)
def test_refuses_a_manifest_that_makes_no_sense(copy, change, match):
    manifest = json.loads((copy / "metadata.json").read_text())
    entry = manifest["artifacts"]["float32.tflite"]
    entry.update({key: value for key, value in change.items() if value is not None})
    for key in [key for key, value in change.items() if value is None]:
        del entry[key]
    (copy / "metadata.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=match):
        bundle.read_bundle(copy)


def test_no_bundle_and_no_parity(copy, tmp_path):
    with pytest.raises(ValueError, match="no directory"):
        bundle.read_bundle(tmp_path / "nowhere")
    (copy / "parity.json").unlink()
    read = bundle.read_bundle(copy)
    assert read.accuracy_data is None and not any(a.accuracy for a in read.artifacts)


@pytest.mark.parametrize("rows", [[], {"model.float32.tflite": 0.9}, None])
def test_a_parity_that_says_no_figures_is_refused(copy, rows):
    content = json.loads((copy / "parity.json").read_text())
    (copy / "parity.json").write_text(json.dumps(content | {"artifacts": rows}))
    with pytest.raises(ValueError, match="parity.json says no figures of artifacts"):
        bundle.read_bundle(copy)


def test_a_figure_that_is_no_number_is_none(copy):
    content = json.loads((copy / "parity.json").read_text())
    content["artifacts"]["model.float32.tflite"] |= {"auc": float("nan"), "qwk": "0.9", "accuracy": 0.8}
    (copy / "parity.json").write_text(json.dumps(content))
    assert bundle.read_bundle(copy).artifacts[0].accuracy == {"accuracy": 0.8}


def test_the_metric_is_one_that_all_have():
    assert bundle.accuracy_metric([{"auc": 0.9, "accuracy": 0.8}, {"accuracy": 0.7}]) == "accuracy"
    assert bundle.accuracy_metric([{"auc": 0.9}, {"accuracy": 0.7}]) == "auc"
    assert bundle.accuracy_metric([]) is None
