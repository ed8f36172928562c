"""One trial: a training in a process of its own, so that it can fail, be killed or run out of memory alone."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dr_edge import metadata

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: between fork and exec little is safe
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_SAID_ERROR = re.compile(r"error: (.*)")  # the last line of a command that fails


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
      value: of the validation metric that chose the best epoch; None: it failed.
      reason: why it failed, or "".
      details: "metric", "epoch" and "seconds" of a finished run.
    """

    value: float | None
    reason: str
    details: dict[str, Any]


class Stopped(Exception):
    """The search was asked to stop; the trial's training is saved."""


def set_aside(directory: Path) -> None:
    """Moves what a search left in `directory`, trials/ and logs/, to before-<n>/ there."""
    left = [directory / name for name in ("trials", "logs") if (directory / name).exists()]
    if not left:
        return
    number = 1
    while (directory / f"before-{number}").exists():
        number += 1
    aside = directory / f"before-{number}"
    aside.mkdir()
    for path in left:
        path.rename(aside / path.name)


def command(
    gin_files: Sequence[str], bindings: Sequence[str], imports: Sequence[str], records: str | None, run_dir: Path
) -> list[str]:
    """Returns the training command of a trial; `imports` are modules that its gin files may import."""
    found = [sys.executable, "-m", "dr_edge.train", *(f"--gin_file={path}" for path in gin_files)]
    found += [f"--gin_param={binding}" for binding in bindings]
    found += [f"--gin_import={module}" for module in imports]
    return [*found, *([f"--records={records}"] if records else []), f"--run_dir={run_dir}"]


def run(line: Sequence[str], run_dir: Path, log: Path) -> Outcome:
    """Runs the training `line` to its end and reads what came of it; its output goes to `log`.

    Raises:
      Stopped: SIGINT or SIGTERM reached this process or the training.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        start = file.tell()
        process = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)  # it saves
            process.wait()
            raise
    if code == 130:
        raise Stopped("The training was stopped and is saved. Run the same command again to go on.")
    said = log.read_bytes()[start:].decode("utf-8", "replace")
    if code != 0:
        return Outcome(None, failure(code, said), {})
    content = metadata.read_manifest(run_dir, "run")
    best = content["best"]
    details = {"metric": best["metric"], "epoch": best["epoch"], "seconds": content.get("seconds")}
    if best["value"] is None:
        return Outcome(None, f"validation gave no {best['metric']} (undefined: one class only?)", details)
    return Outcome(float(best["value"]), "", details)


def failure(code: int, said: str) -> str:
    """Returns in one line why a training ended with exit status `code`.

    Args:
      code: negative: the signal that killed it.
      said: its output.
    """
    if code < 0:
        hint = ", often for lack of memory: try a smaller train.batch_size" if code == -signal.SIGKILL else ""
        return f"killed by signal {-code} ({signal.Signals(-code).name}){hint}"
    lines = [line.strip() for line in re.split(r"[\r\n]+", said) if line.strip()]
    logged = [match[1] for line in lines if (match := _SAID_ERROR.match(line))]
    return logged[-1][:500] if logged else f"{(lines or ['it said nothing'])[-1][:500]} (exit status {code})"


def _die_with_parent() -> None:
    """Asks Linux to end this process when the search is killed, so that no training goes on that nobody waits for."""
    if _LIBC is not None:
        _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
