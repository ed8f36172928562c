"""Prints what a benchmark tool left elsewhere (a board, a test laboratory), read by the same parsers as a phone's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from android_bench.errors import ParseError
from android_bench.tool import parse, parse_files, parse_profile


def main(arguments: Sequence[str]) -> str:
    """Returns the JSON of what the one file in `arguments` says; see read_file."""
    if len(arguments) != 1:
        raise ValueError(f"read takes one file. Received {len(arguments)}: {' '.join(arguments)}.")
    return json.dumps(read_file(Path(arguments[0])), indent=2) + "\n"


def read_file(path: Path) -> dict[str, Any]:
    """Reads a log of either benchmark_model, its result protobuf, or litert-benchmark's JSON, told apart by content.

    Returns:
      `format`, and what parse.parse_output, parse_files or (for a log with one) parse_profile returns.

    Raises:
      ValueError: no such file.
      ParseError: none of these, or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file.")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return {"format": "result protobuf", **parse_files.parse_result(data)}
    if text.lstrip().startswith("{"):
        return {"format": "litert-benchmark JSON", **parse_files.parse_litert_json(text)}
    if "BENCHMARK RESULTS" in text:
        return {"format": "log of the compiled_model tool", **parse.parse_output("compiled_model", text, "")}
    if "nference timings in us" in text:
        found = {"format": "log of the interpreter tool", **parse.parse_output("interpreter", text, "")}
        if "Regular Benchmark Runs" in text:
            found["op_profile"] = parse_profile.parse_profile(text)
        return found
    try:
        return {"format": "result protobuf", **parse_files.parse_result(data)}
    except ParseError as err:
        raise ParseError(
            f"{path} is no whole log of benchmark_model, no JSON of litert-benchmark and no result protobuf: {err}"
        ) from err
