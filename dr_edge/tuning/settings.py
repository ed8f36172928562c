"""Whether the trials' bindings can be read at all, before the first one: one process, in which TensorFlow is imported.

It parses the gin files with the bindings of a first trial, and then with each value of each dimension in turn. No
records are read. `python -m dr_edge.tuning.settings` is that process: JSON on stdin, JSON on stdout.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from dr_edge.training.selection import check_direction
from dr_edge.tuning import space


def check(
    gin_files: Sequence[str], gin_params: Sequence[str], gin_imports: Sequence[str],
    dimensions: Sequence[space.Dimension], maximize: bool,
) -> None:  # fmt: skip
    """Raises ValueError where a trial could not read its bindings, or a search goes the wrong way for its metric.

    Args:
      gin_files, gin_params, gin_imports: of all trials.
      dimensions: what is searched.
      maximize: whether a higher value is better.

    Raises:
      ValueError: says which binding is wrong, or which flag to give.
      RuntimeError: the process that reads them ended without an answer.
    """
    question = {
        "gin_files": list(gin_files),
        "gin_imports": list(gin_imports),
        "bindings": [[*gin_params, *one] for one in candidates(dimensions)],
    }
    line = [sys.executable, "-m", "dr_edge.tuning.settings"]
    done = subprocess.run(line, input=json.dumps(question), capture_output=True, text=True)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as err:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(
            f"The settings of the trials could not be checked: {said} (exit status {done.returncode})"
        ) from err
    if answer["error"]:
        raise ValueError(answer["error"])
    for metric in answer["metrics"]:
        check_direction(metric, maximize)


def candidates(dimensions: Sequence[space.Dimension]) -> list[list[str]]:
    """Returns bindings that together hold each value of each dimension once; of a range, its lower end."""
    values = {
        d.name: list(d.values) if d.kind == "choice" else [int(d.low) if "int" in d.kind else d.low] for d in dimensions
    }
    first = {name: listed[0] for name, listed in values.items()}
    found = [first] + [{**first, name: value} for name, listed in values.items() for value in listed[1:]]
    return [space.bindings(one, dimensions) for one in found]


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    """Returns {"error": text or None, "metrics": the values of train.select_by that are plain text}."""
    import gin

    from dr_edge import config, gin_imports
    from dr_edge.training import loop

    config.import_names()
    try:
        gin_imports.allow(question.get("gin_imports", []))
    except ValueError as err:
        return {"error": str(err), "metrics": []}
    default = inspect.signature(loop.train).parameters["select_by"].default
    metrics = set()
    for bindings in question["bindings"]:
        gin.clear_config()
        try:
            config.parse(question["gin_files"], bindings)
        except ValueError as err:
            return {"error": str(err), "metrics": []}
        metric = gin.get_bindings("train", resolve_references=False).get("select_by", default)
        metrics |= {metric} if isinstance(metric, str) else set()  # a macro is resolved by the trial only
    return {"error": None, "metrics": sorted(metrics)}


if __name__ == "__main__":
    from dr_edge import native_output

    native_output.import_tensorflow()
    print(json.dumps(_answer(json.loads(sys.stdin.read()))))
