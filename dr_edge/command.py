"""One way in and out for every command: what it logs, how a mistake is said, and which exit status follows.

Each `python -m` module, which `dr-edge` runs, too, ends with `command.run(main)`. Whatever goes wrong is one line on
standard error,

  error: what failed; what came; what to do

with exit status 2 where the command line itself is wrong, 1 for everything else and 130 after Ctrl-C; `--help` ends
with 0. Log lines are plain text, warnings begin with "warning:". Standard library and absl only, so that
`android_bench` may import it like `dr_edge.metadata`. With --verbosity=1 the traceback of an error is shown, too.
"""

from __future__ import annotations

import difflib
import errno
import logging as std_logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from dr_edge import extras
from dr_edge.metadata import readable
from dr_edge.subcommands import NAMES, as_called

FAILED, USAGE, INTERRUPTED = 1, 2, 130
# What a user can act on; any other exception is a fault of the program, and its traceback is of use.
EXPECTED = (ValueError, RuntimeError, OSError, FloatingPointError, ImportError, MemoryError)

OF_THE_SYSTEM = (
    "DataLossError", "FailedPreconditionError", "NotFoundError", "PermissionDeniedError", "ResourceExhaustedError",
    "UnavailableError", "UnknownError",
)  # fmt: skip

_ADVICE = {
    errno.ENOSPC: "Free some space, or write to another disk.",
    errno.EDQUOT: "Free some space, or write to another disk.",
    errno.EACCES: "Change the permissions, or choose another place.",
    errno.EPERM: "Change the permissions, or choose another place.",
    errno.EROFS: "Write to another place.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: a part of it is a file.",
    errno.EISDIR: "Give a file.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit: ulimit -n 4096.",
}


class Failure(Exception):
    """Ends a command with a message of its own and an exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parses the flags, calls `main` with what is left of the command line, and ends the process.

    Args:
      main: returns the exit status, None for 0. It may raise app.UsageError (the command line is wrong), Failure, any
        of EXPECTED, or KeyboardInterrupt, whose message is said where it has one.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal's encoding lacks must not end a command
            stream.reconfigure(errors="backslashreplace")
    module = sys.modules["__main__"]
    module.__doc__ = as_called(module.__doc__ or "")
    for flag in _flags():
        flag.help = as_called(flag.help or "")
    app.run(lambda argv: call(main, argv), flags_parser=_parse)


def call(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Calls `main` with log lines and warnings in the format of every command; returns the exit status."""
    _plain_logging()
    try:
        status = main(argv) or 0
        sys.stdout.flush()
        return status
    except app.UsageError as err:
        return _end(f"{_sentence(str(err))} {_help()}", USAGE)
    except Failure as err:
        return _end(str(err), err.status)
    except KeyboardInterrupt as stop:
        return _end(str(stop) or "Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        return _seen_enough()
    except Exception as err:
        if not isinstance(err, EXPECTED) and not _is_of_the_system(err):
            raise  # a fault of the program: its traceback is of use
        logging.debug("Where it failed:", exc_info=True)
        return _end(words(err), FAILED)


def words(err: BaseException) -> str:
    """Returns what a user should read of an exception: what failed, what came, what to do."""
    if isinstance(err, MemoryError):
        return f"Out of memory{f' ({err})' if str(err) else ''}. Use smaller images or batches, or fewer workers."
    if isinstance(err, ModuleNotFoundError) and str(err).startswith("No module named"):
        package = (err.name or "").partition(".")[0]
        line = extras.line_for(package) or f"pip install {package}"
        return f"The Python package {err.name!r} is missing. Install it: {line}"
    if _is_of_the_system(err):
        first = str(getattr(err, "message", err)).strip().splitlines()[0]
        plain = re.sub(r"^\{\{.*?\}\}\s*|\s*\[Op:.*$", "", first)  # the place in the graph says nothing to a user
        advice = f" {_ADVICE[errno.EACCES]}" if type(err).__name__ == "PermissionDeniedError" else ""
        return f"{plain} ({type(err).__name__} of TensorFlow).{advice}"
    if not isinstance(err, OSError) or err.errno is None:
        return str(err) or type(err).__name__
    place = "" if err.filename is None else f"{_text(err.filename)}: "
    advice = _ADVICE.get(err.errno, "")
    return f"{place}{err.strerror or os.strerror(err.errno)}. {advice}".strip()


def _is_of_the_system(err: BaseException) -> bool:
    """Says whether TensorFlow tells of files, memory or machines, and not of a graph."""
    return type(err).__module__.startswith("tensorflow.") and type(err).__name__ in OF_THE_SYSTEM


def name() -> str:
    """Returns how this command is called, for example "python -m dr_edge.train" or "dr-edge train"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return f"python {sys.argv[0]}"
    module = spec.name.removesuffix(".__main__")
    with_first = " ".join((module, *sys.argv[1:2]))
    return as_called(f"python -m {with_first if with_first in NAMES else module}")


def unexpected(arguments: Sequence[str]) -> app.UsageError:
    """Returns the error of a command that takes flags only and was given more.

    The usual causes: a flag without its dashes or its `=`, and a value with blanks that the shell has cut.
    """
    first = arguments[0]
    flag = first.partition("=")[0].lstrip("-")
    if "=" in first and flag in flags.FLAGS:
        hint = f"Did you mean --{first.lstrip('-')}?"
    elif flag in flags.FLAGS and len(first) > 1:
        hint = f"Did you mean --{flag}=VALUE?"
    elif "gin_param" in flags.FLAGS and flags.FLAGS["gin_param"].value:
        hint = "A binding with blanks needs quotes: --gin_param='train.epochs = 30'."
    else:
        hint = "Flags are written --name=value; a value with blanks needs quotes."
    return app.UsageError(f"Unexpected arguments: {' '.join(arguments)}. {hint}")


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags as `app.run` does; a mistake is said in one line, without the list of all flags."""
    app.define_help_flags()
    try:
        left = _read_flags(argv)
    except BrokenPipeError:  # --help | head
        sys.exit(_seen_enough())
    except (flags.Error, UnicodeError) as err:
        sys.exit(_end(f"{_flag_words(str(err), _loose(argv))} {_help()}", USAGE))
    for flag in _flags():  # a shell leaves the ~ of --out=~/records as it is
        if isinstance(flag.value, str) and (flag.value == "~" or flag.value.startswith("~/")):
            flag.value = os.path.expanduser(flag.value)
    empty = [f"--{flag.name}=" for flag in _flags() if flag.present and flag.value == ""]
    if empty:  # often a shell variable that is not set; an empty --out would be the working directory
        sys.exit(_end(f"{', '.join(empty)} has no value. {_help()}", USAGE))
    return left


def _read_flags(argv: Sequence[str]) -> list[str]:
    """Returns what is left beside the flags; ends with 0 after --help: absl's 1 would be a failure to a script."""
    own = list(argv).index("--") if "--" in argv else len(argv)  # what follows -- are names of files
    try:
        return flags.FLAGS([*("--help" if word == "-h" else word for word in argv[:own]), *argv[own:]])
    except SystemExit:
        sys.stdout.flush()
        sys.exit(0)


def _flags() -> list[flags.Flag]:
    """Returns the flags that this command defines itself, absl's own left out."""
    by_module = flags.FLAGS.flags_by_module_dict()
    return [flag for module, found in by_module.items() if not module.startswith("absl.") for flag in found]


def _loose(argv: Sequence[str]) -> list[str]:
    """Returns the arguments that belong to no flag, as far as can be told where the flags cannot be parsed."""
    before = ["", *argv[1:]]
    return [
        word
        for last, word in zip(before, argv[1:], strict=False)
        if not word.startswith("-") and (not last.startswith("-") or "=" in last)
    ]


def _flag_words(message: str, loose: Sequence[str] = ()) -> str:
    """Returns absl's message on wrong flags as a sentence that names them as they are typed."""
    missing = re.findall(r"^flag --\w+=None: Flag --(\w+) must have a value other than None\.$", message, re.MULTILINE)
    if missing:
        meant = [f"--{word}" for word in loose if word.partition("=")[0] in missing]
        hint = f" Did you mean {' '.join(meant)}?" if meant else ""
        if loose and not meant:
            hint = f" Received without a flag: {' '.join(loose)}. Flags are written --name=value."
        return f"Missing: {', '.join(f'--{flag}' for flag in missing)}.{hint}"
    unknown = re.fullmatch(r"Unknown command line flag '(.+?)'(?:\. Did you mean: (.+?) \?)?", message, re.DOTALL)
    if unknown:
        near = f" Did you mean --{unknown[2].split(' or ')[0]}?" if unknown[2] else ""
        return f"Unknown flag: --{unknown[1]}.{near}"
    illegal = re.fullmatch(r"flag --(\w+)=(.*?): (.+)", message.splitlines()[0], re.DOTALL)
    listed = illegal and re.fullmatch(r"value should be one of <(.+)>", illegal[3])
    if illegal and listed:
        known = listed[1].split("|")
        nearest = difflib.get_close_matches(illegal[2], known, n=1, cutoff=0.6)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        return f"--{illegal[1]}={illegal[2]}: no such value.{hint} Known: {', '.join(known)}."
    if illegal and "invalid literal for int()" in illegal[3]:
        return f"--{illegal[1]}={illegal[2]}: a whole number is needed."
    if illegal and "could not convert string to float" in illegal[3]:
        return f"--{illegal[1]}={illegal[2]}: a number is needed, with a point, as 0.2."
    if illegal:
        return _sentence(f"--{illegal[1]}={illegal[2]}: {illegal[3]}")
    return _sentence(message)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "?", "!", ")")) or not text else f"{text}."


def _help() -> str:
    return f"See {name()} --help."


def _end(message: str, status: int) -> int:
    sys.stdout.flush()
    logging.flush()
    print(f"error: {readable(as_called(message))}", file=sys.stderr, flush=True)
    return status


def _seen_enough() -> int:
    """Ends the output, which `| head` no longer reads; returns the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes what is left at the end of the process
    return FAILED


def _text(path: Any) -> str:
    return os.fsdecode(path) if isinstance(path, (bytes, str, os.PathLike)) else str(path)


class _Plain(std_logging.Formatter):
    """Log lines without time, process and place; a warning or an error says that it is one."""

    def format(self, record: std_logging.LogRecord) -> str:
        text = readable(as_called(record.getMessage()))
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        if record.levelno >= std_logging.ERROR:
            return f"error: {text}"
        return f"warning: {text}" if record.levelno >= std_logging.WARNING else text


def _plain_logging() -> None:
    """Sends log lines and Python's warnings to standard error in the format of every command."""
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(_Plain())

    def show(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        logging.warning("%s", message)

    warnings.showwarning = show
