"""The builder as Apache Beam pipelines, for data sets that one machine would take days for.

  pip install "dr_edge[beam]"
  python -m tfrecord_tools.build --dataset=eyepacs --data_dir=/mnt/eyepacs --out=/mnt/records/eyepacs \\
      --runner=FlinkRunner --beam_option=flink_master=host:8081 --beam_option=environment_type=LOOPBACK
  pip install "dr_edge[dask]"
  python -m tfrecord_tools.build --dataset=eyepacs --data_dir=/mnt/eyepacs --out=/mnt/records/eyepacs \\
      --runner=DaskRunner --beam_option=dask_client_address=tcp://host:8786

One pipeline fills the spool, a chunk of 32 photographs per element; splits are decided by the launcher, which needs all
facts at once; a second pipeline writes the shards. Workers run the same functions as the local engine, so that the
shards are the same byte for byte, and a build that was cut off goes on. The data and output directories must be on a
file system that every worker sees under the same path (NFS, Lustre, a mounted bucket).
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr_edge.metadata import write_json
from tfrecord_tools.beam_runner import WorkerBlind, run_pipeline
from tfrecord_tools.chunks import NOTES, Chunks
from tfrecord_tools.items import Item
from tfrecord_tools.process import Settings, process
from tfrecord_tools.spool import unfinished, write_chunk
from tfrecord_tools.standing import is_finished
from tfrecord_tools.writer import ShardTask, write_shard

if TYPE_CHECKING:
    from tfrecord_tools.plan import BuildOptions, Plan

POLL_SECONDS = 1.0
ITEMS = "items-{}.pickle"  # of the chunks that a pipeline makes, in the staging directory
Place = tuple[str, int, int]  # name of such a file, where a chunk starts in it, and its bytes


class BeamEngine:
    """Runs the two heavy steps of a build on a Beam runner."""

    def fill_spool(
        self, spool: Path, chunks: Chunks, plan: Plan, options: BuildOptions, on_progress: Callable[[int], None]
    ) -> None:
        """Processes every photograph whose chunk is not in the spool yet."""
        todo = unfinished(spool, chunks, on_progress, plan.settings.data_dir, options.workers)
        numbers = [chunks.numbers[place] for place in todo]
        kept = keep_items(spool.parent, map(chunks.part, todo))
        work = [
            (str(spool), plan.key, number, place, plan.settings) for number, place in zip(numbers, kept, strict=True)
        ]
        for number in numbers:  # what stands there of a chunk that is made again would be taken for the new one
            (spool / NOTES.format(number)).unlink(missing_ok=True)
        sizes = {spool / NOTES.format(number): chunks.size(place) for number, place in zip(numbers, todo, strict=True)}
        with _Watcher(sizes, on_progress):
            run_pipeline(work, make_kept_chunk, options.runner, options.beam_options, options.workers)

    def write_shards(
        self,
        staging: Path,
        tasks: Sequence[ShardTask],
        options: BuildOptions,
        on_progress: Callable[[int], None],
    ) -> list[dict[str, Any]]:
        """Writes the shards, one per element, and returns what was written in the order of `tasks`."""
        folder = staging / "shards"
        folder.mkdir(exist_ok=True)
        notes = [folder / f"{number:06d}.json" for number in range(len(tasks))]
        for note in notes:
            note.unlink(missing_ok=True)
        key = json.loads((staging / "build.json").read_text(encoding="utf-8"))["key"]
        work = [(str(staging), key, task, str(note)) for task, note in zip(tasks, notes, strict=True)]
        with _Watcher({note: len(task) for note, task in zip(notes, tasks, strict=True)}, on_progress):
            run_pipeline(work, make_shard, options.runner, options.beam_options, options.workers)
        return [read_note(note) for note in notes]


def keep_items(staging: Path, chunks: Iterable[Sequence[Item]]) -> list[Place]:
    """Writes the items of chunks where the workers read them, and returns the place of each.

    A pipeline that held the items of a million photographs would fill the launcher, and be too large for some runners.
    The file has a name of its own: workers of a launcher that was killed may still be reading theirs.
    """
    path = staging / ITEMS.format(uuid.uuid4().hex[:8])
    places, start = [], 0
    with open(path, "wb") as file:
        for chunk in chunks:
            length = file.write(pickle.dumps(list(chunk), protocol=pickle.HIGHEST_PROTOCOL))
            places.append((path.name, start, length))
            start += length
        file.flush()
        os.fsync(file.fileno())
    return places


def make_kept_chunk(element: tuple[str, str, int, Place, Settings]) -> int:
    """As `make_chunk`, of items that `keep_items` wrote."""
    spool, key, index, (name, start, length), settings = element
    staging = Path(spool).parent
    check_sight(staging, key)
    with open(staging / name, "rb") as file:
        file.seek(start)
        items = pickle.loads(file.read(length))
    return make_chunk((spool, key, index, items, settings))


def make_chunk(element: tuple[str, str, int, list[Item], Settings]) -> int:
    """Processes one chunk of photographs into the spool, in a Beam worker.

    Raises:
      WorkerBlind: this worker does not see the output or a photograph.
    """
    import cv2

    spool, key, index, items, settings = element
    check_sight(Path(spool).parent, key)
    if is_finished(Path(spool), index, items, settings.data_dir):  # by a worker that died before it could say so
        return len(items)
    files = [
        path for item in items for path in (item.path, *(one for mask in item.masks.values() for one in mask.paths))
    ]
    for path in filter(None, files):  # else each would stand in rejected.csv as a file that is not there
        if not os.path.lexists(os.path.join(settings.data_dir, path)):
            raise WorkerBlind(blind(Path(settings.data_dir) / path))
    cv2.setNumThreads(1)
    outcomes = (process(item, settings) for item in items)
    # A worker whose launcher has ended may still be here when another one goes on, with files that changed since.
    write_chunk(Path(spool), index, outcomes, before_renaming=lambda: check_sight(Path(spool).parent, key))
    return len(items)


def make_shard(element: tuple[str, str, ShardTask, str]) -> int:
    """Writes one shard and, beside it, what was written, in a Beam worker.

    Raises:
      WorkerBlind: this worker does not see the output.
    """
    staging, key, task, note = element
    check_sight(Path(staging), key)
    write_json(note, write_shard(Path(staging), task))
    return len(task)


def check_sight(staging: Path, key: str) -> None:
    """Checks that this worker sees the launcher's staging directory, and not another one of that path.

    Raises:
      WorkerBlind: it does not.
    """
    note = staging / "build.json"
    try:
        found = json.loads(note.read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != key:
        raise WorkerBlind(blind(note))


def blind(path: Path) -> str:
    """Returns what to say of a worker that does not see `path`, which the launcher sees."""
    return (
        f"Worker {socket.gethostname()} does not see {path}, as the launcher does. The photographs and --out must be "
        "on a file system that every worker sees under the same path (NFS, Lustre, a mounted bucket)."
    )


def read_note(path: Path) -> dict[str, Any]:
    """Returns what `make_shard` noted.

    Raises:
      RuntimeError: a worker wrote elsewhere, or not at all.
    """
    if not path.is_file():
        raise RuntimeError(
            f"A Beam worker left no {path}. --out must be on a file system that every worker sees under the same path."
        )
    return json.loads(path.read_text(encoding="utf-8"))


class _Watcher:
    """Reports the files that appear while a pipeline runs, so that there is a progress bar on any runner."""

    def __init__(self, sizes: dict[Path, int], on_progress: Callable[[int], None]) -> None:
        self.waiting = dict(sizes)
        self.on_progress = on_progress
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        self._look()

    def _watch(self) -> None:
        while not self.stopped.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        for path in [path for path in self.waiting if path.is_file()]:
            self.on_progress(self.waiting.pop(path))
