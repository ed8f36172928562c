"""The demo: the whole chain, small, by its own command; its table; going on where it stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dr_edge import demo, metadata

REPOSITORY = Path(__file__).resolve().parents[1]


def run(out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dr_edge.demo", f"--out={out}", "--images=600", "--image_size=96"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.slow
def test_the_whole_chain_runs_and_a_second_run_starts_at_once(tmp_path):
    out = tmp_path / "demo"
    first = run(out)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    for name in ("float32.tflite", "static_int8.tflite", "float32.onnx"):
        assert f"model.{name}" in first.stdout
    page = (out / "report.html").read_text()
    assert page.count("<img") >= 8 and (out / "sheet.png").is_file()
    for kind, directory in (("dataset", "records"), ("run", "run"), ("bundle", "bundle"), ("bench", "bench")):
        metadata.read_manifest(out / directory, kind)
    evaluation = metadata.read_manifest(out / "run" / "evaluation" / "test", "evaluation")
    lesions = evaluation["heat_maps"]["lesions"]
    # At 160 px it is 2 and more. With cells of 32 px it would be 1.1, and the lesions themselves, so drawn, no more
    # than 1.2.
    assert lesions["cells"] == 12 and lesions["gradcam"]["ratio"] > 1.5
    warning = metadata.read_manifest(out / "bundle", "bundle")["warning"]
    assert "drawn images" in warning and warning in (out / "bundle" / "MODEL_CARD.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "report.html"}
    second = run(out)
    assert second.returncode == 0 and second.stdout.count("stands in") == 7
    assert before == {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "report.html"
    }
    tables = [done.stdout.split("artifact")[-1].split("On drawn")[0] for done in (first, second)]
    assert tables[0] == tables[1] and "static_int8" in tables[0]


def test_the_table_joins_parity_and_latency(tmp_path):
    scores = {"accuracy": 0.9, "auc": 0.95}
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bench").mkdir()
    artifacts = {
        "model.float32.tflite": {**scores, "bytes": 4_500_000, "drop": {"auc": 0.0}},
        "model.static_int8.tflite": {"accuracy": 0.89, "auc": 0.945, "bytes": 1_300_000, "drop": {"auc": 0.005}},
    }
    parity = {
        "split": "test",
        "images": 100,
        "keras": scores,
        "graph": {**scores, "drop": {"auc": 0.0}},
        "artifacts": artifacts,
    }
    metadata.write_manifest(tmp_path / "bundle", "parity", parity)
    rows = [
        {"artifact": {"file": "model.float32.tflite"}, "threads": 1, "status": "ok", "latency_ms": {"median": 5.25}},
        {"artifact": {"file": "model.float32.tflite"}, "threads": 2, "status": "ok", "latency_ms": {"median": 3.0}},
        {"artifact": {"file": "model.static_int8.tflite"}, "threads": 1, "status": "failed", "latency_ms": None},
    ]
    bench = {"bundle": {}, "target": "host", "device": {}, "rows": rows}
    metadata.write_manifest(tmp_path / "bench", "bench", bench)
    lines = demo.as_text(demo.table(tmp_path / "bundle", tmp_path / "bench")).splitlines()
    assert lines[2].split() == ["Keras,", "on", "the", "records", "0.900", "0.9500", "-", "-", "-"]
    assert lines[3].split() == ["Keras,", "as", "exported", "0.900", "0.9500", "-", "-", "-"]
    assert lines[4].split() == ["model.float32.tflite", "0.900", "0.9500", "+0.0000", "4.50", "5.25"]
    assert lines[5].split() == ["model.static_int8.tflite", "0.890", "0.9450", "+0.0050", "1.30", "-"]


def test_other_images_than_those_that_stand_there_are_refused(tmp_path):
    content = {"dataset": "synthetic", "image_size": 64, "preprocess": {}, "labels": {}, "rejected": 1}
    metadata.write_manifest(
        tmp_path, "dataset", {**content, "splits": {"train": {"examples": 150}, "test": {"examples": 49}}}
    )
    demo.check_images(tmp_path, 200, 64)
    demo.check_images(tmp_path / "nothing_yet", 300, 64)
    with pytest.raises(ValueError, match="--images=200 --image_size=64, asked for are 300"):
        demo.check_images(tmp_path, 300, 64)


def test_a_failing_stage_ends_the_demo_with_its_status(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "notes.txt").write_text("mine")
    done = run(tmp_path)
    assert done.returncode != 0 and "tfrecord_tools.build ended with status" in done.stderr
    assert (tmp_path / "records" / "notes.txt").read_text() == "mine"
