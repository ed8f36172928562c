"""The resumable middle of a build: finished images in chunks on disk, before anybody knows their split.

A chunk (`chunks`) holds the records of some 32 items in the order of their ids as TFRecord frames, beside it the small
pictures by which near-duplicates are found, and a JSON list with one Fact per item. The JSON is written last: a chunk
with a readable JSON is whole, and a build that was killed goes on with the first chunk that has none.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from dr_edge.data.records import encode
from dr_edge.data.wire import frame
from dr_edge.metadata import sha256_file, write_bytes, write_json
from tfrecord_tools.chunks import FRAMES, NOTES, PICTURES, Chunks, item_digest
from tfrecord_tools.duplicates import COARSE_BYTES, FINE_SIDE, PICTURE_BYTES
from tfrecord_tools.facts import Fact as Fact
from tfrecord_tools.facts import FactTable
from tfrecord_tools.items import Item
from tfrecord_tools.process import Outcome
from tfrecord_tools.standing import finished_chunks


def fill(
    spool: Path,
    chunks: Chunks,
    work: Callable[[Iterable[Item]], Iterator[Outcome]],
    on_progress: Callable[[int], None],
    data_dir: str = "",
    threads: int = 1,
) -> None:
    """Writes the chunks that are not there yet, or that would not be made the same today.

    Args:
      spool: an existing directory.
      chunks: of all items of the build.
      work: maps items to Outcomes in their order, lazily.
      on_progress: told how many items are done, finished chunks included.
      data_dir, threads: see `finished_chunks`.
    """
    todo = unfinished(spool, chunks, on_progress, data_dir, threads)
    outcomes = work(item for place in todo for item in chunks.part(place))
    for place in todo:
        mine = (next(outcomes) for _ in range(chunks.size(place)))
        write_chunk(spool, chunks.numbers[place], mine, on_progress)


def unfinished(
    spool: Path, chunks: Chunks, on_progress: Callable[[int], None], data_dir: str, threads: int
) -> list[int]:
    """Returns the places of the chunks that are to be made; tells `on_progress` of the items of the others."""
    done = set(finished_chunks(spool, chunks, data_dir, threads))
    on_progress(sum(map(chunks.size, done)))
    return [place for place in range(len(chunks)) if chunks.size(place) and place not in done]


def write_chunk(
    spool: Path,
    number: int,
    outcomes: Iterable[Outcome],
    on_progress: Callable[[int], None] = lambda _: None,
    before_renaming: Callable[[], None] = lambda: None,
) -> None:
    """Writes one chunk: its frames under a temporary name, renamed, its pictures, then its JSON.

    Args:
      spool: the directory.
      number: of the chunk.
      outcomes: of its items, in their order.
      on_progress: told of each.
      before_renaming: called when all is made and nothing has its name; what it raises leaves the chunk as it was.
    """
    frames, pictures = spool / FRAMES.format(number), spool / PICTURES.format(number)
    # A name of its own: a scheduler that lost a worker gives its chunk to another, and the first may still be writing.
    temporary = frames.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
    facts: list[Fact] = []
    items: list[str] = []
    small: list[bytes] = []
    offset = 0
    with open(temporary, "wb") as file:
        for outcome in outcomes:
            data = frame(encode(outcome.record)) if outcome.record is not None else b""
            file.write(data)
            facts.append(_fact(outcome, number, offset, len(data)))
            items.append(item_digest(outcome.item))
            small.append(outcome.picture.ljust(PICTURE_BYTES, b"\0"))
            offset += len(data)
            on_progress(1)
        file.flush()
        os.fsync(file.fileno())
    try:
        before_renaming()
    except BaseException:
        temporary.unlink()
        raise
    os.replace(temporary, frames)
    write_bytes(pictures, b"".join(small))
    digests = {path.name: sha256_file(path) for path in (frames, pictures)}
    write_json(
        spool / NOTES.format(number),
        {"sha256": digests, "items": items, "facts": [dataclasses.asdict(fact) for fact in facts]},
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


def each_fact(spool: Path, chunks: Chunks) -> Iterator[Fact]:
    """Yields the facts of all items in their order, a chunk of them in memory at a time.

    Raises:
      RuntimeError: a chunk is not there.
    """
    for place, number in enumerate(chunks.numbers):
        if not chunks.size(place):  # what it held is gone
            continue
        notes = spool / NOTES.format(number)
        if not notes.is_file():
            raise RuntimeError(f"{notes} is missing. Run the same build command again: it goes on from here.")
        yield from (Fact(**fact) for fact in json.loads(notes.read_text(encoding="utf-8"))["facts"])


def read_facts(spool: Path, chunks: Chunks) -> FactTable:
    """Returns what the split needs of all items, in their order; raises RuntimeError as `each_fact`."""
    return FactTable(each_fact(spool, chunks))


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


def read_coarse_pictures(spool: Path, chunks: Chunks) -> np.ndarray:
    """Returns [items, 1024] int8, the coarse pictures of all items; zeros for rejected ones."""
    coarse = np.zeros((len(chunks.items), COARSE_BYTES), np.int8)
    for place, number in enumerate(chunks.numbers):
        if chunks.size(place):
            pictures = np.fromfile(spool / PICTURES.format(number), np.int8).reshape(-1, PICTURE_BYTES)
            coarse[chunks.span(place)] = pictures[:, :COARSE_BYTES]
    return coarse


def read_fine_picture(spool: Path, chunks: Chunks, item: int) -> np.ndarray:
    """Returns [64, 64] int8, the fine picture of the item at that place."""
    number, place = chunks.find(item)
    start = place * PICTURE_BYTES + COARSE_BYTES
    pictures = np.fromfile(spool / PICTURES.format(number), np.int8, count=FINE_SIDE**2, offset=start)
    return pictures.reshape(FINE_SIDE, FINE_SIDE)
