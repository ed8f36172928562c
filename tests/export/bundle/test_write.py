"""What stops an export, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from dr_edge import metadata
from export.bundle import artifacts, write
from export.formats import FORMATS, parse_formats
from export.parity import measure
from export.settings import Settings


@pytest.mark.slow
def test_a_wrong_graph_and_a_passed_limit_stop_the_export_and_leave_nothing(run_dir, tmp_path, monkeypatch):
    from export.graph import deployable

    original = deployable.prepare
    # Every photograph comes out grey.
    monkeypatch.setattr(deployable, "prepare", lambda *args: 128.0 + 0.0 * original(*args))
    # Weights that nobody trained do no better than grey: let the network's own row say what a trained one would.
    rows = measure.reference_rows

    def trained(*args):
        made = rows(*args)
        made["graph"]["drop"]["auc"] = 1.0 - made["graph"]["auc"]
        return made

    monkeypatch.setattr(measure, "reference_rows", trained)
    strict = Settings(max_probability_difference={"dynamic_int8": 0.0})
    with pytest.raises(
        write.ParityFailure, match="the deployable graph: the AUC falls by.*; dynamic_int8: a prob"
    ) as caught:
        write.export_run(run_dir, tmp_path / "out", ["float32", "dynamic_int8"], settings=strict)
    assert caught.value.report["graph"]["auc"] == 0.5
    assert caught.value.report["artifacts"]["model.float32.tflite"]["max_probability_difference"] < 1e-4
    assert "\n- Leave it out: --formats=float32" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_not_touched(exported, run_dir, loose):
    out, _ = exported
    with pytest.raises(FileExistsError):
        write.export_run(run_dir, out, ["float32"], settings=loose)
    assert metadata.read_manifest(out, "bundle")


def test_an_unfinished_run_is_refused(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    content = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**content, "status": "running"}))
    with pytest.raises(metadata.ManifestError, match="not 'finished'"):
        write.export_run(copy, tmp_path / "out", ["float32"])
    (copy / "run.json").write_text(json.dumps({**content, "preprocess": {"method": "graham", "disc": 0.5}}))
    with pytest.raises(ValueError, match="Build the records again"):
        write.export_run(copy, tmp_path / "out", ["float32"])
    with pytest.raises(metadata.ManifestError, match="dataset.json"):
        (copy / "run.json").write_text(json.dumps(content))
        write.export_run(copy, tmp_path / "out", ["float32"], records=tmp_path)


def test_formats_are_checked():
    assert [fmt.name for fmt in parse_formats([])] == [name for name, fmt in FORMATS.items() if fmt.default]
    assert [fmt.name for fmt in parse_formats(["onnx_float32", " float32"])] == ["float32", "onnx_float32"]
    with pytest.raises(ValueError, match="int4.*Known: float32"):
        parse_formats(["int4"])


def test_keras_multiplies_in_whole_float32_while_a_bundle_is_made(run_dir, tmp_path, monkeypatch):
    """A GPU's TensorFloat-32 would put 1e-3 between Keras and a float32 artifact, of which 1e-4 are permitted."""
    import tensorflow as tf

    asked = tf.config.experimental.tensor_float_32_execution_enabled
    allowed = []

    def stop(*given):
        allowed.append(asked())
        raise FloatingPointError("enough was seen")

    monkeypatch.setattr(measure, "reference", stop)
    assert asked()
    with pytest.raises(FloatingPointError, match="enough"):
        write.export_run(run_dir, tmp_path / "out", ["float32"])
    assert asked() and allowed == [False]


def test_nan_fails():
    outputs = {"probabilities": np.array([[0.5, 0.5], [np.nan, 0.5]], np.float32)}
    with pytest.raises(FloatingPointError, match="1 of 2 images .first: number 1"):
        measure.check_finite(outputs, "model.static_int8.tflite")


@pytest.mark.slow
def test_an_unknown_operating_point_is_named(run_dir, tmp_path):
    with pytest.raises(ValueError, match="operating_point = 'best'. Known: youden"):
        write.export_run(run_dir, tmp_path / "out", ["float32"], settings=Settings(operating_point="best"))


@pytest.mark.slow
def test_a_triton_model_that_answers_otherwise_stops_the_export(run_dir, loose, tmp_path, monkeypatch):
    original = artifacts._build
    shifted = lambda run, fit, target: original(run, dataclasses.replace(fit, temperature=3 * fit.temperature), target)  # noqa: E731
    monkeypatch.setattr(
        artifacts, "_build", lambda run, fit, target: (original if target.batch else shifted)(run, fit, target)
    )
    with pytest.raises(write.ParityFailure, match="triton: in a batch of 8"):
        write.export_run(run_dir, tmp_path / "out", ["onnx_float32"], settings=loose)
    assert not (tmp_path / "out").exists()
