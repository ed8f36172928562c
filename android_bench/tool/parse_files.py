"""Reads the files that benchmark tools leave: the result protobuf of both official tools, litert-benchmark's JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from google.protobuf.message import DecodeError, Message

from android_bench.errors import ParseError
from android_bench.tool.benchmark_result_pb2 import BenchmarkResult


def parse_result(data: bytes) -> dict[str, Any]:
    """Reads the file of `--result_file_path`.

    Returns:
      the same keys as parse.parse_output.

    Raises:
      ParseError: cut off, not such a file, or without the figures that every build writes.
    """
    result = _decode(data)
    latency, memory, misc = (_figures(part) for part in (result.latency, result.memory, result.misc))
    missing = [name for name in ("avg_ms", "min_ms", "max_ms", "stddev_ms") if name not in latency]
    missing += [name for name in ("num_runs",) if name not in misc]
    if missing:
        raise ParseError(f"The result file lacks {', '.join(missing)}; it is cut off or of another tool.")
    found: dict[str, Any] = {
        "latency_ms": {
            **{name: latency.get(f"{name}_ms") for name in ("median", "p5", "p95", "min", "max")},
            "p90": None,
            "mean": latency["avg_ms"],
            "std": latency["stddev_ms"],
            "runs": misc["num_runs"],
        },
        "init_ms": latency.get("init_ms"),
        "first_ms": latency.get("first_inference_ms"),
        "warmup_runs": misc.get("num_warmup_runs"),
        "memory_mb": {
            "init": _megabytes(memory.get("init_footprint_kb")),
            "overall": _megabytes(memory.get("overall_footprint_kb")),
            "peak_process": memory.get("peak_mem_mb"),
        },
    }
    _check_latency(found["latency_ms"], "The result file")
    return found


def parse_litert_json(text: str) -> dict[str, Any]:
    """Reads what `litert-benchmark --result_json` writes.

    Returns:
      the same keys as parse.parse_output, `accelerators` (asked for) and `fully_accelerated`.

    Raises:
      ParseError: no JSON, or without the figures.
    """
    try:
        content = json.loads(text)
        latency = content["latency"]
        found: dict[str, Any] = {
            "latency_ms": {
                **{name: _number(latency, f"{name}_ms") for name in ("median", "p5", "p95", "min", "max", "std")},
                "p90": None,
                "mean": _number(latency, "avg_ms"),
                "runs": _whole(latency, "num_runs"),
            },
            "init_ms": _number(latency, "init_ms"),
            "first_ms": _number(latency, "warmup_first_ms"),
            "warmup_runs": _whole(latency, "num_warmup_runs"),
            "memory_mb": {"init": None, "overall": None, "peak_process": None},
            "accelerators": _names(content, "accelerators"),
            "fully_accelerated": _truth(content, "fully_accelerated"),
            "threads": _whole(content, "num_threads"),
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as err:
        raise ParseError(f"This is no whole JSON of litert-benchmark ({type(err).__name__}: {err}).") from err
    _check_latency(found["latency_ms"], "The JSON")
    return found


def _decode(data: bytes) -> BenchmarkResult:
    """Decodes the message; fields of newer builds are passed over, damage is an error."""
    try:
        message = BenchmarkResult.FromString(data)
    except DecodeError as err:
        raise ParseError(f"The result file is cut off or damaged ({err}).") from err
    if message.ByteSize() != len(data):  # protobuf merges a field that stands there twice
        raise ParseError("The result file holds a field twice: it is of two runs, or damaged.")
    return message


def _figures(message: Message) -> dict[str, Any]:
    """Returns the fields that a message holds; a number that is not finite is an error."""
    found = {field.name: value for field, value in message.ListFields()}
    for name, value in found.items():
        if not math.isfinite(value):
            raise ParseError(f"The result file holds {value} as {name}.")
    return found


def _megabytes(kilobytes: int | None) -> float | None:
    return None if kilobytes is None else kilobytes / 1024


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}")
    return float(value)


def _whole(content: Mapping[str, Any], name: str) -> int:
    value = _number(content, name)
    if value != int(value):
        raise ValueError(f"{name} is {value!r}")
    return int(value)


def _names(content: Mapping[str, Any], name: str) -> list[str]:
    value = content[name]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} is {value!r}")
    return value


def _truth(content: Mapping[str, Any], name: str) -> bool:
    value = content[name]
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}")
    return value


def _check_latency(latency: Mapping[str, Any], where: str) -> None:
    low, mean, high = latency["min"], latency["mean"], latency["max"]
    shares = [latency[name] for name in ("min", "p5", "median", "p95", "max") if latency[name] is not None]
    rising = all(
        one <= other + 0.011 + other * 1e-5 for line in ([low, mean, high], shares) for one, other in pairwise(line)
    )
    # Rounding to hundredths (JSON) or to 32 bits (protobuf) may put them off by a little.
    if latency["runs"] < 1 or low < 0 or latency["std"] < 0 or not rising:
        known = ", ".join(f"{name} {value:g}" for name, value in latency.items() if value is not None)
        raise ParseError(f"{where} contradicts itself: {known}.")
