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
from dr_edge.drawing.overlay import POSITIVE, encode_png
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import read_file
from dr_edge.prediction import files, pictures
from dr_edge.prediction.answer import unreadable
from dr_edge.prediction.bundle import Bundle
from dr_edge.prediction.console import Console
from dr_edge.prediction.predictor import Predictor
from dr_edge.prediction.schema import SCHEMA, SCHEMA_VERSION, UNREADABLE, Answer
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
) -> int:
    """Answers photographs and writes the document to `out`, an answer a line, each as soon as it is there.

    One document, so that any JSON reader takes it; interrupted or failed, it is closed and says "complete": false, and
    "error" what failed. To be called in the main thread, where signals arrive.

    Args:
      bundle: from `open_bundle`.
      arguments: files and directories.
      out: text stream.
      overlay: new or empty directory for a PNG per answered photograph; None for none.
      threads: of the model's arithmetic.
      heat_maps: of the overlays: "positive" draws them where the answer is positive, "all" everywhere.
      notes: text stream for people: progress, and a summary where it is a terminal or overlays are drawn; None for
        none.

    Returns:
      How many files were unreadable.

    Raises:
      ValueError, OSError: no files, an overlay directory in use, or a broken artifact; nothing was written then.
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
            print(as_called(note), file=notes)
    with files.new_directory(overlay) as directory:
        console = Console(len(paths), notes, directory, bundle.manifest.get("warning"))
        return _predict_paths(Predictor(bundle, threads), paths, out, directory, console, heat_maps)


def _predict_paths(
    predictor: Predictor, paths: Sequence[Path], out: TextIO, directory: Path | None, console: Console, heat_maps: str
) -> int:
    bundle = predictor.bundle
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "bundle": description(bundle)}
    out.write(json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}") + ',\n "answers": [')
    count, failed = 0, 0
    with contextlib.closing(console), _interrupt_noted() as interrupted:
        try:
            for answer in _answers(predictor, paths, directory, heat_maps):
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
                "error": f"{type(err).__name__}: {err}",
            }
            with contextlib.suppress(OSError):  # where the stream itself failed, the first error is the one to tell
                _close(out, tail)
            raise
        _close(out, {"complete": count == len(paths), "photographs": count, "unreadable": failed})
    if count < len(paths):
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


def _answers(predictor: Predictor, paths: Sequence[Path], directory: Path | None, heat_maps: str) -> Iterator[Answer]:
    taken: set[str] = set()
    for path in paths:
        try:
            result = predictor.predict(read_file(path))
        except PhotographError as err:
            yield unreadable(str(path), err.reason, str(err))
            continue
        answer = dataclasses.replace(result.answer, file=str(path))
        if directory is not None and result.crop is not None:
            name = files.picture_name(path, taken)
            picture = pictures.sheet(predictor.bundle, answer, result.crop, result.outputs, heat_maps)
            metadata.write_bytes(directory / name, encode_png(picture))
            answer = dataclasses.replace(answer, overlay=name)
        yield answer
