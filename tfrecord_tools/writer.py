"""Shards, their manifest, and the staging directory from which a killed build goes on.

`.NAME.building/` stands beside the records while they are made: `build.json` (whose build it is), `lock`, `spool/`
(finished images), `chunks.json` (which of them stand together) and `records/` (what becomes NAME in one rename,
dataset.json and its digest last).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import spreadsheet
from dr_edge.data.records import SPLITS, shard_name
from dr_edge.locks import InUse, take
from dr_edge.metadata import (
    ManifestError,
    manifest_path,
    read_manifest,
    write_json,
    write_manifest,
)
from tfrecord_tools import digests
from tfrecord_tools.chunks import FILE as CHUNKS
from tfrecord_tools.facts import Fact
from tfrecord_tools.items import readable, stable_hash
from tfrecord_tools.on_disk import in_order
from tfrecord_tools.split import SplitColumn
from tfrecord_tools.spool import accepted_any, read_frame


class BuildError(RuntimeError):
    """The output or staging directory cannot be used; says what to do."""


def is_built(out: Path, key: str) -> bool:
    """Returns whether `out` already holds the records of the build `key`; False where it is absent or empty.

    Raises:
      BuildError: it holds other records or foreign files.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BuildError(f"--out={out} is no directory. Remove it or write elsewhere.")
    if not out.exists() or not any(out.iterdir()):
        return False
    if not manifest_path(out, "dataset").is_file():
        raise BuildError(f"--out={out} holds other files ({next(out.iterdir()).name} ...). Choose an empty or new one.")
    try:
        found = read_manifest(out, "dataset")
    except ManifestError as err:
        raise BuildError(f"--out={out} holds records that cannot be read: {err} Or write elsewhere.") from err
    if found.get("build_key") == key:
        return True
    raise BuildError(
        f"--out={out} holds another build (data set {found['dataset']}, {found['image_size']} px, other arguments or "
        "other files). Remove it, or write elsewhere."
    )


@dataclasses.dataclass(frozen=True)
class Whose:
    """Whose build an unfinished one is.

    Attributes:
      key: of the build and all its files, as they are now.
      asked: what the command asked for and what decides the bytes of every record; JSON-serialisable.
      data_dir: absolute path of the data directory, "" where images are drawn.
    """

    key: str
    asked: Mapping[str, Any]
    data_dir: str

    def note(self) -> dict[str, Any]:
        """Returns the content of build.json."""
        asked = json.loads(json.dumps(dict(self.asked)))  # a tuple comes back as a list
        return {"key": self.key, "arguments": asked, "data_dir": readable(self.data_dir)}

    def goes_on_from(self, found: Mapping[str, Any]) -> bool:
        """Says whether this command goes on from an unfinished build that noted `found`.

        The same files, wherever they lie now, or the same directory, whatever was changed in it: chunk by chunk it is
        compared what still holds.
        """
        mine = self.note()
        return found.get("key") == self.key or all(found.get(name) == mine[name] for name in ("arguments", "data_dir"))


@contextlib.contextmanager
def staging_directory(out: Path, whose: Whose) -> Iterator[Path]:
    """Yields `.NAME.building` beside `out`, locked, kept on failure so that the same build goes on from it.

    An unfinished build of other arguments that accepted no photograph gives way, and one that comes to nothing
    (ValueError) is not kept: it would only block the corrected command.

    Raises:
      BuildError: another build's files stand there, or a build is running.
    """
    staging = out.parent / f".{out.name}.building"
    staging.mkdir(parents=True, exist_ok=True)
    try:
        lock = take(staging / "lock", out)
    except InUse as err:
        raise BuildError(f"Another build is writing: {err}") from err
    try:
        _claim(staging, whose)
        try:
            yield staging
        except ValueError:
            shutil.rmtree(staging)
            raise
    finally:
        lock.release()


def _claim(staging: Path, whose: Whose) -> None:
    """Makes the staging directory ready for a build, with what it has finished already; raises BuildError."""
    note = staging / "build.json"
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as err:
            raise BuildError(f"{note} is damaged ({err}). Remove {staging} and build again.") from err
        if not whose.goes_on_from(found):
            if accepted_any(staging / "spool"):
                raise BuildError(
                    f"{staging} holds an unfinished build with other arguments or files "
                    f"({difference(found, whose.note())}). Finish it with its own arguments, or give it up: "
                    f"rm -r {shlex.quote(str(staging))}"
                )
            shutil.rmtree(staging / "spool", ignore_errors=True)
            (staging / CHUNKS).unlink(missing_ok=True)
    elif any(path.name != "lock" and path.suffix != ".tmp" for path in staging.iterdir()):
        raise BuildError(f"{staging} holds files that are no build's. Remove that directory.")
    write_json(note, whose.note())
    shutil.rmtree(staging / "records", ignore_errors=True)  # shards are written anew; there may be fewer of them now
    for name in ("spool", "records"):
        (staging / name).mkdir(exist_ok=True)


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Says what is different in the notes of two builds."""
    one, other = ({"data_dir": note.get("data_dir"), **note.get("arguments", {})} for note in (before, now))
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    return ", ".join(f"{name}: {one.get(name)} there, {other.get(name)} now" for name in names) or "other files"


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
      split: of its examples.
      index, count: its place among the shards of its split.
      frames: [N, 3] int64, chunk, offset and length of each example's frame in the spool, in their order.
    """

    split: str
    index: int
    count: int
    frames: np.ndarray

    def __len__(self) -> int:
        """Returns the number of its examples."""
        return len(self.frames)


def plan_shards(facts: Sequence[Fact], splits: SplitColumn, seed: int, size: int) -> list[ShardTask]:
    """Plans the shards: shuffled by SHA-256 of the image id, at most `size` examples each, evenly filled."""
    tasks: list[ShardTask] = []
    for split in SPLITS:
        drawn, places = bytearray(), array("q")
        for index in splits.members(split):
            fact = facts[int(index)]
            drawn += _key(fact.image_id, seed)
            places.extend((fact.chunk, fact.offset, fact.length))
        keys = np.frombuffer(drawn, ">u8").reshape(-1, 2)
        frames = np.frombuffer(places, np.int64).reshape(-1, 3)[np.lexsort((keys[:, 1], keys[:, 0]))]
        del drawn, places, keys
        count = -(-len(frames) // size)
        tasks += [ShardTask(split, index, count, frames[index::count].copy()) for index in range(count)]
    return tasks


def _key(image_id: str, seed: int) -> bytes:
    """Returns 16 bytes of the SHA-256 by which the examples are shuffled."""
    return bytes.fromhex(stable_hash("order", seed, image_id))[:16]


def write_shard(staging: Path, task: ShardTask, on_progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Copies frames of the spool into a shard of `records/` and returns its "file", "sha256", "examples", "bytes"."""
    path = staging / "records" / shard_name(task.split, task.index, task.count)
    # A name of its own: a scheduler that lost a worker gives its shard to another, and the first may still be writing.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    digest = hashlib.sha256()
    size = 0
    with open(temporary, "wb") as file:
        for place in task.frames.tolist():
            frame = read_frame(staging / "spool", *place)
            file.write(frame)
            digest.update(frame)
            size += len(frame)
            on_progress(1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return {"file": path.name, "sha256": digest.hexdigest(), "examples": len(task), "bytes": size}


def write_table(path: Path, header: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Writes a CSV file atomically; rows sorted."""
    write_rows(path, header, in_order(rows))


def write_rows(
    path: Path, header: Sequence[str], rows: Iterable[tuple[str, ...]], errors: str = "backslashreplace"
) -> None:
    """Writes a CSV file atomically; rows as they come; `errors`: what becomes of names that UTF-8 cannot hold."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8", errors=errors) as file:
        spreadsheet.write(file, header, rows)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def finish(staging: Path, out: Path, manifest: Mapping[str, Any]) -> None:
    """Writes dataset.json and the digests, gives the records their name, and removes the staging directory."""
    records = staging / "records"
    for path in records.iterdir():
        if path.name.endswith(".tmp"):
            path.unlink()
    write_manifest(records, "dataset", {**manifest, digests.STATED: digests.FILE})
    digests.write_digests(records)
    if out.is_dir():
        out.rmdir()
    os.replace(records, out)
    shutil.rmtree(staging)
