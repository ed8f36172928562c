"""One build from listing to finished records: list -> spool -> duplicates and splits -> shards -> manifest."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data.records import SPLITS
from dr_edge.fundus.appearance import COLOUR
from dr_edge.progress import Progress
from tfrecord_tools.copies import count_copies
from tfrecord_tools.duplicates import near_pairs
from tfrecord_tools.fingerprints import TABLE, check_records, listed, write_files
from tfrecord_tools.inside import CHANGED
from tfrecord_tools.items import DatasetError
from tfrecord_tools.plan import BuildOptions, Plan, plan_build
from tfrecord_tools.pool import process_all
from tfrecord_tools.split import Assignment, assign, count_classes
from tfrecord_tools.spool import Fact, fill, read_coarse_pictures, read_facts, read_fine_picture
from tfrecord_tools.summary import summary, top_reasons
from tfrecord_tools.writer import (
    BuildError,
    ShardTask,
    finish,
    is_built,
    plan_shards,
    staging_directory,
    write_shard,
    write_table,
)

QUALITY_BINS = 10
Advance = Callable[[int], None]


def build(options: BuildOptions) -> str:
    """Builds records in local processes and returns a summary to print.

    Raises:
      ValueError: bad arguments, a bad layout, or nothing left to write.
      BuildError: the output directory cannot be used.
    """
    plan = plan_build(options)
    staging_left = options.out.parent / f".{options.out.name}.building"
    if is_built(options.out, plan.key):
        said = nothing_to_do(options, plan)
        if staging_left.is_dir():
            shutil.rmtree(staging_left)
        return said
    engine = LocalEngine() if options.runner == "local" else _beam_engine()
    with staging_directory(options.out, plan.key, plan.arguments) as staging:
        if is_built(options.out, plan.key):  # by another process, since this one looked first
            said = nothing_to_do(options, plan)
            shutil.rmtree(staging)
            return said
        with Progress(total=len(plan.items), desc="photographs", unit="img", mininterval=0.5) as bar:
            engine.fill_spool(staging / "spool", plan, options, bar.update)
        facts = read_facts(staging / "spool", len(plan.items))
        assignment = split_facts(plan, facts, staging / "spool", options.seed)
        tasks = plan_shards(facts, assignment.splits, options.seed, options.shard_examples)
        with Progress(total=len(assignment.splits), desc="shards", unit="img", mininterval=0.5) as bar:
            written = engine.write_shards(staging, tasks, options, bar.update)
        shards: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for task, shard in zip(tasks, written, strict=True):
            shards[task.split].append(shard)
        manifest, rejected = write_tables_and_describe(staging / "records", plan, facts, assignment, shards)
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

    def fill_spool(self, spool: Path, plan: Plan, options: BuildOptions, on_progress: Advance) -> None:
        """Processes every photograph whose chunk is not in the spool yet."""
        fill(
            spool,
            plan.items,
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


def split_facts(plan: Plan, facts: Sequence[Fact], spool: Path, seed: int) -> Assignment:
    """Finds and counts duplicates and divides the photographs.

    Raises:
      DatasetError: nothing is left.
    """
    with Progress(total=len(facts), desc="duplicates", unit="img", mininterval=0.5) as bar:
        coarse = read_coarse_pictures(spool, len(facts))
        pairs = list(near_pairs(coarse, lambda item: read_fine_picture(spool, item), bar.update))
    stratify = plan.listing.stratify or list(plan.listing.labels)[:1]
    assignment = assign(facts, pairs, plan.fractions, seed, stratify)
    if not assignment.splits:
        gone = [(fact.path or fact.image_id, fact.reason or assignment.reasons[i]) for i, fact in enumerate(facts)]
        raise DatasetError("\n".join([f"No photograph of {len(facts)} is left to write.", *top_reasons(gone)]))
    assignment.copies = count_copies(facts, pairs, assignment.splits)
    return assignment


def _picture_notes(taken: Sequence[Fact], image_size: int) -> list[str]:
    """Returns what the user should know of the photographs that were taken: enlarged ones, other kinds than colour."""
    notes = []
    if enlarged := sum(fact.enlarged for fact in taken):
        notes.append(
            f"{enlarged} of {len(taken)} photographs are enlarged: their field of view spans fewer than {image_size} "
            "px. A smaller --image_size loses nothing of them."
        )
    kinds = Counter(fact.kind for fact in taken)
    if set(kinds) - {COLOUR}:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        notes.append(f"Kinds of pictures: {listed}. A model trained on them answers these kinds only.")
    if len(kinds) > 1:
        notes.append(
            "Pictures of several kinds: where a kind goes with a class, a model learns the kind. Build one kind alone."
        )
    return notes


def _changed_notes(reasons: Sequence[str]) -> list[str]:
    """Returns what the user should do about photographs that somebody changed under the build."""
    count = sum(CHANGED in reason for reason in reasons)
    if not count:
        return []
    return [
        f"{count} photographs were left out because they or their masks were changed while the build ran. Wait until "
        "nobody writes there, remove the records and build again."
    ]


def write_tables_and_describe(
    records: Path,
    plan: Plan,
    facts: Sequence[Fact],
    assignment: Assignment,
    shards: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Writes the tables; returns the content of dataset.json and the rows of rejected.csv."""
    taken = {index: facts[index] for index in assignment.splits}
    rows = [(fact.image_id, fact.patient, assignment.splits[index], fact.sha256) for index, fact in taken.items()]
    write_table(records / "splits.csv", ("image", "patient", "split", "sha256"), rows)
    rejected = [*plan.listing.rejected] + [
        (fact.path or fact.image_id, fact.reason or assignment.reasons[index])
        for index, fact in enumerate(facts)
        if index not in taken
    ]
    write_table(records / "rejected.csv", ("file", "reason"), rejected)
    write_files(records / TABLE, (pair for fact in facts for pair in fact.files.items()))
    scores = np.asarray([fact.quality for fact in taken.values()])
    histogram, edges = np.histogram(scores, bins=QUALITY_BINS, range=(0.0, 1.0))
    splits = {}
    for split in SPLITS:
        members = [fact for index, fact in taken.items() if assignment.splits[index] == split]
        splits[split] = {
            "examples": len(members),
            "patients": len({fact.patient for fact in members}),
            "classes": count_classes(members, plan.listing.labels),
            "masks": {name: sum(name in fact.masks for fact in members) for name in plan.listing.masks},
            "empty_masks": {name: sum(name in fact.empty_masks for fact in members) for name in plan.listing.masks},
            "shards": list(shards[split]),
        }
    manifest = {
        "dataset": plan.arguments["dataset"],
        "image_size": plan.settings.image_size,
        "preprocess": plan.arguments["preprocess"],
        "labels": {name: list(classes) for name, classes in plan.listing.labels.items()},
        "positive": {name: list(classes) for name, classes in plan.positive.items()},
        "masks": list(plan.listing.masks),
        "centres": list(plan.listing.centres),
        "splits": splits,
        "rejected": len(rejected),
        "patients": plan.listing.patients,
        "notes": [
            *plan.listing.notes,
            *_picture_notes(list(taken.values()), plan.settings.image_size),
            *_changed_notes([reason for _, reason in rejected]),
        ],
        "pictures": dict(Counter(fact.kind for fact in taken.values())),
        "copies": assignment.copies,
        "quality": {
            "edges": [round(float(edge), 3) for edge in edges],
            "counts": [int(count) for count in histogram],
        },
        "source": dict(plan.listing.source),
        "arguments": dict(plan.arguments),
        "build_key": plan.key,
    }
    return manifest, rejected
