"""Shards, their manifest, and the staging directory from which a killed build goes on.

`.NAME.building/` stands beside the records while they are made: `build.json` (whose build it is), `lock`, `spool/`
(finished images) and `records/` (what becomes NAME in one rename, dataset.json and its digest last).
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge.data.records import SPLITS, shard_name
from dr_edge.locks import InUse, take
from dr_edge.metadata import (
    ManifestError,
    manifest_path,
    read_manifest,
    write_json,
    write_manifest,
    write_text,
)
from tfrecord_tools import digests
from tfrecord_tools.items import stable_hash
from tfrecord_tools.spool import Fact, accepted_any, read_frame


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


@contextlib.contextmanager
def staging_directory(out: Path, key: str, arguments: Mapping[str, Any]) -> Iterator[Path]:
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
        note = staging / "build.json"
        if note.is_file():
            try:
                found = json.loads(note.read_text(encoding="utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as err:
                raise BuildError(f"{note} is damaged ({err}). Remove {staging} and build again.") from err
            if found.get("key") != key and not accepted_any(staging / "spool"):
                for name in ("spool", "records"):
                    shutil.rmtree(staging / name, ignore_errors=True)
                write_json(note, {"key": key, "arguments": dict(arguments)})
            elif found.get("key") != key:
                raise BuildError(
                    f"{staging} holds an unfinished build with other arguments or files "
                    f"({difference(found.get('arguments', {}), arguments)}). Finish it with its own arguments, "
                    f"or give it up: rm -r {shlex.quote(str(staging))}"
                )
        elif any(path.name != "lock" and path.suffix != ".tmp" for path in staging.iterdir()):
            raise BuildError(f"{staging} holds files that are no build's. Remove that directory.")
        else:
            write_json(note, {"key": key, "arguments": dict(arguments)})
        for name in ("spool", "records"):
            (staging / name).mkdir(exist_ok=True)
        try:
            yield staging
        except ValueError:
            shutil.rmtree(staging)
            raise
    finally:
        lock.release()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Says in which arguments two builds differ."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(f"{name}: {before.get(name)} there, {now.get(name)} now" for name in names) or "other files"


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write: its place among the `count` shards of its split, and its examples in their order."""

    split: str
    index: int
    count: int
    facts: Sequence[Fact]


def plan_shards(facts: Sequence[Fact], splits: Mapping[int, str], seed: int, size: int) -> list[ShardTask]:
    """Plans the shards: shuffled by SHA-256 of the image id, at most `size` examples each, evenly filled."""
    tasks: list[ShardTask] = []
    for split in SPLITS:
        members = [facts[index] for index, name in splits.items() if name == split]
        members.sort(key=lambda fact: stable_hash("order", seed, fact.image_id))
        count = -(-len(members) // size)
        tasks += [ShardTask(split, index, count, members[index::count]) for index in range(count)]
    return tasks


def write_shard(staging: Path, task: ShardTask, on_progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Copies frames of the spool into a shard of `records/` and returns its "file", "sha256", "examples", "bytes"."""
    path = staging / "records" / shard_name(task.split, task.index, task.count)
    temporary = path.with_name(f".{path.name}.tmp")
    digest = hashlib.sha256()
    size = 0
    with open(temporary, "wb") as file:
        for fact in task.facts:
            frame = read_frame(staging / "spool", fact)
            file.write(frame)
            digest.update(frame)
            size += len(frame)
            on_progress(1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return {"file": path.name, "sha256": digest.hexdigest(), "examples": len(task.facts), "bytes": size}


def write_table(path: Path, header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Writes a CSV file atomically; rows sorted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(sorted(rows))
    write_text(path, text.getvalue())


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
