"""Sums up latency samples: within a session, and over the sessions of one row."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def quantile(samples: Sequence[float], q: float) -> float:
    """Returns the `q` quantile (0..1) by linear interpolation, as numpy's default does.

    Raises:
      ValueError: no samples, or q outside 0..1.
    """
    if not samples or not 0 <= q <= 1:
        raise ValueError(f"A quantile needs samples and 0 <= q <= 1. Received {len(samples)} samples, q = {q}.")
    ordered = sorted(samples)
    position = (len(ordered) - 1) * q
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def summarise(samples: Sequence[float]) -> dict[str, float | int]:
    """Returns median, p90, p95, mean, min, max, std (n - 1) and runs of raw samples, in the unit of the samples."""
    return {
        "median": quantile(samples, 0.5),
        "p90": quantile(samples, 0.9),
        "p95": quantile(samples, 0.95),
        "mean": statistics.fmean(samples),
        "min": min(samples),
        "max": max(samples),
        "std": statistics.stdev(samples) if len(samples) > 1 else 0.0,
        "runs": len(samples),
    }


def over_sessions(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums up the sessions of one row.

    With raw samples in every session, they are pooled. Without, median and p95 are the medians of the
    sessions' own, and there is no p90. A tool that prints no median leaves None: a mean is not passed off as
    a median.

    Args:
      sessions: each with 'latency_ms' {median|None, mean, min, max, runs, ...} and, where they exist,
        'samples_ms'.

    Returns:
      median, p90, p95, mean, min, max, runs, sessions, and `session_range`: lowest and highest session median
        (or mean).

    Raises:
      ValueError: no sessions.
    """
    if not sessions:
        raise ValueError("No session to sum up.")
    latencies = [session["latency_ms"] for session in sessions]
    medians = [latency.get("median") for latency in latencies]
    runs = sum(latency["runs"] for latency in latencies)
    total: dict[str, Any] = {"median": None, "p90": None, "p95": None}
    if all(session.get("samples_ms") for session in sessions):
        pooled = [value for session in sessions for value in session["samples_ms"]]
        total = {"median": quantile(pooled, 0.5), "p90": quantile(pooled, 0.9), "p95": quantile(pooled, 0.95)}
    elif all(median is not None for median in medians):
        total["median"] = statistics.median(medians)
        tails = [latency.get("p95") for latency in latencies]
        total["p95"] = None if None in tails else statistics.median(tails)
    centres = medians if all(median is not None for median in medians) else [item["mean"] for item in latencies]
    return {
        **total,
        "mean": sum(item["mean"] * item["runs"] for item in latencies) / runs,
        "min": min(item["min"] for item in latencies),
        "max": max(item["max"] for item in latencies),
        "runs": runs,
        "sessions": len(sessions),
        "session_range": [min(centres), max(centres)],
    }


def centre(latency: Mapping[str, Any]) -> tuple[float, str]:
    """Returns the figure that stands for a row, and what it is: ('median' where there is one, else 'mean')."""
    return (latency["median"], "median") if latency["median"] is not None else (latency["mean"], "mean")
