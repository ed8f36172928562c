"""Reads the files that benchmark tools leave: the result protobuf of both official tools, litert-benchmark's
JSON.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from android_bench.errors import ParseError

# tflite.tools.benchmark.BenchmarkResult: number -> (name, kind) of each field of its three messages.
_LATENCY = {
    1: ("avg_ms", "float"), 2: ("min_ms", "float"), 3: ("max_ms", "float"), 4: ("stddev_ms", "float"),
    5: ("median_ms", "float"), 6: ("p5_ms", "float"), 7: ("p95_ms", "float"), 8: ("init_ms", "float"),
    9: ("first_inference_ms", "float"), 10: ("average_warm_up_ms", "float"),
}  # fmt: skip
_MEMORY = {1: ("init_footprint_kb", "int"), 2: ("overall_footprint_kb", "int"), 3: ("peak_mem_mb", "float")}
_MISC = {
    1: ("model_size_mb", "float"), 2: ("num_runs", "int"), 3: ("num_warmup_runs", "int"),
    4: ("model_throughput_in_mb_per_sec", "float"),
}  # fmt: skip
_RESULT = {1: ("name", "text"), 2: ("latency", _LATENCY), 3: ("memory", _MEMORY), 4: ("misc", _MISC)}
_WIRE = {"float": 5, "int": 0, "text": 2}


def parse_result(data: bytes) -> dict[str, Any]:
    """Reads the file of `--result_file_path`.

    Returns:
      the same keys as parse.parse_output.

    Raises:
      ParseError: cut off, not such a file, or without the figures that every build writes.
    """
    result = _message(data, _RESULT)
    latency, memory, misc = (result.get(name, {}) for name in ("latency", "memory", "misc"))
    missing = [name for name in ("avg_ms", "min_ms", "max_ms", "stddev_ms") if name not in latency]
    missing += [name for name in ("num_runs",) if name not in misc]
    if missing:
        raise ParseError(f"The result file lacks {', '.join(missing)}; it is cut off or of another tool.")
    found = {
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
                **{
                    name: _number(latency, f"{name}_ms")
                    for name in ("median", "p5", "p95", "min", "max", "std")
                },
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


def _message(data: bytes, fields: Mapping[int, tuple[str, Any]]) -> dict[str, Any]:
    """Decodes one protobuf message of known fields; fields of newer builds are passed over, damage is an
    error.
    """
    found: dict[str, Any] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        value: Any
        if wire == 0:
            value, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, position = _slice(data, position, size), position + size
        elif wire == 2:
            size, position = _varint(data, position)
            value, position = _slice(data, position, size), position + size
        else:
            raise ParseError(f"The result file is damaged at byte {position} (wire type {wire}).")
        if number == 0:
            raise ParseError(f"The result file is damaged at byte {position} (field 0).")
        if number in fields:
            name, kind = fields[number]
            if wire != (2 if isinstance(kind, Mapping) else _WIRE[kind]):
                raise ParseError(f"The result file is damaged: {name} has wire type {wire}.")
            if name in found:
                raise ParseError(f"The result file holds {name} twice: it is of two runs, or damaged.")
            found[name] = _decode(value, kind, name)
    return found


def _decode(value: Any, kind: Any, name: str) -> Any:
    if isinstance(kind, Mapping):
        return _message(value, kind)
    if kind == "text":
        return value.decode("utf-8", errors="replace")
    if kind == "int":
        return value - (1 << 64) if value >> 63 else value
    number = struct.unpack("<f", value)[0]
    if not math.isfinite(number):
        raise ParseError(f"The result file holds {number} as {name}.")
    return number


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for count in range(10):
        if position + count >= len(data):
            raise ParseError("The result file is cut off in mid-number.")
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value & ((1 << 64) - 1), position + count + 1
    raise ParseError(f"The result file is damaged at byte {position} (a number of more than 64 bits).")


def _slice(data: bytes, position: int, size: int) -> bytes:
    if position + size > len(data):
        raise ParseError("The result file is cut off.")
    return data[position : position + size]


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
        one <= other + 0.011 + other * 1e-5
        for line in ([low, mean, high], shares)
        for one, other in pairwise(line)
    )
    # Rounding to hundredths (JSON) or to 32 bits (protobuf) may put them off by a little.
    if latency["runs"] < 1 or low < 0 or latency["std"] < 0 or not rising:
        known = ", ".join(f"{name} {value:g}" for name, value in latency.items() if value is not None)
        raise ParseError(f"{where} contradicts itself: {known}.")
