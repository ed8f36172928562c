"""One artifact, one session, one process: loads the model, warms up, times each run. Started by host.py.

    python -m android_bench.host_worker SPEC.json RESULT.json BUNDLE

Raw samples go to RESULT.json under a temporary name first, so that a killed worker leaves no half of one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from android_bench import stats
from dr_edge import metadata


def main(spec_path: str, result_path: str, bundle: str) -> None:
    """Measures what the JSON in `spec_path` describes (host.py writes it) and writes the JSON `result_path`.

    Args:
      spec_path: names the model by its file in `bundle`.
      result_path: the file to write.
      bundle: the directory of the model.
    """
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    spec["model"] = str(Path(bundle, spec["model"]))
    if spec["core_mask"]:
        # Before the runtime is imported: its thread pool inherits the mask.
        os.sched_setaffinity(0, mask_cores(spec["core_mask"]))
    open_model = {"tflite": _open_tflite, "onnx": _open_onnx}[spec["format"]]
    init_ms, invoke, memory_start, runtime, actual = open_model(spec)
    memory_init = _resident_mb()
    first_ms = _timed(invoke)
    warm_up = _repeat(invoke, spec["warmup_runs"], spec["warmup_secs"])
    result: dict[str, Any] = {
        "runtime": runtime,
        "actual": actual,
        "init_ms": init_ms,
        "first_ms": first_ms,
        "warmup_runs": len(warm_up),
        "points": [],
    }
    if spec["points"]:
        result["points"] = _sustain(invoke, spec["points"], spec["point_secs"])
        result["samples_ms"] = []
    else:
        result["samples_ms"] = _repeat(invoke, spec["runs"], spec["min_secs"])
    result["memory_mb"] = {
        "init": _difference(memory_init, memory_start),
        "overall": _difference(_resident_mb(), memory_start),
        "peak_process": _resident_mb("VmHWM"),
    }
    metadata.write_json(result_path, result)


def mask_cores(mask: str) -> set[int]:
    """Returns the cores of a hexadecimal mask as taskset takes it: 'f0' -> {4, 5, 6, 7}."""
    bits = int(mask, 16)
    return {core for core in range(bits.bit_length()) if bits >> core & 1}


def delegated_nodes(operators: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Counts the graph's nodes that a delegate runs.

    The interpreter lists the original nodes and, behind them, one DELEGATE node per partition that replaces
    some of them. A partition lists every tensor that it reads from outside, constants too; so the nodes
    between its outputs and these are its own.

    Args:
      operators: `Interpreter._get_ops_details()`: dicts with op_name, inputs, outputs (tensor indices).

    Returns:
      delegated, total, partitions.
    """
    partitions = [op for op in operators if op["op_name"] == "DELEGATE"]
    nodes = [op for op in operators if op["op_name"] != "DELEGATE"]
    producer = {int(tensor): number for number, op in enumerate(nodes) for tensor in op["outputs"]}
    taken: set[int] = set()
    for partition in partitions:
        outside = {int(tensor) for tensor in partition["inputs"]}
        wanted = [int(tensor) for tensor in partition["outputs"]]
        while wanted:
            number = producer.get(wanted.pop())
            if number is None or number in taken:
                continue
            taken.add(number)
            wanted += [int(tensor) for tensor in nodes[number]["inputs"] if int(tensor) not in outside]
    return {"delegated": len(taken), "total": len(nodes), "partitions": len(partitions)}


def _open_tflite(
    spec: Mapping[str, Any],
) -> tuple[float, Callable[[], object], float | None, str, dict[str, Any]]:
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = (
        OpResolverType.AUTO if spec["delegate"] == "xnnpack" else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    memory = _resident_mb()
    begin = time.perf_counter_ns()
    interpreter = Interpreter(
        model_path=spec["model"], num_threads=spec["threads"], experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    init_ms = (time.perf_counter_ns() - begin) / 1e6
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _input(detail["shape"], detail["dtype"], detail["name"]))
    nodes = delegated_nodes(interpreter._get_ops_details())
    actual = {"accelerator": "CPU/XNNPACK" if nodes["delegated"] else "CPU", **nodes}
    return init_ms, interpreter.invoke, memory, f"LiteRT {version('ai-edge-litert')}", actual


def _open_onnx(
    spec: Mapping[str, Any],
) -> tuple[float, Callable[[], object], float | None, str, dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec["threads"]
    options.inter_op_num_threads = 1
    memory = _resident_mb()
    begin = time.perf_counter_ns()
    session = onnxruntime.InferenceSession(spec["model"], options, providers=["CPUExecutionProvider"])
    init_ms = (time.perf_counter_ns() - begin) / 1e6
    feeds = {}
    for item in session.get_inputs():
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in item.shape]
        feeds[item.name] = _input(shape, _onnx_dtype(item.type), item.name)
    actual = {"accelerator": "CPU", "delegated": None, "total": None, "partitions": None}
    return (
        init_ms,
        lambda: session.run(None, feeds),
        memory,
        f"ONNX Runtime {onnxruntime.__version__}",
        actual,
    )


def _onnx_dtype(name: str) -> str:
    known = {"float": "float32", "float16": "float16", "double": "float64"}
    inner = name.removeprefix("tensor(").removesuffix(")")
    return known.get(inner, inner)


def _input(shape: Sequence[int], dtype: Any, name: str) -> Any:
    """Returns a fixed pseudo-random input: [shape] of `dtype`, integers over the type's 8-bit range, floats in 0..1."""
    import numpy as np

    dtype = np.dtype(dtype)
    rng = np.random.default_rng(20261120)
    if np.issubdtype(dtype, np.floating):
        return rng.random(tuple(shape)).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return rng.integers(max(info.min, -128), min(info.max, 255), tuple(shape), endpoint=True).astype(dtype)
    raise ValueError(f"Input {name!r} has type {dtype}; only integer and float inputs can be filled here.")


def _timed(invoke: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    invoke()
    return (time.perf_counter_ns() - begin) / 1e6


def _repeat(invoke: Callable[[], object], runs: int, seconds: float) -> list[float]:
    """Times at least `runs` runs and at least `seconds` seconds; returns milliseconds."""
    end = time.perf_counter() + seconds
    samples: list[float] = []
    while len(samples) < runs or time.perf_counter() < end:
        samples.append(_timed(invoke))
    return samples


def _sustain(invoke: Callable[[], object], points: int, seconds: float) -> list[dict[str, Any]]:
    """Runs without a pause; returns one summary per stretch of `seconds`, and tells the parent about each."""
    found: list[dict[str, Any]] = []
    begin = time.perf_counter()
    for number in range(points):
        samples = _repeat(invoke, 1, begin + (number + 1) * seconds - time.perf_counter())
        found.append({"minute": (number + 1) * seconds / 60, "latency_ms": stats.summarise(samples)})
        print(f"point {number + 1}/{points}", flush=True)
    return found


def _resident_mb(field: str = "VmRSS") -> float | None:
    """Returns this process's memory in MB (`VmRSS` now, `VmHWM` at its highest), None where /proc is not Linux's."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    for line in status.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return None


def _difference(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier


if __name__ == "__main__":
    main(*sys.argv[1:])
