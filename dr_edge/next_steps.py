"""The command that leads on from a finished one or a failed one, quoted so that it can be pasted."""

from __future__ import annotations

import os
import shlex
import string
from pathlib import Path

from dr_edge.subcommands import as_called


def quoted(text: str) -> str:
    """Returns a flag's value quoted for a shell, in double quotes where they serve; bytes that are no text as \\x.."""
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        plain = string.ascii_letters + string.digits + "/._-=+,: "
        return "$'" + "".join(chr(byte) if chr(byte) in plain else f"\\x{byte:02x}" for byte in os.fsencode(text)) + "'"
    if shlex.quote(text) == text:
        return text
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def after_evaluation(run_dir: str | os.PathLike, records: str | os.PathLike, split: str) -> str:
    """Returns the command that shows where the run looks on what it was evaluated on; where that stands, of its bundle.

    Args:
      run_dir: a finished run.
      records: the records directory that it was evaluated on.
      split: and the split.
    """
    heatmaps = Path(run_dir, "heatmaps")
    if heatmaps.exists():
        return after_explanation(run_dir)
    words = ["python", "-m", "dr_edge.explain", f"--run_dir={run_dir}", f"--images={records}", f"--split={split}"]
    return as_called(shlex.join([*words, "--limit=12", f"--out={heatmaps}"]))


def after_explanation(run_dir: str | os.PathLike) -> str:
    """Returns the command that makes a bundle of the run, in bundles/ and called as the run is."""
    bundle = Path("bundles", Path(run_dir).resolve().name)
    return as_called(shlex.join(["python", "-m", "export", f"--run_dir={run_dir}", f"--out={bundle}"]))
