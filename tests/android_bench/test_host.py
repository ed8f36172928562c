"""android_bench.host: LiteRT and ONNX Runtime, measured here in processes of their own."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from android_bench import bundle, host, host_worker, matrix, rows
from android_bench.errors import CommandFailed, DeviceTimeout

QUICK = matrix.Settings(sessions=2, runs=20, min_secs=0.01, warmup_runs=2, warmup_secs=0.0)


@pytest.fixture
def run(tmp_path):
    """run(cells, settings): the rows, after so many steps of progress."""

    def measure(cells, settings=QUICK):
        steps, found = [], []
        host.measure(cells, settings, tmp_path, rows.Progress(steps.append, steps.append), found)
        return found, steps

    return measure


def test_every_runtime(run, bundle_files, tmp_path):
    cells = matrix.build(bundle.read_bundle(bundle_files).artifacts, [1], ["xnnpack", "none"], [""])
    found, steps = run(cells)
    assert [row["status"] for row in found] == ["ok"] * 5 and len(steps) == 5 * 2
    by_name = {row["name"]: row for row in found}
    fast, plain = by_name["float32.tflite-t1-xnnpack"], by_name["float32.tflite-t1-none"]
    assert fast["actual"]["accelerator"] == "CPU/XNNPACK" and 0 < fast["actual"]["delegated"] <= fast["actual"]["total"]
    assert plain["actual"] == {
        "accelerator": "CPU",
        "delegated": 0,
        "total": fast["actual"]["total"],
        "partitions": 0,
    }
    assert by_name["float32.onnx-t1-none"]["runtime"].startswith("ONNX Runtime")
    for row in found:
        samples = [value for session in row["sessions"] for value in session["samples_ms"]]
        assert len(samples) == row["latency_ms"]["runs"] >= 40
        assert row["latency_ms"]["median"] == pytest.approx(np.median(samples))
        assert row["latency_ms"]["p90"] == pytest.approx(np.quantile(samples, 0.9))
        assert row["memory_mb"]["peak_process"] > 10
        for number, session in enumerate(row["sessions"], 1):
            raw = json.loads((tmp_path / f"{row['name']}.s{number}.json").read_text())
            assert raw["samples_ms"] == session["samples_ms"]
            assert (tmp_path.parent / session["log"]).is_file()
            spec = json.loads((tmp_path / f"{row['name']}.s{number}.spec.json").read_text())
            assert f"{row['name']}.s{number}.spec.json" in session["command"] and str(tmp_path) not in str(spec)


def test_sustained(run, bundle_files):
    cells = matrix.build(bundle.read_bundle(bundle_files, ["float32.tflite"]).artifacts, [1], ["xnnpack"], [""])
    found, steps = run(cells, matrix.Settings(1, 5, 0.0, 1, 0.0, sustained_minutes=3, point_secs=0.3))
    points = found[0]["sustained"]
    assert [round(point["minute"] * 60, 3) for point in points] == [0.3, 0.6, 0.9]
    assert all(point["latency_ms"]["runs"] > 10 for point in points) and len(steps) == 1 + 3


def test_what_this_computer_cannot(run, bundle_files):
    artifacts = bundle.read_bundle(bundle_files, ["float32.tflite"]).artifacts
    cells = matrix.build(artifacts, [1, 64], ["xnnpack", "gpu"], ["", "8000000000000000"])
    found, _ = run(cells[-7:])
    assert {row["status"] for row in found} == {"skipped"}
    reasons = " ".join(row["reason"] for row in found)
    assert "64 threads" in reasons and "--target=adb" in reasons and "names cores" in reasons
    assert all(row["latency_ms"] is None for row in found)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_core_mask(run, bundle_files):
    mask = f"{1 << min(os.sched_getaffinity(0)):x}"
    cells = matrix.build(bundle.read_bundle(bundle_files, ["float32.tflite"]).artifacts, [1], ["none"], [mask])
    found, _ = run(cells, matrix.Settings(1, 5, 0.0, 1, 0.0))
    assert found[0]["status"] == "ok" and found[0]["core_mask"] == mask
    assert host_worker.mask_cores("f0") == {4, 5, 6, 7} and host_worker.mask_cores("5") == {0, 2}


def test_a_model_that_cannot_be_loaded_is_set_aside(run, make_cell, bundle_files):
    cell = make_cell()
    cell.artifact.path.write_bytes(b"no model")
    good = matrix.build(bundle.read_bundle(bundle_files, ["dynamic_int8"]).artifacts, [1], ["none"], [""])
    found, steps = run([cell, *good])
    assert found[0]["status"] == "failed" and "status 1" in found[0]["reason"] and "s1.log" in found[0]["reason"]
    assert found[1]["status"] == "ok" and len(steps) == 4


def test_a_worker_that_never_ends(tmp_path):
    begin = time.monotonic()
    with pytest.raises(DeviceTimeout, match="0.5 s"):
        host._run(["sleep", "30"], tmp_path / "log", 0.5, lambda: None)
    assert time.monotonic() - begin < 10
    with pytest.raises(CommandFailed, match="status 3"):
        host._run(["sh", "-c", "echo why >&2; exit 3"], tmp_path / "log", 5, lambda: None)


def test_delegated_nodes_from_a_graph_in_two_pieces():
    """0 -> A -> 1 -> B -> 2 -> C -> 3 -> D -> 4, constants 10 and 11; the delegate takes {A, B} and {D}."""
    nodes = [
        {"op_name": name, "inputs": inputs, "outputs": outputs}
        for name, inputs, outputs in (
            ("A", [0, 10], [1]), ("B", [1, -1], [2]), ("C", [2], [3]), ("D", [3, 11], [4]),
            ("DELEGATE", [0, 10], [2]), ("DELEGATE", [3, 11], [4]),
        )
    ]  # fmt: skip
    assert host_worker.delegated_nodes(nodes) == {"delegated": 3, "total": 4, "partitions": 2}
    assert host_worker.delegated_nodes(nodes[:4]) == {"delegated": 0, "total": 4, "partitions": 0}


def test_delegated_nodes_as_export_counts_them(bundle_files, run):
    """export/parity/delegation.py finds the nodes that are left; together they are the graph."""
    from export.parity.delegation import delegation

    for variant in ("float32.tflite", "dynamic_int8.tflite"):
        expected = delegation((bundle_files / f"model.{variant}").read_bytes())
        cells = matrix.build(bundle.read_bundle(bundle_files, [variant]).artifacts, [1], ["xnnpack"], [""])
        actual = run(cells, matrix.Settings(1, 5, 0.0, 1, 0.0))[0][0]["actual"]
        assert (actual["delegated"], actual["total"], actual["partitions"]) == (
            expected.delegated,
            expected.total,
            expected.partitions,
        )


def test_the_description_names_this_computer():
    found = host.describe()
    assert found["kind"] == "host" and found["cores"] >= 1 and found["label"]
