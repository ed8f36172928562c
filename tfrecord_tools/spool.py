"""The resumable middle of a build: finished images in chunks on disk, before anybody knows their split.

Chunk k holds the records of items 32k .. 32k+31 (in the order of their ids) as TFRecord frames, beside it the small
pictures by which near-duplicates are found, and a JSON list with one Fact per item. The JSON is written last: a chunk
with a readable JSON is whole, and a build that was killed goes on with the first chunk that has none.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from dr_edge.data.records import encode
from dr_edge.data.wire import frame
from dr_edge.metadata import sha256_file, write_bytes, write_json
from dr_edge.progress import Progress
from tfrecord_tools.duplicates import COARSE_BYTES, FINE_SIDE, PICTURE_BYTES
from tfrecord_tools.facts import Fact as Fact
from tfrecord_tools.facts import FactTable
from tfrecord_tools.fingerprints import NAMED, changed, in_threads, listed
from tfrecord_tools.items import Item
from tfrecord_tools.process import Outcome

CHUNK_ITEMS = 32
NOTES, FRAMES, PICTURES = "chunk-{:06d}.json", "chunk-{:06d}.tfrecord", "chunk-{:06d}.pictures"


def chunk_count(items: int) -> int:
    """Returns the number of chunks for that many items."""
    return -(-items // CHUNK_ITEMS)


def finished_chunks(spool: Path, items: int, data_dir: str, threads: int = 1) -> list[int]:
    """Returns the indices of the chunks that stand whole in `spool`, made of files that are still what was read.

    A chunk of which a file has changed is told of, and left to be made again; so is one of an earlier release, which
    kept no digests of what it read.

    Args:
      spool: a directory, perhaps empty.
      items: of the build.
      data_dir: absolute path of the data directory, "" where images are drawn.
      threads: that read files at once.
    """
    standing = [index for index in range(chunk_count(items)) if (spool / NOTES.format(index)).is_file()]
    if not standing:
        return []
    finished: list[int] = []
    named: list[str] = []
    count = 0
    looked_at = in_threads(lambda index: changed_since(spool, index, data_dir), standing, threads)
    bar = Progress(looked_at, total=len(standing), desc="finished chunks", unit="chunk", delay=2.0)
    for index, stale in zip(standing, bar, strict=True):
        if stale is None:
            continue
        if not stale:
            finished.append(index)
        count += len(stale)
        named += stale if len(named) < NAMED else []
    if count:
        logging.warning(
            "%d of the files that this build has read were changed since: %s. What was made of them is made again.",
            count,
            listed(named, count),
        )
    return finished


def is_finished(spool: Path, index: int, data_dir: str) -> bool:
    """Says whether a chunk stands whole, made of files that are still what was read."""
    return changed_since(spool, index, data_dir) == []


def changed_since(spool: Path, index: int, data_dir: str) -> list[str] | None:
    """Returns which files of a chunk have changed since it was made; None where the chunk is not whole."""
    try:
        notes = json.loads((spool / NOTES.format(index)).read_text(encoding="utf-8"))
        if any(sha256_file(spool / name) != digest for name, digest in notes["sha256"].items()):
            return None
        if not data_dir:
            return []
        if not all(fact["files"] for fact in notes["facts"]):
            return None
        return changed(data_dir, (pair for fact in notes["facts"] for pair in fact["files"].items()))
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError, FileNotFoundError):  # a power failure: made again
        return None


def fill(
    spool: Path,
    items: Sequence[Item],
    work: Callable[[Iterable[Item]], Iterator[Outcome]],
    on_progress: Callable[[int], None],
    data_dir: str = "",
    threads: int = 1,
) -> None:
    """Writes the chunks that are not there yet, or whose files have changed since.

    Args:
      spool: an existing directory.
      items: all items of the build, sorted.
      work: maps items to Outcomes in their order, lazily.
      on_progress: told how many items are done, finished chunks included.
      data_dir, threads: see `finished_chunks`.
    """
    done = set(finished_chunks(spool, len(items), data_dir, threads))
    on_progress(sum(len(chunk_items(items, index)) for index in done))
    todo = [index for index in range(chunk_count(len(items))) if index not in done]
    outcomes = work(item for index in todo for item in chunk_items(items, index))
    for index in todo:
        count = len(chunk_items(items, index))
        write_chunk(spool, index, (next(outcomes) for _ in range(count)), on_progress)


def chunk_items(items: Sequence[Item], index: int) -> Sequence[Item]:
    """Returns the items of a chunk."""
    return items[index * CHUNK_ITEMS : (index + 1) * CHUNK_ITEMS]


def write_chunk(
    spool: Path, index: int, outcomes: Iterable[Outcome], on_progress: Callable[[int], None] = lambda _: None
) -> None:
    """Writes one chunk: its frames under a temporary name, renamed, its pictures, then its JSON."""
    frames, pictures = spool / FRAMES.format(index), spool / PICTURES.format(index)
    # A name of its own: a scheduler that lost a worker gives its chunk to another, and the first may still be writing.
    temporary = frames.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
    facts: list[Fact] = []
    small: list[bytes] = []
    offset = 0
    with open(temporary, "wb") as file:
        for outcome in outcomes:
            data = frame(encode(outcome.record)) if outcome.record is not None else b""
            file.write(data)
            facts.append(_fact(outcome, index, offset, len(data)))
            small.append(outcome.picture.ljust(PICTURE_BYTES, b"\0"))
            offset += len(data)
            on_progress(1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, frames)
    write_bytes(pictures, b"".join(small))
    digests = {path.name: sha256_file(path) for path in (frames, pictures)}
    write_json(
        spool / NOTES.format(index),
        {"sha256": digests, "facts": [dataclasses.asdict(fact) for fact in facts]},
    )


def _fact(outcome: Outcome, chunk: int, offset: int, length: int) -> Fact:
    item, record = outcome.item, outcome.record
    if record is None:
        return Fact(item.image_id, item.path, reason=outcome.reason, files=outcome.files)
    return Fact(
        image_id=item.image_id,
        path=item.path,
        patient=record.patient_id,
        split=item.split,
        labels=dict(record.labels),
        masks=sorted(record.masks),
        empty_masks=list(outcome.empty_masks),
        sha256=record.sha256,
        pixels=outcome.pixels,
        quality=record.quality,
        kind=outcome.kind,
        enlarged=outcome.enlarged,
        source_size=record.source_size,
        chunk=chunk,
        offset=offset,
        length=length,
        files=outcome.files,
    )


def each_fact(spool: Path, items: int) -> Iterator[Fact]:
    """Yields the facts of all items in their order, a chunk of them in memory at a time.

    Raises:
      RuntimeError: a chunk is not there.
    """
    for index in range(chunk_count(items)):
        notes = spool / NOTES.format(index)
        if not notes.is_file():
            raise RuntimeError(f"{notes} is missing. Run the same build command again: it goes on from here.")
        yield from (Fact(**fact) for fact in json.loads(notes.read_text(encoding="utf-8"))["facts"])


def read_facts(spool: Path, items: int) -> FactTable:
    """Returns what the split needs of all items, in their order; raises RuntimeError as `each_fact`."""
    return FactTable(each_fact(spool, items))


def accepted_any(spool: Path) -> bool:
    """Says if a spool, perhaps of another build, holds a photograph that was not rejected, or what cannot be read."""
    for notes in spool.glob(NOTES.replace("{:06d}", "*")):
        try:
            if any(not fact["reason"] for fact in json.loads(notes.read_text(encoding="utf-8"))["facts"]):
                return True
        except (ValueError, KeyError, TypeError):
            return True
    return False


def read_frame(spool: Path, chunk: int, offset: int, length: int) -> bytes:
    """Returns the TFRecord frame that stands at a place of a chunk, checksums included."""
    path = spool / FRAMES.format(chunk)
    with open(path, "rb") as file:
        file.seek(offset)
        frame = file.read(length)
    if len(frame) != length:
        raise RuntimeError(f"{path} ends early. Remove {spool.parent} and run the build command again.")
    return frame


def read_coarse_pictures(spool: Path, items: int) -> np.ndarray:
    """Returns [items, 1024] int8, the coarse pictures of all items; zeros for rejected ones."""
    coarse = np.zeros((items, COARSE_BYTES), np.int8)
    for index in range(chunk_count(items)):
        pictures = np.fromfile(spool / PICTURES.format(index), np.int8).reshape(-1, PICTURE_BYTES)
        coarse[index * CHUNK_ITEMS : index * CHUNK_ITEMS + len(pictures)] = pictures[:, :COARSE_BYTES]
    return coarse


def read_fine_picture(spool: Path, item: int) -> np.ndarray:
    """Returns [64, 64] int8, the fine picture of the item at that place."""
    index, place = divmod(item, CHUNK_ITEMS)
    start = place * PICTURE_BYTES + COARSE_BYTES
    pictures = np.fromfile(spool / PICTURES.format(index), np.int8, count=FINE_SIDE**2, offset=start)
    return pictures.reshape(FINE_SIDE, FINE_SIDE)
