"""android_bench.tool.obtain: had safely, told apart, called with flags that it knows."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import pytest

from android_bench import matrix
from android_bench.errors import ToolError
from android_bench.tool import obtain

# The flags of both official tools, as their --help prints them.
INTERPRETER = (
    "usage: ./benchmark_model\nFlags:\n" + "".join(
        f"\t--{name}={value}\t{kind}\t{need}\tsome words\n" for name, value, kind, need in (
            ("num_runs", "50", "int32", "optional"), ("min_secs", "1", "float", "optional"),
            ("max_secs", "150", "float", "optional"), ("num_threads", "-1", "int32", "optional"),
            ("warmup_runs", "1", "int32", "optional"), ("warmup_min_secs", "0.5", "float", "optional"),
            ("report_peak_memory_footprint", "false", "bool", "optional"), ("graph", "", "string", "optional"),
            ("enable_op_profiling", "false", "bool", "optional"), ("use_gpu", "false", "bool", "optional"),
            ("op_profiling_output_mode", "stdout", "string", "optional"), ("use_xnnpack", "true", "bool", "optional"),
            ("use_nnapi", "false", "bool", "optional"), ("require_full_delegation", "false", "bool", "optional"),
        )
    )
)  # fmt: skip
COMPILED = (
    "Flags from benchmark:\n  --graph=  --num_runs=50 --min_secs=1 --max_secs=150 --num_threads=-1 --warmup_runs=1\n"
    "  --warmup_min_secs=0.5 --use_cpu=true --use_gpu=false --use_npu=false --use_profiler=false --gpu-precision=fp16\n"
    "  --result_file_path=\n"
)


@pytest.fixture
def served(tmp_path):
    """served(content): an address that answers with these bytes."""
    servers = []

    def serve(content: bytes) -> str:
        directory = tmp_path / "www"
        directory.mkdir()
        (directory / "benchmark_model").write_bytes(content)

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                return

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/benchmark_model"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_path(tmp_path):
    path = tmp_path / "benchmark_model"
    path.write_bytes(b"tool")
    digest = hashlib.sha256(b"tool").hexdigest()
    assert obtain.obtain(str(path), None) == obtain.obtain(str(path), digest.upper()) == path
    with pytest.raises(ToolError, match="sha256"):
        obtain.obtain(str(path), "0" * 64)
    for wrong in (None, "", str(tmp_path / "nothing")):
        with pytest.raises(ToolError, match="LiteRT's 'Benchmark CompiledModel API' have it"):
            obtain.obtain(wrong, None)
    with pytest.raises(ToolError, match="64 hexadecimal"):
        obtain.obtain(str(path), "abc")


def test_an_address_is_fetched_once(served, tmp_path):
    address, digest = served(b"tool" * 1000), hashlib.sha256(b"tool" * 1000).hexdigest()
    path = obtain.obtain(address, digest, tmp_path / "cache")
    assert path.read_bytes() == b"tool" * 1000
    (tmp_path / "www/benchmark_model").unlink()
    assert obtain.obtain(address, digest, tmp_path / "cache") == path
    path.write_bytes(b"damaged in the cache")
    with pytest.raises(ToolError, match="could not be fetched"):
        obtain.obtain(address, digest, tmp_path / "cache")


def test_an_address_that_is_refused(served, tmp_path):
    address = served(b"another tool")
    with pytest.raises(ToolError, match="--tool_sha256"):
        obtain.obtain(address, None, tmp_path / "cache")
    with pytest.raises(ToolError, match="not kept"):
        obtain.obtain(address, "0" * 64, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_told_apart():
    assert obtain.identify(INTERPRETER).kind == "interpreter"
    assert obtain.identify(COMPILED).kind == "compiled_model"
    assert "gpu-precision" in obtain.identify(COMPILED).flags
    for text in ("", "usage: true [ignored arguments]", INTERPRETER + COMPILED):
        with pytest.raises(ToolError, match="no benchmark_model"):
            obtain.identify(text)


def flags(text, cell, sustained=False, **choice):
    return obtain.arguments(
        obtain.identify(text), cell, matrix.Settings(**choice), "/d/m.tflite", ["--x=1"], "/d/r", sustained
    )


@pytest.mark.parametrize(
    ("text", "delegate", "expected"),
    [
        (INTERPRETER, "xnnpack", ["--use_xnnpack=true"]),
        (INTERPRETER, "none", ["--use_xnnpack=false"]),
        (INTERPRETER, "gpu", ["--use_gpu=true"]),
        (INTERPRETER, "nnapi", ["--use_nnapi=true"]),
        (COMPILED, "xnnpack", ["--use_cpu=true"]),
        (COMPILED, "gpu", ["--use_gpu=true", "--use_cpu=true"]),
        (COMPILED, "npu", ["--use_npu=true", "--use_cpu=true", "--result_file_path=/d/r"]),
    ],
)
def test_flags(make_cell, text, delegate, expected):
    found = flags(text, make_cell(4, delegate), runs=70, min_secs=2.5)
    assert set(expected) <= set(found) and found[-1] == "--x=1"
    assert {"--graph=/d/m.tflite", "--num_threads=4", "--num_runs=70", "--min_secs=2.5"} <= set(found)
    assert ("--result_file_path=/d/r" in found) == (text is COMPILED)
    known = obtain.identify(text).flags | {"x"}
    assert all(flag[2:].partition("=")[0] in known for flag in found)


@pytest.mark.parametrize(
    ("text", "delegate", "reason"),
    [
        (INTERPRETER, "npu", "no NPU"),
        (COMPILED, "nnapi", "interpreter tool"),
        (COMPILED, "none", "interpreter tool"),
    ],
)
def test_what_a_tool_cannot(make_cell, text, delegate, reason):
    assert reason in flags(text, make_cell(delegate=delegate))


def test_nnapis_own_cpu_driver_is_left_out_where_it_can_be(make_cell):
    newer = INTERPRETER + "\t--disable_nnapi_cpu=false\tbool\toptional\tsome words\n"
    assert "--disable_nnapi_cpu=true" in flags(newer, make_cell(delegate="nnapi"))
    assert not any("nnapi_cpu" in flag for flag in flags(INTERPRETER, make_cell(delegate="nnapi")))
    assert not any("nnapi_cpu" in flag for flag in flags(newer, make_cell(delegate="gpu")))


def test_an_old_build(make_cell):
    assert "no --max_secs" in flags(INTERPRETER.replace("max_secs", "maximum"), make_cell())


def test_a_sustained_minute_fills_its_minute(make_cell):
    found = flags(INTERPRETER, make_cell(), sustained=True, sustained_minutes=5)
    assert {"--min_secs=60", "--max_secs=60", "--num_runs=1", "--warmup_runs=0"} <= set(found)


def test_profile():
    asked = obtain.profile_arguments(obtain.identify(INTERPRETER))
    assert "--enable_op_profiling=true" in asked and "--op_profiling_output_mode=stdout" in asked
    assert "interpreter tool" in obtain.profile_arguments(obtain.identify(COMPILED))
