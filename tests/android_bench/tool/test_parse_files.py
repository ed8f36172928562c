"""android_bench.tool.parse_files: the result protobuf against Google's protobuf library, litert-benchmark's JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from android_bench.errors import ParseError
from android_bench.tool import parse_files

FLOAT, INT64, INT32, STRING, MESSAGE = 2, 3, 5, 9, 11
MESSAGES = {
    "LatencyMetrics": [
        ("avg_ms", FLOAT), ("min_ms", FLOAT), ("max_ms", FLOAT), ("stddev_ms", FLOAT), ("median_ms", FLOAT),
        ("p5_ms", FLOAT), ("p95_ms", FLOAT), ("init_ms", FLOAT), ("first_inference_ms", FLOAT),
        ("average_warm_up_ms", FLOAT), ("a_field_of_the_future", STRING),
    ],
    "MemoryMetrics": [("init_footprint_kb", INT64), ("overall_footprint_kb", INT64), ("peak_mem_mb", FLOAT)],
    "MiscMetrics": [
        ("model_size_mb", FLOAT), ("num_runs", INT32), ("num_warmup_runs", INT32), ("throughput", FLOAT),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def message():
    file = descriptor_pb2.FileDescriptorProto(name="benchmark_result.proto", package="t", syntax="proto2")
    for name, fields in MESSAGES.items():
        made = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            made.field.add(name=field, number=number, label=1, type=kind)
    result = file.message_type.add(name="BenchmarkResult")
    result.field.add(name="name", number=1, label=1, type=STRING)
    for number, (field, kind) in enumerate(zip(("latency", "memory", "misc"), MESSAGES, strict=True), 2):
        result.field.add(name=field, number=number, label=1, type=MESSAGE, type_name=f".t.{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.BenchmarkResult"))


def filled(message, mean=14.5, low=14.0, high=16.25, runs=50, median=14.25):
    result = message(name="model")
    latency = result.latency
    latency.avg_ms, latency.min_ms, latency.max_ms, latency.stddev_ms = mean, low, high, 0.5
    latency.median_ms, latency.p5_ms, latency.p95_ms = median, 14.125, 15.5
    latency.init_ms, latency.first_inference_ms = 3.5, 18.5
    latency.a_field_of_the_future = "passed over"
    result.memory.init_footprint_kb, result.memory.overall_footprint_kb, result.memory.peak_mem_mb = (
        -1024,
        7424,
        41.5,
    )
    result.misc.num_runs, result.misc.num_warmup_runs = runs, 5
    return result


def test_reads_what_googles_library_writes(message):
    found = parse_files.parse_result(filled(message).SerializeToString())
    assert found["latency_ms"] == {
        "median": 14.25, "p5": 14.125, "p95": 15.5, "min": 14.0, "max": 16.25,
        "p90": None, "mean": 14.5, "std": 0.5, "runs": 50,
    }  # fmt: skip
    assert (found["init_ms"], found["first_ms"], found["warmup_runs"]) == (3.5, 18.5, 5)
    assert found["memory_mb"] == {"init": -1.0, "overall": 7.25, "peak_process": 41.5}


def test_cut_off_anywhere(message):
    data = filled(message).SerializeToString()
    whole = parse_files.parse_result(data)
    for end in range(len(data)):
        try:
            found = parse_files.parse_result(data[:end])
        except ParseError:
            continue
        assert found["latency_ms"] == whole["latency_ms"]


@given(st.binary(max_size=300))
def test_any_bytes_are_an_error(data):
    with pytest.raises(ParseError):
        parse_files.parse_result(data)


@pytest.mark.parametrize(
    "choice",
    [
        {"mean": 99.0},
        {"low": 15.0},
        {"runs": 0},
        {"mean": float("nan")},
        {"median": 15.75},
        {"median": 900.0},
    ],
)
def test_contradictions(message, choice):
    with pytest.raises(ParseError):
        parse_files.parse_result(filled(message, **choice).SerializeToString())


def test_two_runs_in_one_file(message):
    one, other = filled(message), filled(message, mean=15.0)
    with pytest.raises(ParseError, match="twice"):
        parse_files.parse_result(one.SerializeToString() + other.SerializeToString())


def test_litert_benchmarks_own_json(bundle_files, tmp_path):
    """Made by the real program of the ai-edge-litert package, so that its keys are the ones of this release."""
    path = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", f"--result_json={path}",
         f"--model={bundle_files / 'model.float32.tflite'}", "--num_runs=20", "--warmup_runs=2"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    found = parse_files.parse_litert_json(path.read_text())
    assert found["latency_ms"]["median"] == written["latency"]["median_ms"]
    assert found["latency_ms"]["runs"] == 20 and found["warmup_runs"] == 2 and found["threads"] == 1
    assert found["accelerators"] == ["CPU"]
    text = path.read_text()
    for end in range(len(text.rstrip())):
        with pytest.raises(ParseError):
            parse_files.parse_litert_json(text[:end])


@pytest.mark.parametrize(
    "change",
    [
        {"avg_ms": "3"},
        {"avg_ms": None},
        {"avg_ms": 900.0},
        {"num_runs": 0},
        {"num_runs": 1.5},
        {"min_ms": True},
        {"avg_ms": 10**400},
        {"median_ms": 900.0},
        {"std_ms": -1.0},
    ],
)
def test_json_that_makes_no_sense(change):
    latency = dict.fromkeys(
        (
            "init_ms",
            "warmup_first_ms",
            "avg_ms",
            "min_ms",
            "max_ms",
            "median_ms",
            "std_ms",
            "p5_ms",
            "p95_ms",
        ),
        2.0,
    )
    latency.update(num_runs=5, num_warmup_runs=1)
    content = {"accelerators": ["CPU"], "fully_accelerated": True, "num_threads": 1, "latency": latency}
    assert parse_files.parse_litert_json(json.dumps(content))["latency_ms"]["mean"] == 2.0
    for damage in ({"accelerators": "CPU"}, {"fully_accelerated": "maybe"}):
        with pytest.raises(ParseError):
            parse_files.parse_litert_json(json.dumps(content | damage))
    latency.update(change)
    with pytest.raises(ParseError):
        parse_files.parse_litert_json(json.dumps(content))


def test_json_that_never_ends():
    with pytest.raises(ParseError):
        parse_files.parse_litert_json('{"latency":' * 100_000)


@given(st.text(max_size=100))
def test_any_text_is_an_error(text):
    with pytest.raises(ParseError):
        parse_files.parse_litert_json(text)


def test_a_path_that_is_none(tmp_path: Path):
    from android_bench import read

    with pytest.raises(ValueError, match="no file"):
        read.read_file(tmp_path / "nothing")
    (tmp_path / "noise.txt").write_text("hello\n")
    with pytest.raises(ParseError, match="no whole log"):
        read.read_file(tmp_path / "noise.txt")


def test_read_tells_the_formats_apart(message, tmp_path: Path):
    import tool_output

    from android_bench import read

    (tmp_path / "a").write_bytes(filled(message).SerializeToString())
    (tmp_path / "b").write_text(tool_output.interpreter([9, 8], [5, 6, 7]))
    (tmp_path / "c").write_text("".join(tool_output.compiled_model([9, 8], [5, 6, 7])))
    formats = [read.read_file(tmp_path / name)["format"] for name in "abc"]
    assert formats == ["result protobuf", "log of the interpreter tool", "log of the compiled_model tool"]
    assert json.loads(read.main([str(tmp_path / "b")]))["latency_ms"]["runs"] == 3
    with pytest.raises(ValueError, match="one file"):
        read.main([])
