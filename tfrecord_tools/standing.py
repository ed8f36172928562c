"""What an unfinished build has made already, and whether it would be made the same today.

A finished chunk holds where its photographs are listed as they were (id, file, patient, labels, split, masks) and the
bytes of their files are those that were read. Any other chunk is made again, and no other one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from dr_edge.metadata import sha256_file
from dr_edge.progress import Progress
from tfrecord_tools.chunks import NOTES, Chunks, item_digest
from tfrecord_tools.fingerprints import NAMED, changed, in_threads, listed
from tfrecord_tools.items import Item


@dataclasses.dataclass(frozen=True)
class Changes:
    """What is different in a chunk since it was made.

    Attributes:
      files: photographs, masks and contours of other bytes, or gone.
      items: photographs that are new, gone or declared otherwise, by their files.
    """

    files: Sequence[str] = ()
    items: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.items)


def finished_chunks(spool: Path, chunks: Chunks, data_dir: str, threads: int = 1) -> list[int]:
    """Returns the places of the chunks that stand whole in `spool`, and would be made the same today.

    A chunk in which something changed is told of, and left to be made again; so is one of an earlier release, which
    kept no digests of what it read.

    Args:
      spool: a directory, perhaps empty.
      chunks: of the build.
      data_dir: absolute path of the data directory, "" where images are drawn.
      threads: that read files at once.
    """
    numbers = chunks.numbers
    standing = [place for place in range(len(chunks)) if (spool / NOTES.format(numbers[place])).is_file()]
    if not standing:
        return []

    def look(place: int) -> Changes | None:
        return changed_since(spool, numbers[place], chunks.part(place), data_dir)

    finished: list[int] = []
    files, items = _Named(), _Named()
    bar = Progress(
        in_threads(look, standing, threads), total=len(standing), desc="finished chunks", unit="chunk", delay=2.0
    )
    for place, changes in zip(standing, bar, strict=True):
        if changes is None:
            continue
        if not changes:
            finished.append(place)
        files.add(changes.files)
        items.add(changes.items)
    if files.count:
        logging.warning(
            "%d of the files that this build has read were changed since: %s. What was made of them is made again.",
            files.count,
            files,
        )
    if items.count:
        logging.warning(
            "%d photographs are new, gone or listed otherwise since this build began: %s. What was made of them is "
            "made again.",
            items.count,
            items,
        )
    return finished


def is_finished(spool: Path, number: int, items: Sequence[Item], data_dir: str) -> bool:
    """Says whether a chunk stands whole, and would be made the same today."""
    changes = changed_since(spool, number, items, data_dir)
    return changes is not None and not changes


def changed_since(spool: Path, number: int, items: Sequence[Item], data_dir: str) -> Changes | None:
    """Returns what has changed in a chunk since it was made; None where the chunk is not whole.

    Args:
      spool: its directory.
      number: of the chunk.
      items: that it should hold.
      data_dir: as `finished_chunks`.
    """
    try:
        notes = json.loads((spool / NOTES.format(number)).read_text(encoding="utf-8"))
        if any(sha256_file(spool / name) != digest for name, digest in notes["sha256"].items()):
            return None
        if data_dir and not all(fact["files"] for fact in notes["facts"]):
            return None
        others = _listed_otherwise(notes, items)
        files = (pair for fact in notes["facts"] for pair in fact["files"].items() if fact["image_id"] not in others)
        return Changes(changed(data_dir, files) if data_dir else [], list(others.values()))
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError, FileNotFoundError):  # a power failure: made again
        return None


def _listed_otherwise(notes: Mapping[str, Any], items: Sequence[Item]) -> dict[str, str]:
    """Returns id -> file (or id) of the photographs that the chunk holds and `items` do not, or the reverse."""
    before = {fact["image_id"]: digest for fact, digest in zip(notes["facts"], notes["items"], strict=True)}
    now = {item.image_id: item_digest(item) for item in items}
    names = {fact["image_id"]: fact["path"] or fact["image_id"] for fact in notes["facts"]}
    names |= {item.image_id: item.path or item.image_id for item in items}
    return {one: names[one] for one in names if before.get(one) != now.get(one)}


class _Named:
    """Names that are counted, and the first of them."""

    def __init__(self) -> None:
        self.count, self._first = 0, list[str]()

    def add(self, names: Sequence[str]) -> None:
        """Counts names."""
        self.count += len(names)
        self._first += names if len(self._first) < NAMED else []

    def __str__(self) -> str:
        return listed(self._first, self.count)
