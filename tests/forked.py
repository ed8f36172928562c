"""Runs commands as `python -m` would, each in a fork of this process, so that hundreds take seconds. Not a test.

JSON on standard input: [[module, arguments, changes of the environment], ...]; on standard output as many
[exit status, standard output, standard error, names of heavy modules that were imported].
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

import numpy  # noqa: F401 - what most commands import anyway, once
from absl import app, flags, logging  # noqa: F401

HEAVY = ("tensorflow", "keras", "torch")


def child(module: str, arguments: list[str], environment: dict[str, str], files: list[str]) -> None:
    """Becomes the command; never returns."""
    for number, path in enumerate(files[:2], 1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    status: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as err:
        status = err.code
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    with open(files[2], "w") as file:
        file.write(" ".join(name for name in HEAVY if name in sys.modules))
    os._exit(int(status or 0))  # type: ignore[call-overload]


def run(module: str, arguments: list[str], environment: dict[str, str]) -> list[object]:
    """Returns what came of one command."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [os.path.join(scratch, name) for name in ("out", "err", "heavy")]
        for path in files:
            Path(path).touch()
        pid = os.fork()
        if not pid:
            child(module, arguments, environment, files)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out, err, heavy = (Path(path).read_text(encoding="utf-8", errors="replace") for path in files)
        return [code, out, err, heavy.split()]


if __name__ == "__main__":
    print(json.dumps([run(*one) for one in json.loads(sys.stdin.read())]))
