"""The official `benchmark_model`: from a path or an address, told apart by its `--help`, called with its own flags."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from android_bench.errors import ToolError
from android_bench.matrix import Cell, Settings
from dr_edge import metadata

_ASK = (
    "Pass the path of the official benchmark_model with --tool, or its address with --tool and --tool_sha256: "
    "TensorFlow's page 'Performance measurement' and LiteRT's 'Benchmark CompiledModel API' have it."
)
_ENOUGH = 512 * 1024 * 1024  # no build is near this size; an address that sends more sends something else


@dataclasses.dataclass(frozen=True)
class Tool:
    """A `benchmark_model` as it described itself on the device.

    Attributes:
      kind: 'interpreter' (TensorFlow Lite) or 'compiled_model' (LiteRT).
      flags: the names that its --help lists.
    """

    kind: str
    flags: frozenset[str]


def obtain(tool: str | None, sha256: str | None, cache: Path | None = None) -> Path:
    """Returns the local path of the tool; downloads it once where `tool` is an address.

    Args:
      tool: a path, or an http(s) address.
      sha256: 64 hexadecimal digits; needed with an address, checked with a path where given.
      cache: where downloads are kept; None is $XDG_CACHE_HOME/dr_edge, else ~/.cache/dr_edge.

    Raises:
      ToolError: nothing given, no such file, an address without its SHA-256, a failed download, or another
        SHA-256.
    """
    if not tool:
        raise ToolError(f"--target=adb needs a measuring program. {_ASK}")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ToolError(f"--tool_sha256 takes 64 hexadecimal digits. Received {sha256!r}.")
    expected = sha256.lower() if sha256 else None
    if urllib.parse.urlsplit(tool).scheme in ("http", "https"):
        if expected is None:
            raise ToolError(
                f"--tool is an address, and a program from there is only run with its --tool_sha256. {_ASK}"
            )
        return _download(tool, expected, cache or _cache_directory())
    path = Path(tool)
    if not path.is_file():
        raise ToolError(f"--tool={tool} is no file. {_ASK}")
    actual = metadata.sha256_file(path)
    if expected is not None and actual != expected:
        raise ToolError(
            f"{path} has sha256 {actual[:12]}..., --tool_sha256 says {expected[:12]}.... Get the right one."
        )
    return path


def identify(help_text: str) -> Tool:
    """Tells the two official tools apart by what `--help` prints (on either stream).

    Raises:
      ToolError: it is neither.
    """
    flags = frozenset(re.findall(r"--([A-Za-z][\w-]*)(?==|\b)", help_text))
    interpreter = {"graph", "num_runs", "enable_op_profiling"} <= flags
    compiled = {"graph", "num_runs", "use_cpu", "use_npu"} <= flags
    if interpreter == compiled:
        said = help_text.strip()[:200] or "nothing"
        raise ToolError(f"--tool is no benchmark_model that is known here. Its --help says: {said!r}. {_ASK}")
    return Tool("interpreter" if interpreter else "compiled_model", flags)


def arguments(
    tool: Tool,
    cell: Cell,
    settings: Settings,
    graph: str,
    extra: Sequence[str],
    result_file: str,
    sustained: bool,
) -> list[str] | str:
    """Returns the flags for one session, or why this tool cannot measure this cell.

    Args:
      tool: from identify.
      cell: what is measured.
      settings: how long.
      graph: the model's path on the device.
      extra: flags of the user, put last.
      result_file: where the tool leaves its protobuf; left out where it knows no such flag.
      sustained: run for `settings.point_secs` instead of the session's runs.
    """
    chosen = _delegate_flags(tool, cell.delegate)
    if isinstance(chosen, str):
        return chosen
    seconds = settings.point_secs if sustained else settings.min_secs
    wanted = {
        "graph": graph,
        "num_threads": cell.threads,
        "num_runs": 1 if sustained else settings.runs,
        "min_secs": f"{seconds:g}",
        "max_secs": f"{seconds if sustained else max(settings.timeout_secs - settings.warmup_secs, seconds):g}",
        "warmup_runs": 0 if sustained else settings.warmup_runs,
        "warmup_min_secs": 0 if sustained else f"{settings.warmup_secs:g}",
        **chosen,
    }
    if "result_file_path" in tool.flags:
        wanted["result_file_path"] = result_file
    unknown = [name for name in wanted if name not in tool.flags]
    if unknown:
        return f"This build of the {tool.kind} tool has no --{', --'.join(unknown)}. Use a newer one."
    return [f"--{name}={value}" for name, value in wanted.items()] + list(extra)


def profile_arguments(tool: Tool) -> list[str] | str:
    """Returns the flags that ask for the operator profile, or why this tool gives none."""
    if tool.kind != "interpreter":
        return "The compiled_model tool prints no operator profile; use the interpreter tool."
    named = {
        "enable_op_profiling": "true",
        "op_profiling_output_mode": "stdout",
        "report_peak_memory_footprint": "true",
    }
    return [f"--{name}={value}" for name, value in named.items() if name in tool.flags]


def _delegate_flags(tool: Tool, delegate: str) -> dict[str, str] | str:
    if tool.kind == "interpreter":
        if delegate == "npu":
            return "The interpreter tool knows no NPU; use the compiled_model tool, or --delegates=nnapi."
        # Set explicitly even where it is the default: only then does the tool say what XNNPACK took.
        # NNAPI's own CPU driver is slow and counts as delegated all the same: it is left out where that can be asked.
        no_cpu_driver = {"disable_nnapi_cpu": "true"} if "disable_nnapi_cpu" in tool.flags else {}
        return {
            "xnnpack": {"use_xnnpack": "true"},
            "none": {"use_xnnpack": "false"},
            "gpu": {"use_gpu": "true"},
            "nnapi": {"use_nnapi": "true", **no_cpu_driver},
        }[delegate]
    if delegate in ("none", "nnapi"):
        return f"The compiled_model tool cannot be asked for delegate {delegate!r}; use the interpreter tool."
    return {
        "xnnpack": {"use_cpu": "true"},
        "gpu": {"use_gpu": "true", "use_cpu": "true"},
        "npu": {"use_npu": "true", "use_cpu": "true"},
    }[delegate]


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dr_edge" / "benchmark_model"


def _download(address: str, expected: str, cache: Path) -> Path:
    """Returns the cached file of that SHA-256; fetches it where it is not there. Shows progress."""
    from dr_edge.progress import Progress

    kept = cache / expected
    if kept.is_file() and metadata.sha256_file(kept) == expected:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            size = int(answer.headers.get("Content-Length") or 0) or None
            pieces, received = [], 0
            with Progress(total=size, unit="B", unit_scale=True, desc="benchmark_model") as bar:
                while piece := answer.read(1 << 20):
                    pieces.append(piece)
                    received += len(piece)
                    bar.update(len(piece))
                    if received > _ENOUGH:
                        raise ToolError(f"{address} sends more than {_ENOUGH >> 20} MB; that is no benchmark_model.")
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as err:
        raise ToolError(
            f"{address} could not be fetched: {err}. Download it by hand and pass its path with --tool."
        ) from err
    data = b"".join(pieces)
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise ToolError(
            f"{address} has sha256 {actual[:12]}... ({len(data)} bytes), --tool_sha256 says {expected[:12]}.... It was "
            "not kept. Check the address; a nightly build changes every day."
        )
    metadata.write_bytes(kept, data)
    return kept
