"""Quantisation-aware training without its extra."""

from __future__ import annotations

import sys

import pytest

from export.bundle import write


@pytest.mark.parametrize("package", ["tensorflow_model_optimization", "tf_keras"])
@pytest.mark.parametrize("formats", [["float32", "qat_int8"], ["all"]])
def test_the_install_command_is_said_before_anything_is_made(package, formats, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "export.qat.tfmot", raising=False)
    with pytest.raises(RuntimeError, match=rf'{package}.*pip install "dr_edge\[qat\]"'):
        write.export_run(tmp_path / "no such run", tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_other_formats_do_not_need_it(run_dir, monkeypatch, tmp_path):
    for package in ("tensorflow_model_optimization", "tf_keras"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in ("export.qat.tfmot", "export.qat.twin"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    loose = write.Settings(calibration_images=8, max_auc_drop=1.0, max_graph_auc_drop=1.0)
    report = write.export_run(run_dir, tmp_path / "out", ["float32", "static_int8"], settings=loose)
    assert set(report["artifacts"]) == {"model.float32.tflite", "model.static_int8.tflite"}
