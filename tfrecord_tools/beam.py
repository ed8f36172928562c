"""The builder as Apache Beam pipelines, for data sets that one machine would take days for.

  pip install "dr_edge[beam]"
  python -m tfrecord_tools.build --dataset=eyepacs --data_dir=/mnt/eyepacs --out=/mnt/records/eyepacs \\
      --runner=FlinkRunner --beam_option=flink_master=host:8081 --beam_option=environment_type=LOOPBACK

One pipeline fills the spool, a chunk of 32 photographs per element; splits are decided by the launcher, which needs all
facts at once; a second pipeline writes the shards. Workers run the same functions as the local engine, so that the
shards are the same byte for byte, and a build that was cut off goes on. The data and output directories must be on a
file system that every worker sees under the same path (NFS, Lustre, a mounted bucket).
"""

from __future__ import annotations

import difflib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr_edge import extras
from dr_edge.metadata import write_json
from tfrecord_tools.items import Item
from tfrecord_tools.process import Settings, process
from tfrecord_tools.spool import NOTES, chunk_count, chunk_items, finished_chunks, write_chunk
from tfrecord_tools.writer import ShardTask, write_shard

if TYPE_CHECKING:
    from tfrecord_tools.plan import BuildOptions, Plan

POLL_SECONDS = 1.0


class BeamEngine:
    """Runs the two heavy steps of a build on a Beam runner."""

    def fill_spool(self, spool: Path, plan: Plan, options: BuildOptions, on_progress: Callable[[int], None]) -> None:
        """Processes every photograph whose chunk is not in the spool yet."""
        items = plan.items
        done = set(finished_chunks(spool, len(items), plan.settings.data_dir, options.workers))
        on_progress(sum(len(chunk_items(items, index)) for index in done))
        todo = [index for index in range(chunk_count(len(items))) if index not in done]
        work = [(str(spool), index, list(chunk_items(items, index)), plan.settings) for index in todo]
        sizes = {spool / NOTES.format(index): len(chunk_items(items, index)) for index in todo}
        with _Watcher(sizes, on_progress):
            run_pipeline(work, make_chunk, options)

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
        work = [(str(staging), task, str(note)) for task, note in zip(tasks, notes, strict=True)]
        with _Watcher({note: len(task) for note, task in zip(notes, tasks, strict=True)}, on_progress):
            run_pipeline(work, make_shard, options)
        return [read_note(note) for note in notes]


def make_chunk(element: tuple[str, int, list[Item], Settings]) -> int:
    """Processes one chunk of photographs into the spool, in a Beam worker."""
    import cv2

    spool, index, items, settings = element
    cv2.setNumThreads(1)
    write_chunk(Path(spool), index, (process(item, settings) for item in items))
    return len(items)


def make_shard(element: tuple[str, ShardTask, str]) -> int:
    """Writes one shard and, beside it, what was written, in a Beam worker."""
    staging, task, note = element
    write_json(note, write_shard(Path(staging), task))
    return len(task)


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


def run_pipeline(work: Sequence[Any], function: Callable[[Any], int], options: BuildOptions) -> None:
    """Maps `function` over `work` on the runner that `options` name, and waits.

    Raises:
      ValueError: Beam is not installed, or the runner or an option is unknown to it.
    """
    if not work:
        return
    logging.getLogger("apache_beam").setLevel(logging.ERROR)  # it tells of every channel it opens
    extras.require("--runner", f"--runner={options.runner}")
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    check_options(options.beam_options, sorted(PipelineOptions([]).get_all_options()))
    flags = [f"--runner={options.runner}", "--default_sdk_harness_log_level=ERROR"]
    flags += [f"--{option.lstrip('-')}" for option in options.beam_options]
    if options.runner == "DirectRunner" and not any("direct_" in flag for flag in flags):
        flags += ["--direct_running_mode=multi_processing", f"--direct_num_workers={options.workers}"]
    with apache_beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = pipeline | apache_beam.Create(list(work)) | apache_beam.Reshuffle() | apache_beam.Map(function)


def check_options(given: Sequence[str], known: Sequence[str]) -> None:
    """Checks that Beam knows each option: it would drop a mistyped one in silence.

    Raises:
      ValueError: names the option and the nearest known one.
    """
    for option in given:
        name = option.lstrip("-").partition("=")[0]
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"--beam_option={option}: Beam has no option {name!r}.{hint}")


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
