"""Writes what the two official tools print, from given times: the reference that the parsers are compared with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

NOTE = (
    "INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual"
    " memory footprint of the model at runtime. Take the information at your discretion."
)


def number(value: float) -> str:
    """Prints as a C++ stream does: six significant digits, an exponent from 1e6 on. Whole numbers stay whole."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def count_line(times: Sequence[int], percentiles: bool = True) -> str:
    """The `count=...` line of whole microseconds."""
    if not times:
        return "count=0" + " p5=nan median=nan p95=nan" * percentiles
    ordered = sorted(times)
    if len(set(times)) == 1:
        line = f"count={len(times)} curr={times[0]}" + "(all same)" * (len(times) > 1)
    else:
        line = (
            f"count={len(times)} first={times[0]} curr={times[-1]} min={ordered[0]} max={ordered[-1]} "
            f"avg={number(statistics.fmean(times))} std={math.floor(statistics.pstdev(times))}"
        )
    if percentiles:
        p5, median, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.05, 0.5, 0.95))
        line += f" p5={p5} median={median} p95={p95}"
    return line


def interpreter(
    warmup: Sequence[int],
    times: Sequence[int],
    init: int = 5331,
    percentiles: bool = True,
    peak: bool = False,
) -> str:
    """The whole standard output of the interpreter tool."""
    first = warmup[0] if warmup else 0
    average = number(statistics.fmean(warmup)) if warmup else "nan"
    lines = [
        "INFO: STARTING!",
        "INFO: Log parameter values verbosely: [0]",
        "INFO: Min num runs: [50]",
        "INFO: Loaded model /data/local/tmp/model.tflite",
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
        "INFO: The input model file size (MB): 3.57776",
        f"INFO: Initialized session in {init / 1000:g}ms.",
        (
            "INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 "
            "seconds."
        ),
        f"INFO: {count_line(warmup, percentiles)}",
        "",
        (
            "INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 "
            "seconds."
        ),
        f"INFO: {count_line(times, percentiles)}",
        "",
        (
            f"INFO: Inference timings in us: Init: {init}, First inference: {first}, Warmup (avg): {average}, "
            f"Inference (avg): {number(statistics.fmean(times))}"
        ),
        NOTE,
        "INFO: Memory footprint delta from the start of the tool (MB): init=6.14844 overall=109.848",
    ]
    if peak:
        lines.append("INFO: Overall peak memory footprint (MB) via periodic monitoring: 141.25")
    return "\n".join(lines) + "\n"


def oldest(times: Sequence[int]) -> str:
    """The interpreter tool before 2020: no level, no percentiles, another last line."""
    average = number(statistics.fmean(times))
    return (
        "STARTING!\nNum runs: [50]\nresolved reporter\nInitialized session in 0.712ms\n"
        f"Running benchmark for 1 iterations \n{count_line([times[0]], False)}\n\n"
        f"Running benchmark for 50 iterations \n{count_line(times, False)}\n\n"
        f"Average inference timings in us: Warmup: {times[0]}, Init: 712, no stats: {average}\n"
    )


def compiled_model(warmup: Sequence[int], times: Sequence[int], counts: bool = True) -> tuple[str, str]:
    """Standard output and standard error of the compiled_model tool."""
    head = "INFO: [./litert/tools/benchmark_litert_model.h:82] "
    out = (
        f"INFO: STARTING!\nINFO: {count_line(warmup)}\n\nINFO: {count_line(times)}\n\n"
        if counts
        else "INFO: STARTING!\n"
    )
    mean, warm = statistics.fmean(times) / 1e3, statistics.fmean(warmup) / 1e3
    block = [
        "\n========== BENCHMARK RESULTS ==========",
        "Model initialization: 12.34 ms",
        f"Warmup (first):       {warmup[0] / 1e3:.2f} ms",
        f"Warmup (avg):         {warm:.2f} ms ({len(warmup)} runs)",
        f"Inference (avg):      {mean:.2f} ms ({len(times)} runs)",
        f"Inference (min):      {min(times) / 1e3:.2f} ms",
        f"Inference (max):      {max(times) / 1e3:.2f} ms",
        f"Inference (std):      {statistics.pstdev(times) / 1e3:.2f}",
        "Throughput:           23.41 MB/s",
        "\nMemory Usage:",
        "Init footprint:       20.50 MB",
        "Overall footprint:    33.25 MB",
        "Peak memory:          61.00 MB",
        "======================================\n",
    ]
    return out, "".join(f"{head}{line}\n" for line in block)
