"""Reads what the benchmark tools print. A number is taken only from output that is whole and agrees with itself.

There are two official programs named `benchmark_model`. The *interpreter* tool (TensorFlow Lite) prints INFO
lines, with times in microseconds; the *compiled_model* tool (LiteRT) adds a block of results in milliseconds.
Both print one `count=...` line for the warm-up and one for the timed runs. Everything returned here is in
milliseconds and MB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from android_bench.errors import ParseError

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?"
# What may stand before a message: logcat's head, the level, a source position.
_HEAD = re.compile(
    r"^(?:[0-9-]{5,10} [0-9:.]+\s+(?:[0-9]+\s+[0-9]+\s+)?[VDIWEF][/ ]\s*\w+\s*(?:\(\s*[0-9]+\))?\s*:\s)?"
    r"(?:(?:VERBOSE|DEBUG|INFO|WARNING|ERROR): )?(?:\[[\w./+-]+:[0-9]+\] )?"
)
_COUNT = re.compile(
    rf"count=(?P<count>[0-9]{{1,9}})(?: first=(?P<first>{_NUMBER}))?(?: curr=(?P<curr>{_NUMBER})(?P<same>\(all "
    r"same\))?)?"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))?"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*"
)
_NO_RUNS = re.compile(r"count=0(?: p5=\S+ median=\S+ p95=\S+)?\s*")
_TIMINGS = (
    re.compile(
        rf"Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
        rf"Warmup \(avg\): (?P<warmup>{_NUMBER}), Inference \(avg\): (?P<avg>{_NUMBER})"
    ),
    # Before 2020.
    re.compile(
        rf"Average inference timings in us: Warmup: (?P<warmup>{_NUMBER}), Init: (?P<init>{_NUMBER}), "
        rf"(?:Inference|no stats): (?P<avg>{_NUMBER})"
    ),
)
_MEMORY = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init=(?P<init>-?{_NUMBER}) "
    rf"overall=(?P<overall>-?{_NUMBER})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: (?P<peak>{_NUMBER})")
_HUNDREDTHS = r"[0-9]+\.[0-9]{2}"
_BLOCK = {
    "init": re.compile(rf"Model initialization:\s+({_HUNDREDTHS}) ms"),
    "first": re.compile(rf"Warmup \(first\):\s+({_HUNDREDTHS}) ms"),
    "warmup": re.compile(rf"Warmup \(avg\):\s+({_HUNDREDTHS}) ms \(([0-9]{{1,9}}) runs\)"),
    "avg": re.compile(rf"Inference \(avg\):\s+({_HUNDREDTHS}) ms \(([0-9]{{1,9}}) runs\)"),
    "min": re.compile(rf"Inference \(min\):\s+({_HUNDREDTHS}) ms"),
    "max": re.compile(rf"Inference \(max\):\s+({_HUNDREDTHS}) ms"),
    "std": re.compile(rf"Inference \(std\):\s+({_HUNDREDTHS})(?: ms)?"),
}
_BLOCK_MEMORY = {
    "init": re.compile(rf"Init footprint:\s+(-?{_HUNDREDTHS}) MB"),
    "overall": re.compile(rf"Overall footprint:\s+(-?{_HUNDREDTHS}) MB"),
    "peak_process": re.compile(rf"Peak memory:\s+({_HUNDREDTHS}) MB"),
}
_CUT = re.compile(r"(?<=[0-9.])\r?\n[0-9.]+\r?$", re.MULTILINE)  # a line break of somebody else's within a number
_BLOCK_START = re.compile(r"=+ BENCHMARK RESULTS =+")
_BLOCK_END = re.compile(r"={20,}")


def parse_output(kind: str, stdout: str, stderr: str) -> dict[str, Any]:
    """Reads the output of one session of `benchmark_model`.

    Args:
      kind: 'interpreter' or 'compiled_model'.
      stdout: everything it printed there.
      stderr: the same; the two are never mixed line by line, because a line of one may cut a line of the
        other.

    Returns:
      latency_ms {mean, min, max, std, runs; median, p5, p95 where the tool prints them, else None}, init_ms,
      first_ms (None where an old tool prints none), warmup_runs, memory_mb {init, overall, peak_process}.

    Raises:
      ParseError: cut off, mixed from two runs or two tools, or contradicting itself.
    """
    if kind not in ("interpreter", "compiled_model"):
        raise ValueError(f"No benchmark tool of kind {kind!r}. Known: interpreter, compiled_model.")
    lines = messages(stdout) + messages(stderr)
    if _CUT.search(stdout) or _CUT.search(stderr):
        raise ParseError(_explain("whole numbers: one goes over two lines", lines))
    block = _find_block(lines)
    timings = _matches(_TIMINGS, lines)
    if kind == "compiled_model":
        if block is None or timings:
            raise ParseError(_explain("a whole block of BENCHMARK RESULTS, and no other tool's lines", lines))
        return _compiled_model(lines, block)
    if len(timings) != 1 or block is not None:
        raise ParseError(_explain("exactly one line 'Inference timings in us', and no other tool's lines", lines))
    return _interpreter(lines, timings[0])


def messages(text: str) -> list[str]:
    """Returns the complete lines without their heads. A last line without its end may be cut: it is left out."""
    whole = text[: text.rfind("\n") + 1]
    return [_HEAD.sub("", line.rstrip("\r")) for line in whole.split("\n")[:-1]]


def _interpreter(lines: Sequence[str], timings: Mapping[str, str | None]) -> dict[str, Any]:
    warmup, timed = _two_stats(lines, needed=True)
    average, init = _finite(timings["avg"]), _finite(timings["init"])
    _agree("Inference (avg)", average, timed["avg"])
    if warmup is not None:
        _agree("Warmup (avg)", _finite(timings["warmup"]), warmup["avg"])
    first = timings.get("first")
    if first is not None and warmup is not None:
        _agree("First inference", _finite(first), warmup["first"])
    memory, peak = _matches([_MEMORY], lines), _matches([_PEAK], lines)
    if len(memory) > 1 or len(peak) > 1:
        raise ParseError(_explain("one line of memory footprints", lines))
    return {
        "latency_ms": _latency(timed),
        "init_ms": init / 1e3,
        "first_ms": None if first is None or warmup is None else _finite(first) / 1e3,
        "warmup_runs": 0 if warmup is None else warmup["count"],
        "memory_mb": {
            "init": _finite(memory[0]["init"]) if memory else None,
            "overall": _finite(memory[0]["overall"]) if memory else None,
            "peak_process": _finite(peak[0]["peak"]) if peak else None,
        },
    }


def _compiled_model(lines: Sequence[str], block: Sequence[str]) -> dict[str, Any]:
    found = {name: _single(pattern, block, name) for name, pattern in _BLOCK.items()}
    runs = int(found["avg"][2])
    latency: dict[str, Any] = {
        "median": None,
        "p5": None,
        "p95": None,
        "mean": _finite(found["avg"][1]),
        **{name: _finite(found[name][1]) for name in ("min", "max", "std")},
        "runs": runs,
    }
    _check_order(latency)
    warmup, timed = _two_stats(lines, needed=False)
    if warmup is not None:
        _agree("Warmup (first)", _finite(found["first"][1]), warmup["first"] / 1e3, slack=0.0051)
        _agree("Warmup (avg)", _finite(found["warmup"][1]), warmup["avg"] / 1e3, slack=0.0051)
    if timed is not None:
        if timed["count"] != runs:
            raise ParseError(
                f"The tool's output contradicts itself: {timed['count']} runs in one place, {runs} in another."
            )
        for name, printed in (("avg", "mean"), ("min", "min"), ("max", "max")):
            # The block is rounded to a hundredth of a millisecond.
            _agree(f"Inference ({name})", latency[printed], timed[name] / 1e3, slack=0.0051)
        latency = _latency(timed)
    memory = {name: _single(pattern, block, name, needed=False) for name, pattern in _BLOCK_MEMORY.items()}
    return {
        "latency_ms": latency,
        "init_ms": _finite(found["init"][1]),
        "first_ms": _finite(found["first"][1]),
        "warmup_runs": int(found["warmup"][2]),
        "memory_mb": {name: None if match is None else _finite(match[1]) for name, match in memory.items()},
    }


def _find_block(lines: Sequence[str]) -> list[str] | None:
    """Returns the lines of the one block of results; None where there is none; raises where it is cut or repeated."""
    starts = [number for number, line in enumerate(lines) if _BLOCK_START.fullmatch(line.strip())]
    if not starts:
        return None
    rest = lines[starts[0] + 1 :]
    ends = [number for number, line in enumerate(rest) if _BLOCK_END.fullmatch(line.strip())]
    if len(starts) != 1 or not ends:
        raise ParseError(_explain("one whole block of BENCHMARK RESULTS", lines))
    return list(rest[: ends[0]])


def _two_stats(lines: Sequence[str], needed: bool) -> tuple[dict[str, Any] | None, Any]:
    """Returns the statistics of the warm-up (None: it had no runs) and of the timed runs, in microseconds."""
    counts = [line for line in lines if line.startswith("count=")]
    if not counts and not needed:
        return None, None
    if len(counts) != 2:
        raise ParseError(_explain("two lines 'count=...' (warm-up, then timed runs)", lines))
    warmup = None if _NO_RUNS.fullmatch(counts[0]) else _stat(counts[0])
    return warmup, _stat(counts[1])


def _stat(line: str) -> dict[str, Any]:
    """Reads one whole `count=...` line; a single or constant value is printed as `curr` alone."""
    match = _COUNT.fullmatch(line)
    if match is None or int(match["count"]) == 0:
        raise ParseError(f"A statistics line of the tool is damaged: {line[:160]!r}. Run the session again.")
    values: dict[str, Any] = {
        name: None if text is None else _finite(text) for name, text in match.groupdict().items() if name != "same"
    }
    count = int(match["count"])
    if values["avg"] is None:
        if values["curr"] is None or match["first"] is not None or (count > 1) != (match["same"] is not None):
            raise ParseError(f"A statistics line of the tool is cut short: {line[:160]!r}. Run the session again.")
        values.update(dict.fromkeys(("first", "min", "max", "avg"), values["curr"]), std=0.0)
    elif values["first"] is None or values["curr"] is None or match["same"] is not None:
        raise ParseError(f"A statistics line of the tool is damaged: {line[:160]!r}. Run the session again.")
    stat = {**values, "count": count}
    _check_order({**stat, "mean": stat["avg"]})
    for name in ("first", "curr"):
        if not stat["min"] * (1 - 1e-4) <= stat[name] <= stat["max"] * (1 + 1e-4):
            raise ParseError(f"The tool's output contradicts itself: {name} lies outside min..max in {line[:160]!r}.")
    return stat


def _latency(stat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns microseconds into the milliseconds of a report; the tool prints no 90th percentile, so there is none."""
    scaled = {name: None if stat[name] is None else stat[name] / 1e3 for name in ("median", "p5", "p95", "min", "max")}
    return {**scaled, "p90": None, "mean": stat["avg"] / 1e3, "std": stat["std"] / 1e3, "runs": stat["count"]}


def _check_order(values: Mapping[str, Any]) -> None:
    """Raises ParseError unless min <= p5 <= median <= p95 <= max and min <= mean <= max, up to printing."""
    for names in (("min", "p5", "median", "p95", "max"), ("min", "mean", "max")):
        known = [(name, values[name]) for name in names if values.get(name) is not None]
        for (low_name, low), (high_name, high) in zip(known, known[1:], strict=False):
            if low > high * (1 + 1e-4) + 1e-9:
                raise ParseError(
                    f"The tool's output contradicts itself: {low_name} {low:g} above {high_name} {high:g}."
                )


def _agree(name: str, one: float, other: float, slack: float = 0.0) -> None:
    if abs(one - other) > slack + 1e-4 * max(abs(one), abs(other)):
        raise ParseError(f"The tool's output contradicts itself: {name} is {one:g} in one place, {other:g} in another.")


def _matches(patterns: Sequence[re.Pattern[str]], lines: Sequence[str]) -> list[dict[str, str | None]]:
    found = [pattern.fullmatch(line) for line in lines for pattern in patterns]
    return [match.groupdict() for match in found if match]


def _single(pattern: re.Pattern[str], lines: Sequence[str], name: str, needed: bool = True) -> Any:
    found = [match for match in (pattern.fullmatch(line.strip()) for line in lines) if match]
    if len(found) > 1 or (needed and not found):
        raise ParseError(
            f"The block of results has {len(found)} lines for {name!r}, expected one. Run the session again."
        )
    return found[0] if found else None


def _finite(text: str | None) -> float:
    value = float(text) if text is not None else math.nan
    if not math.isfinite(value):
        raise ParseError(f"The tool printed {text!r} where a number belongs.")
    return value


def _explain(expected: str, lines: Sequence[str]) -> str:
    last = next((line for line in reversed(lines) if line.strip()), "nothing")
    return f"The tool's output is incomplete or mixed: expected {expected}. Its last whole line is {last[:160]!r}."
