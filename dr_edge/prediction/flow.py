"""What `python -m dr_edge.predict` does: answers photograph after photograph, as one JSON document on a stream."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from dr_edge import metadata
from dr_edge.drawing.overlay import POSITIVE
from dr_edge.prediction import files
from dr_edge.prediction.answering import Answered, answered
from dr_edge.prediction.bundle import Bundle
from dr_edge.prediction.console import Console
from dr_edge.prediction.predictor import Predictor
from dr_edge.prediction.schema import SCHEMA, SCHEMA_VERSION, UNREADABLE, Answer
from dr_edge.prediction.workers import Workers, sensible
from dr_edge.subcommands import as_called
from dr_edge.verdict import BETTER, stated


def predict_files(
    bundle: Bundle,
    arguments: Sequence[str],
    out: TextIO,
    overlay: str | None = None,
    threads: int = 1,
    notes: TextIO | None = None,
    heat_maps: str = POSITIVE,
    workers: int | None = 1,
) -> int:
    """Answers photographs and writes the document to `out`, an answer a line, each as soon as it is there.

    One document, so that any JSON reader takes it; interrupted or failed, it is closed and says "complete": false, and
    "error" what failed. To be called in the main thread, where signals arrive.

    Args:
      bundle: from `open_bundle`.
      arguments: files and directories.
      out: text stream.
      overlay: new or empty directory for a PNG per answered photograph; None for none.
      threads: of the model's arithmetic, in each process.
      heat_maps: of the overlays: "positive" draws them where the answer is positive, "all" everywhere.
      notes: text stream for people: progress, and a summary where it is a terminal or overlays are drawn; None for
        none.
      workers: processes; 1 for this one, None for as many as there are cores where photographs are many. The document
        does not depend on it.

    Returns:
      How many files were unreadable.

    Raises:
      ValueError, OSError: no files, an overlay directory in use, or a broken artifact; nothing was written then.
      RuntimeError: a process cannot start.
      Exception: whatever failed at a photograph (an overlay that cannot be written, outputs that are not finite), after
        the document was closed.
      KeyboardInterrupt: Ctrl-C, after the document was closed.
    """
    paths, passed = files.expand(arguments)
    if bundle.verdict["status"] != BETTER:
        passed.append(bundle.verdict["text"])
    unchecked = bundle.manifest.get("ood", {}).get("reason")
    if unchecked:
        passed.append(f"No photograph is checked for being unlike those of training: {unchecked}.")
    if notes is not None:
        for note in passed:
            print(metadata.readable(as_called(note)), file=notes)
    with files.new_directory(overlay) as directory:
        console = Console(len(paths), notes, directory, bundle.manifest.get("warning"))
        drawn = None if directory is None else heat_maps
        count = min(sensible(len(paths)) if workers is None else workers, len(paths))
        with _answering(bundle, paths, count, threads, drawn) as answers:
            return _write_document(bundle, _named(answers, paths, directory), len(paths), out, console)


@contextlib.contextmanager
def _answering(
    bundle: Bundle, paths: Sequence[Path], workers: int, threads: int, heat_maps: str | None
) -> Iterator[Iterator[Answered]]:
    """Yields the answers in the order of `paths`: from this process, or from so many."""
    if workers == 1:
        predictor = Predictor(bundle, threads)
        yield (answered(predictor, str(path), heat_maps) for path in paths)
        return
    with Workers(bundle, workers, threads) as processes:
        yield processes.answers(map(str, paths), heat_maps)


def _write_document(bundle: Bundle, answers: Iterator[Answer], total: int, out: TextIO, console: Console) -> int:
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "bundle": description(bundle)}
    out.write(json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}") + ',\n "answers": [')
    count, failed = 0, 0
    with contextlib.closing(console), _interrupt_noted() as interrupted:
        try:
            for answer in answers:
                line = (",\n  " if count else "\n  ") + json.dumps(answer.to_json(), allow_nan=False)
                with console.printing(out):
                    out.write(line)
                    out.flush()
                console.add(answer)
                count, failed = count + 1, failed + (answer.status == UNREADABLE)
                if interrupted:
                    break
        except BrokenPipeError:  # nobody reads the end
            raise
        except Exception as err:
            tail = {
                "complete": False,
                "photographs": count,
                "unreadable": failed,
                "error": metadata.readable(f"{type(err).__name__}: {err}"),
            }
            with contextlib.suppress(OSError):  # where the stream itself failed, the first error is the one to tell
                _close(out, tail)
            raise
        _close(out, {"complete": count == total, "photographs": count, "unreadable": failed})
    if count < total:
        raise KeyboardInterrupt
    return failed


def _close(out: TextIO, tail: Mapping[str, Any]) -> None:
    out.write("\n ],\n " + json.dumps(tail)[1:-1] + "\n}\n")
    out.flush()


@contextlib.contextmanager
def _interrupt_noted() -> Iterator[list[int]]:
    """Yields a list that Ctrl-C adds to, so that it cannot fall into the middle of a line; a second stops at once."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            signal.default_int_handler(number, frame)
        noted.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def description(bundle: Bundle) -> dict[str, Any]:
    """Returns what a reader of answers must know of the bundle that gave them."""
    return {
        "task": bundle.manifest["task"]["name"],
        "class_names": list(bundle.class_names),
        "positive_class": bundle.positive_name or None,
        "artifact": bundle.artifact,
        "sha256": bundle.sha256,
        "image_size": bundle.image_size,
        "warning": bundle.manifest.get("warning"),
        "verdict": stated(bundle.verdict),
    }


def _named(answers: Iterator[Answered], paths: Sequence[Path], directory: Path | None) -> Iterator[Answer]:
    """Yields the answers with the names under which their pictures were written."""
    taken: set[str] = set()
    for path, (answer, picture) in zip(paths, answers, strict=True):
        if directory is None or picture is None:
            yield answer
            continue
        name = files.picture_name(path, taken)
        metadata.write_bytes(directory / name, picture)
        yield dataclasses.replace(answer, overlay=name)
