"""android_bench.matrix: the combinations, and what cannot be asked for."""

from __future__ import annotations

import pytest

from android_bench import matrix


def test_every_combination(make_cell):
    artifacts = [make_cell().artifact, make_cell(variant="static_int8").artifact]
    cells = matrix.build(artifacts, [1, 4], ["xnnpack", "gpu"], ["", "f0"])
    assert len(cells) == len({cell.name for cell in cells}) == 16
    assert cells[0].name == "float32.tflite-t1-xnnpack" and cells[-1].name == "static_int8.tflite-t4-gpu-f0"


def test_onnx_has_no_delegates(make_cell):
    cells = matrix.build([make_cell(kind="onnx").artifact], [1, 2], ["xnnpack", "gpu"], [""])
    assert [(cell.delegate, cell.threads) for cell in cells] == [("none", 1), ("none", 2)]


@pytest.mark.parametrize(
    ("threads", "delegates", "masks", "match"),
    [
        ([0], ["none"], [""], "--threads"),
        ([65], ["none"], [""], "--threads"),
        ([1], ["coreml"], [""], "No delegate coreml"),
        ([1], ["none"], ["zz"], "core mask"),
        ([1], ["none"], ["00"], "core mask"),
        ([1], ["none"], ["f0; reboot"], "core mask"),
        ([1, 1], ["none"], [""], "none twice"),
        ([], ["none"], [""], "at least one"),
        ([1], [], [""], "at least one"),
    ],
)
def test_refuses(make_cell, threads, delegates, masks, match):
    with pytest.raises(ValueError, match=match):
        matrix.build([make_cell().artifact], threads, delegates, masks)


@pytest.mark.parametrize(
    "change",
    [
        {"sessions": 0},
        {"runs": 0},
        {"min_secs": -1},
        {"timeout_secs": 0},
        {"sustained_minutes": -1},
        {"min_secs": 400},
    ],
)
def test_settings_that_measure_nothing(change):
    with pytest.raises(ValueError, match="--"):
        matrix.Settings(**change).check()
    matrix.Settings().check()


def test_a_row_set_aside_keeps_no_figure(make_cell):
    row = matrix.empty_row(make_cell(), "phone")
    row["latency_ms"] = {"median": 1.0}
    matrix.set_aside(row, "failed", "why")
    assert (row["status"], row["reason"], row["latency_ms"]) == ("failed", "why", None)
