"""One build from listing to finished records: list -> spool -> duplicates and splits -> shards -> manifest."""

from __future__ import annotations

import bisect
import functools
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data.records import SPLITS
from dr_edge.fundus.appearance import COLOUR, wanted
from dr_edge.progress import Progress
from tfrecord_tools.chunks import Chunks
from tfrecord_tools.copies import count_copies
from tfrecord_tools.copy_search import copy_links
from tfrecord_tools.facts import Fact
from tfrecord_tools.fingerprints import HEADER, TABLE, check_records, listed
from tfrecord_tools.grouping import digest_of
from tfrecord_tools.inside import CHANGED
from tfrecord_tools.items import DatasetError, readable
from tfrecord_tools.on_disk import DiskList, beside
from tfrecord_tools.plan import BuildOptions, Plan, plan_build
from tfrecord_tools.pool import process_all
from tfrecord_tools.split import Assignment, assign, count_classes, sides_of
from tfrecord_tools.spool import each_fact, fill, read_coarse_pictures, read_facts, read_fine_picture
from tfrecord_tools.summary import summary, top_reasons
from tfrecord_tools.writer import (
    BuildError,
    ShardTask,
    Whose,
    finish,
    is_built,
    plan_shards,
    staging_directory,
    write_rows,
    write_shard,
    write_table,
)

QUALITY_BINS = 10
FILTERED = (
    "Random filters chose which photographs were compared (--copies=filtered): of the pairs that are just alike enough "
    "one in 3,500 is passed over, of closer ones fewer."
)
Advance = Callable[[int], None]


def build(options: BuildOptions) -> str:
    """Builds records in local processes and returns a summary to print.

    Raises:
      ValueError: bad arguments, a bad layout, or nothing left to write.
      BuildError: the output directory cannot be used.
    """
    with beside(options.out):
        return _build(options)


def _build(options: BuildOptions) -> str:
    plan = plan_build(options)
    staging_left = options.out.parent / f".{options.out.name}.building"
    if is_built(options.out, plan.key):
        said = nothing_to_do(options, plan)
        if staging_left.is_dir():
            shutil.rmtree(staging_left)
        return said
    engine = LocalEngine() if options.runner == "local" else _beam_engine()
    with staging_directory(options.out, Whose(plan.key, plan.asked, plan.settings.data_dir)) as staging:
        if is_built(options.out, plan.key):  # by another process, since this one looked first
            said = nothing_to_do(options, plan)
            shutil.rmtree(staging)
            return said
        chunks = Chunks.kept(staging, plan.items)
        with Progress(total=len(plan.items), desc="photographs", unit="img", mininterval=0.5) as bar:
            engine.fill_spool(staging / "spool", chunks, plan, options, bar.update)
        facts = read_facts(staging / "spool", chunks)
        assignment = split_facts(plan, facts, staging / "spool", chunks, options)
        tasks = plan_shards(facts, assignment.splits, options.seed, options.shard_examples)
        with Progress(total=len(assignment.splits), desc="shards", unit="img", mininterval=0.5) as bar:
            written = engine.write_shards(staging, tasks, options, bar.update)
        shards: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for task, shard in zip(tasks, written, strict=True):
            shards[task.split].append(shard)
        manifest, rejected = write_tables_and_describe(staging, plan, chunks, assignment, shards)
        finish(staging, options.out, manifest)
    return summary(options.out, manifest, rejected)


def nothing_to_do(options: BuildOptions, plan: Plan) -> str:
    """Says that `out` holds the records of this very build already.

    Raises:
      BuildError: a file that they were made of is another one now.
    """
    with Progress(desc="compared", unit="file", delay=2.0) as bar:
        named, count, cautions = check_records(
            options.out, plan.settings.data_dir, plan.items, options.workers, bar.update
        )
    if count:
        raise BuildError(
            f"--out={options.out} holds another build: other files. Changed since these records were made: "
            f"{listed(named, count)}. Remove the records and build again, or write elsewhere."
        )
    lines = [f"{options.out} holds this build already: nothing to do.", *(f"caution: {text}" for text in cautions)]
    return "\n".join(lines)


class LocalEngine:
    """Spawned processes on this machine; the default."""

    def fill_spool(self, spool: Path, chunks: Chunks, plan: Plan, options: BuildOptions, on_progress: Advance) -> None:
        """Processes every photograph whose chunk is not in the spool yet."""
        fill(
            spool,
            chunks,
            lambda items: process_all(items, plan.settings, options.workers),
            on_progress,
            plan.settings.data_dir,
            options.workers,
        )

    def write_shards(
        self, staging: Path, tasks: Sequence[ShardTask], options: BuildOptions, on_progress: Advance
    ) -> list[dict[str, Any]]:
        """Writes the shards one after the other: copying is bound by the disk."""
        return [write_shard(staging, task, on_progress) for task in tasks]


def _beam_engine() -> Any:
    from tfrecord_tools.beam import BeamEngine

    return BeamEngine()


def split_facts(plan: Plan, facts: Sequence[Fact], spool: Path, chunks: Chunks, options: BuildOptions) -> Assignment:
    """Finds and counts duplicates and divides the photographs.

    Raises:
      DatasetError: nothing is left.
    """
    with Progress(total=len(facts), desc="duplicates", unit="img", mininterval=0.5) as bar:
        coarse = read_coarse_pictures(spool, chunks)
        pairs = copy_links(
            coarse,
            functools.partial(read_fine_picture, spool, chunks),
            sides_of(facts),
            bar.update,
            filtered=options.copies == "filtered",
            workers=options.workers,
        )
    stratify = plan.listing.stratify or list(plan.listing.labels)[:1]
    assignment = assign(facts, pairs, plan.fractions, options.seed, stratify)
    if not assignment.splits:
        gone = (
            (fact.path or fact.image_id, readable(fact.reason or assignment.reasons[index]))
            for index, fact in enumerate(each_fact(spool, chunks))
        )
        raise DatasetError("\n".join([f"No photograph of {len(facts)} is left to write.", *top_reasons(gone)]))
    assignment.copies = count_copies(facts, pairs, assignment.splits)
    return assignment


def _picture_notes(kinds: Counter[str], enlarged: int, image_size: int, method: str) -> list[str]:
    """Returns what the user should know of the photographs that were taken: enlarged ones, other kinds than colour."""
    notes = []
    if enlarged:
        notes.append(
            f"{enlarged} of {kinds.total()} photographs are enlarged: their field of view spans fewer than "
            f"{image_size} px. A smaller --image_size loses nothing of them."
        )
    if set(kinds) - {COLOUR}:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        answered = wanted(method, kinds)
        few = "" if set(kinds) <= set(answered) else " The others are too few to be learned, and it refuses such ones."
        notes.append(
            f"Kinds of pictures: {listed}. A model trained on them answers {' and '.join(answered)} ones only.{few}"
        )
    if len(kinds) > 1:
        notes.append(
            "Pictures of several kinds: where a kind goes with a class, a model learns the kind. Build one kind alone."
        )
    return notes


def _changed_notes(reasons: Iterable[str]) -> list[str]:
    """Returns what the user should do about photographs that somebody changed under the build."""
    count = sum(CHANGED in reason for reason in reasons)
    if not count:
        return []
    return [
        f"{count} photographs were left out because they or their masks were changed while the build ran. Wait until "
        "nobody writes there, remove the records and build again."
    ]


class _Counted:
    """What dataset.json says of the photographs that were taken, counted fact by fact."""

    def __init__(self, plan: Plan) -> None:
        self.labels, self.mask_names = plan.listing.labels, plan.listing.masks
        self.examples: Counter[str] = Counter()
        self.patients = {split: array("Q") for split in SPLITS}  # digests
        self.classes = {split: count_classes([], self.labels) for split in SPLITS}
        self.masks = {split: Counter[str]() for split in SPLITS}
        self.empty_masks = {split: Counter[str]() for split in SPLITS}
        self.kinds: Counter[str] = Counter()
        self.enlarged = 0
        self.edges = np.linspace(0.0, 1.0, QUALITY_BINS + 1).tolist()
        self.quality = [0] * QUALITY_BINS

    def add(self, fact: Fact, split: str) -> None:
        """Counts a photograph."""
        self.examples[split] += 1
        self.patients[split].append(digest_of(fact.patient))
        for name, values in count_classes([fact], self.labels).items():
            held = self.classes[split][name]
            held.update({value: held.get(value, 0) + count for value, count in values.items() if count})
        self.masks[split].update(fact.masks)
        self.empty_masks[split].update(fact.empty_masks)
        self.kinds[fact.kind] += 1
        self.enlarged += fact.enlarged
        self.quality[min(bisect.bisect_right(self.edges, fact.quality), QUALITY_BINS) - 1] += 1

    def of_split(self, split: str, shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns what dataset.json says of a split."""
        return {
            "examples": self.examples[split],
            "patients": len(np.unique(np.frombuffer(self.patients[split], np.uint64))),
            "classes": self.classes[split],
            "masks": {name: self.masks[split][name] for name in self.mask_names},
            "empty_masks": {name: self.empty_masks[split][name] for name in self.mask_names},
            "shards": list(shards),
        }


def write_tables_and_describe(
    staging: Path,
    plan: Plan,
    chunks: Chunks,
    assignment: Assignment,
    shards: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, Any], Sequence[tuple[str, str]]]:
    """Writes the tables; returns the content of dataset.json and the rows of rejected.csv."""
    records, splits = staging / "records", assignment.splits
    counted, rejected = _Counted(plan), DiskList(plan.listing.rejected)

    def facts() -> Iterator[tuple[int, Fact]]:
        return enumerate(each_fact(staging / "spool", chunks))

    def taken() -> Iterator[tuple[str, ...]]:
        for index, fact in facts():  # in the order of their ids
            if index in splits:
                counted.add(fact, splits[index])
                yield fact.image_id, fact.patient, splits[index], fact.sha256
            else:
                reason = readable(fact.reason or assignment.reasons[index])
                rejected.append((fact.path or fact.image_id, reason))

    write_rows(records / "splits.csv", ("image", "patient", "split", "sha256"), taken())
    write_table(records / "rejected.csv", ("file", "reason"), rejected)
    read = (pair for _, fact in facts() for pair in fact.files.items())
    write_rows(records / TABLE, HEADER, read, errors="surrogateescape")
    manifest = {
        "dataset": plan.arguments["dataset"],
        "image_size": plan.settings.image_size,
        "preprocess": plan.arguments["preprocess"],
        "labels": {name: list(classes) for name, classes in plan.listing.labels.items()},
        "positive": {name: list(classes) for name, classes in plan.positive.items()},
        "masks": list(plan.listing.masks),
        "centres": list(plan.listing.centres),
        "splits": {split: counted.of_split(split, shards[split]) for split in SPLITS},
        "rejected": len(rejected),
        "patients": plan.listing.patients,
        "notes": [
            *plan.listing.notes,
            *_picture_notes(counted.kinds, counted.enlarged, plan.settings.image_size, plan.settings.method),
            *([FILTERED] if plan.arguments.get("copies") == "filtered" else []),
            *_changed_notes(reason for _, reason in rejected),
        ],
        "pictures": dict(counted.kinds),
        "copies": assignment.copies,
        "quality": {
            "edges": [round(edge, 3) for edge in counted.edges],
            "counts": counted.quality,
        },
        "source": dict(plan.listing.source),
        "arguments": dict(plan.arguments),
        "build_key": plan.key,
    }
    return manifest, rejected
