"""Finds out what really ran: which delegate took how many nodes, from what the tools log while they load a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from android_bench.tool.parse import messages

# The tools' own names -> ours. LiteRT's GPU accelerators name themselves after their backend.
_NAMES = (
    ("xnnpack", re.compile(r"XNNPack", re.IGNORECASE)),
    ("nnapi", re.compile(r"NNAPI", re.IGNORECASE)),
    ("gpu", re.compile(r"GPU|LITERT_(?:CL|OPENCL|GL|OPENGL|VULKAN|METAL|WEBGPU)|\bML_?DRIFT", re.IGNORECASE)),
    ("npu", re.compile(r"Dispatch|NPU|QNN|Hexagon|Neuron|EdgeTpu|EdenNN|Enn", re.IGNORECASE)),
)
_SHOWN = {"xnnpack": "CPU/XNNPACK", "gpu": "GPU", "nnapi": "NNAPI", "npu": "NPU"}
_REPLACED = re.compile(
    r"Replacing (?P<taken>[0-9]{1,9})(?: out of (?P<total>[0-9]{1,9}))? node\(s\) with delegate \((?P<name>[^)]*)\) "
    r"node, "
    r"yielding (?P<partitions>[0-9]{1,9}) partitions(?: for (?:the whole graph|subgraph \d+))?\.?"
)
_COMPLETE = re.compile(
    r"Explicitly applied (?P<name>\S+) delegate, and the model graph will be completely executed by the delegate\."
)
_PARTLY = re.compile(
    r"Explicitly applied (?P<name>\S+) delegate, and the model graph will be partially executed by the delegate "
    r"w/ (?P<kernels>[0-9]{1,9}) delegate kernels\."
)
_NOT = re.compile(
    r"Though (?P<name>\S+) delegate is explicitly applied, the model graph will not be executed by the delegate\."
)
_FAILED = re.compile(
    r"(?:Failed to apply .* delegate|Failed to (?:dispatch|compile|register).*|Disallowed CPU fallback.*)\.?"
)


def own_name(name: str) -> str:
    """Returns 'xnnpack', 'gpu', 'nnapi' or 'npu' for a delegate as the tools call it; the name itself where unknown."""
    return next((ours for ours, pattern in _NAMES if pattern.search(name)), name)


def read(kind: str, requested: str, stdout: str, stderr: str, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Returns what ran the graph in one session.

    Args:
      kind: 'interpreter' or 'compiled_model'.
      requested: one of matrix.DELEGATES.
      stdout: what the tool printed there.
      stderr: the same.
      flags: what the tool was called with and understands; with --require_full_delegation=true it fails unless the
        delegate takes all.

    Returns:
      accelerator: as a reader calls it, None where the log does not show that the delegate took part;
      delegated, total: nodes that the requested delegate took, of how many; None where the log does not say;
      partitions: pieces that the delegate runs; None where the log does not say;
      evidence: the log's lines that say so.
    """
    lines = messages(stdout) + messages(stderr)
    evidence = [line for line in lines if any(p.fullmatch(line) for p in (_REPLACED, _COMPLETE, _PARTLY, _NOT))]
    trouble = [line for line in lines if _FAILED.fullmatch(line)]
    found: dict[str, Any] = {"accelerator": None, "delegated": None, "total": None, "partitions": None}
    found["evidence"] = evidence + trouble
    if requested == "none":
        # A build that applies a delegate by itself, although told not to, must not pass as the plain CPU.
        others = [own_name(m["name"]) for m in map(_REPLACED.fullmatch, lines) if m and int(m["taken"])]
        if others:
            names = ", ".join(dict.fromkeys(_SHOWN.get(name, name) for name in others))
            return {**found, "accelerator": f"{names} (none was asked for)"}
        return {**found, "accelerator": "CPU", "delegated": 0}
    replaced = [match for match in map(_REPLACED.fullmatch, lines) if match and own_name(match["name"]) == requested]
    if replaced:
        # Several lines: one per subgraph. The first delegate sees the whole graph, a later one what is left of it.
        totals = [match["total"] for match in replaced]
        found["delegated"] = sum(int(match["taken"]) for match in replaced)
        found["total"] = None if None in totals else sum(int(total) for total in totals)
        found["partitions"] = sum(int(match["partitions"]) for match in replaced)
    complete = _named(_COMPLETE, lines, requested) or "--require_full_delegation=true" in flags
    partly = _named(_PARTLY, lines, requested)
    if partly:
        found["partitions"] = int(partly[0]["kernels"])
    if _named(_NOT, lines, requested):
        return {**found, "delegated": 0}
    shown = complete or partly or (replaced and found["delegated"])
    if kind == "compiled_model" and requested == "xnnpack" and not replaced:
        # LiteRT's CPU accelerator is XNNPACK, and by default it does not log what it took.
        return {**found, "accelerator": "CPU (XNNPACK where it can)"}
    if not shown or trouble:
        return found
    whole = complete or (found["total"] is not None and found["delegated"] == found["total"])
    rest = "" if whole or requested == "xnnpack" else " + CPU"
    return {**found, "accelerator": _SHOWN[requested] + rest}


def missing(requested: str, actual: dict[str, Any]) -> str | None:
    """Returns why a session counts as not delegated, or None where its figure is the requested delegate's."""
    if actual["accelerator"] is not None:
        return None
    name = _SHOWN[requested]
    instead = "none" if requested == "xnnpack" else "xnnpack"
    if actual["delegated"] == 0:
        taken = "no node" if actual["total"] is None else f"0 of {actual['total']} nodes"
        return f"The {name} delegate took {taken}. No latency recorded. Use --delegates={instead} or another phone."
    last = actual["evidence"][-1:] or ["it logged nothing of the delegate"]
    return (
        f"The tool's log does not show that {name} ran the model ({last[0]}). No latency recorded, "
        f"as it may be the CPU's. Use --delegates={instead} or another phone."
    )


def _named(pattern: re.Pattern[str], lines: Sequence[str], requested: str) -> list[re.Match[str]]:
    return [match for match in map(pattern.fullmatch, lines) if match and own_name(match["name"]) == requested]
