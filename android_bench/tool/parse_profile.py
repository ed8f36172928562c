"""Reads the operator profile that the interpreter tool prints with `--enable_op_profiling`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from android_bench.errors import ParseError
from android_bench.tool.parse import messages

_SECTION = re.compile(r"=+ (Run Order|Top by Computation Time|Top by Memory Use|Summary by node type) =+")
_RUNS = "Regular Benchmark Runs"
_NODE_COLUMNS = ("[node type]", "[avg ms]", "[Name]")
_TYPE_COLUMNS = ("[Node type]", "[count]", "[avg ms]")


def parse_profile(text: str) -> dict[str, Any]:
    """Reads the profile of the timed runs (a profile of the initialisation before it is passed over).

    The printed percentages are not used: builds differ in what they relate them to.

    Args:
      text: the stream that the tool printed it to, whole.

    Returns:
      nodes: in the order of execution, each {type, name, ms, percent of the sum};
      by_type: slowest first, each {type, count, ms, percent of the sum};
      total_ms: the sum of the nodes.

    Raises:
      ParseError: there is no profile, or it is cut off, or its two tables contradict each other.
    """
    lines = messages(text)
    heads = [number for number, line in enumerate(lines) if _RUNS in line]
    if len(heads) != 1:
        raise ParseError(f"Expected one operator profile of the timed runs, found {len(heads)}. Run the session again.")
    rest = lines[heads[0] + 1 :]
    nodes = _table(rest, "Run Order", _NODE_COLUMNS)
    kinds = _table(rest, "Summary by node type", _TYPE_COLUMNS)
    found: list[dict[str, Any]] = [{"type": row[0], "name": row[2], "ms": _milliseconds(row[1])} for row in nodes]
    by_type: list[dict[str, Any]] = [
        {"type": row[0], "count": _count(row[1]), "ms": _milliseconds(row[2])} for row in kinds
    ]
    total = sum(node["ms"] for node in found)
    # Each line is rounded to a microsecond, in both tables.
    slack = 0.001 * (len(found) + len(by_type)) + 0.01 * total
    if abs(total - sum(kind["ms"] for kind in by_type)) > slack:
        raise ParseError(
            f"The operator profile contradicts itself: the nodes take {total:.3f} ms, "
            f"the node types {sum(kind['ms'] for kind in by_type):.3f} ms. Run the session again."
        )
    for row in found + by_type:
        row["percent"] = 100 * row["ms"] / total if total else 0.0
    return {"nodes": found, "by_type": sorted(by_type, key=lambda row: -row["ms"]), "total_ms": total}


def _table(lines: Sequence[str], title: str, columns: Sequence[str]) -> list[list[str]]:
    """Returns the wanted cells of each row of the table under `title`, which an empty line ends."""
    starts = [n for n, line in enumerate(lines) if (m := _SECTION.fullmatch(line.strip())) and m[1] == title]
    if len(starts) != 1:
        raise ParseError(
            f"The operator profile has {len(starts)} tables {title!r}, expected one. Run the session again."
        )
    body = lines[starts[0] + 1 :]
    ends = [number for number, line in enumerate(body) if not line.strip()]
    if not ends or ends[0] < 2:
        raise ParseError(f"The table {title!r} of the operator profile is cut off. Run the session again.")
    head = [cell.strip() for cell in body[0].strip("\n").split("\t")]
    missing = [name for name in columns if name not in head]
    if missing:
        raise ParseError(f"The table {title!r} of the operator profile has no column {', '.join(missing)}.")
    rows = []
    for line in body[1 : ends[0]]:
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(head):
            raise ParseError(
                f"A row of the operator profile is damaged: {line.strip()[:120]!r}. Run the session again."
            )
        rows.append([cells[head.index(name)] for name in columns])
    return rows


def _milliseconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]{1,3})?", text) or not math.isfinite(float(text)):
        raise ParseError(f"The operator profile has {text!r} where milliseconds belong.")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ParseError(f"The operator profile has {text!r} where a count belongs.")
    return int(text)
