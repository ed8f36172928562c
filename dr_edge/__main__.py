"""One command for the whole chain: `dr-edge COMMAND --flags` (also `python -m dr_edge COMMAND --flags`).

Each subcommand is the module that `python -m MODULE` runs, with the same flags, messages and exit status.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dr_edge.subcommands import CALLED_AS, NAMES, SUBCOMMANDS

HELP = ("--help", "-help", "-h", "help")
VERSION = ("--version", "-version", "version")
CHAIN = "photographs -> RECORDS -> RUN -> BUNDLE -> answers"
USAGE = 2


def main() -> int:
    """Runs the subcommand that the command line names; returns the exit status where there is none to run."""
    program = "python -m dr_edge" if Path(sys.argv[0]).name == "__main__.py" else "dr-edge"
    word, *arguments = sys.argv[1:] or [""]
    if word == "help" and arguments[:1] and arguments[0] not in HELP:
        word, arguments = arguments[0], ["--help"]
    if word in HELP:
        return _show(overview(program))
    if word in VERSION:
        return _show(version())
    if word not in SUBCOMMANDS:
        print(f"error: {refusal(word, program)}", file=sys.stderr)
        return USAGE
    _become(word, arguments, program)
    return 0


def overview(program: str) -> str:
    """Returns the map of the chain: what comes in, the command, what goes out."""
    width = max(map(len, SUBCOMMANDS))
    reads = max(len(entry.reads) for entry in SUBCOMMANDS.values())
    rows = [f"  {name:{width}}  {entry.reads:{reads}}  ->  {entry.leaves}" for name, entry in SUBCOMMANDS.items()]
    return "\n".join([
        "Retinal screening models that run on a phone.", "", f"  {program} COMMAND --flags", "",
        CHAIN, "Each command reads the directory that one before it has left.", "",
        f"  {'COMMAND':{width}}  {'comes in':{reads}}      goes out", *rows, "",
        f"{program} COMMAND --help says what it takes; {program} demo shows all of it in a few minutes.",
        "Not a medical device.",
    ])  # fmt: skip


def version() -> str:
    """Returns what a report of a fault needs: the versions of dr_edge, Python and the operating system."""
    import platform
    from importlib import metadata

    try:
        own = metadata.version("dr_edge")
    except metadata.PackageNotFoundError:
        own = "(a checkout that is not installed)"
    return f"dr_edge {own}, Python {platform.python_version()}, {platform.platform()}"


def refusal(word: str, program: str) -> str:
    """Returns what is wrong with a command line that names no subcommand, and what is probably meant."""
    import difflib

    known = f"Known: {', '.join(SUBCOMMANDS)}. See {program} --help."
    if not word:
        return f"A command is needed: {program} COMMAND --flags. {known}"
    if word.startswith("-"):
        return f"The command comes first, then its flags: {program} COMMAND {word}. {known}"
    near = NAMES.get(word) or next(iter(difflib.get_close_matches(word.lower(), SUBCOMMANDS, n=1, cutoff=0.5)), None)
    hint = f" Did you mean {program} {near}?" if near else ""
    return f"Unknown command: {word!r}.{hint} {known}"


def _become(name: str, arguments: list[str], program: str) -> None:
    """Runs a subcommand in this process as `python -m` would; it ends the process."""
    import runpy

    entry = SUBCOMMANDS[name]
    os.environ[CALLED_AS] = program
    sys.argv[1:] = [*entry.first, *arguments]
    # The module becomes __main__, so that its help, its flags and its worker processes are what they always are.
    runpy.run_module(entry.module, run_name="__main__", alter_sys=True)


def _show(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # | head has seen enough; Python writes what is left at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
