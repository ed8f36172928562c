"""One build from listing to finished records: list -> spool -> duplicates and splits -> shards -> manifest."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dr_edge.data.records import SPLITS
from dr_edge.fundus.appearance import COLOUR
from dr_edge.fundus.graham import PREPROCESS
from dr_edge.progress import Progress
from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.copies import count_copies
from tfrecord_tools.duplicates import near_pairs
from tfrecord_tools.items import DatasetError, Item, Listing, Request, sample, stable_hash
from tfrecord_tools.leftovers import leftovers
from tfrecord_tools.pool import process_all
from tfrecord_tools.positive_classes import positive_classes
from tfrecord_tools.process import Settings
from tfrecord_tools.split import Assignment, Fractions, assign, choose_fractions, count_classes
from tfrecord_tools.spool import Fact, fill, read_coarse_pictures, read_facts, read_fine_picture
from tfrecord_tools.summary import summary, top_reasons
from tfrecord_tools.tables import table_paths
from tfrecord_tools.writer import (
    ShardTask,
    finish,
    is_built,
    plan_shards,
    staging_directory,
    write_shard,
    write_table,
)

BUILDER_VERSION = 1  # raise it when the same photographs give other bytes
READER_VERSION = 2  # of DICOM, TIFF and others; since 1, JPEG, PNG and BMP give the same pixels
UNCHANGED = (".jpg", ".jpeg", ".png", ".bmp")
QUALITY_BINS = 10
Advance = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """The arguments of a build; see the flags of `tfrecord_tools.build`."""

    dataset: str
    data_dir: Path | None
    out: Path
    image_size: int = 512
    preprocess: str = "graham"
    val_fraction: float | None = None
    test_fraction: float | None = None
    workers: int = 1
    limit: int | None = None
    seed: int = 0
    min_quality: float = 0.0
    shard_examples: int = 512
    max_pixels: int = 100_000_000
    table: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    positive: Sequence[str] = ()
    runner: str = "local"
    beam_options: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known before the first photograph is opened.

    Attributes:
      positive: label -> names of its classes that mean the disease; [] where nobody says it.
      items: sorted by image id.
      arguments: everything that decides the bytes of the records, but the files themselves.
      key: hash of the arguments and of the names and sizes of the files.
    """

    listing: Listing
    positive: Mapping[str, Sequence[str]]
    items: Sequence[Item]
    settings: Settings
    fractions: Fractions
    arguments: Mapping[str, Any]
    key: str


def plan_build(options: BuildOptions) -> Plan:
    """Lists the data set and fixes what the build will be.

    Raises:
      ValueError: arguments or a layout that cannot be; says what to do.
    """
    if options.dataset == "synthetic" and options.data_dir is not None:
        raise ValueError("--dataset=synthetic draws its images. Leave out --data_dir.")
    if options.beam_options and options.runner == "local":
        raise ValueError("--beam_option needs a Beam runner. Add --runner=DirectRunner, or leave it out.")
    if options.table and options.dataset != "csv":
        raise ValueError(f"--{next(iter(options.table))} is for --dataset=csv only. Leave it out.")
    if options.positive and options.dataset not in ("folder", "csv"):
        raise ValueError("--positive is for --dataset=folder and csv only: the other data sets say what is the disease.")
    request = Request(options.data_dir, options.limit, options.seed, options.table, options.out)
    listing = list_dataset(options.dataset, request)
    positive = positive_classes(listing.labels, options.positive)
    items = sample(listing.items, options.limit, options.seed)
    fractions = choose_fractions({item.split for item in items}, options.val_fraction, options.test_fraction)
    settings = Settings(
        data_dir="" if options.data_dir is None else str(options.data_dir),
        image_size=options.image_size,
        method=options.preprocess,
        min_quality=options.min_quality,
        max_pixels=options.max_pixels,
    )
    arguments = {
        "dataset": options.dataset,
        "image_size": options.image_size,
        "preprocess": {"method": options.preprocess, **PREPROCESS[options.preprocess]},
        "val_fraction": fractions.val,
        "test_fraction": fractions.test,
        "limit": options.limit,
        "seed": options.seed,
        "min_quality": options.min_quality,
        "shard_examples": options.shard_examples,
        "max_pixels": options.max_pixels,
        "table": dict(options.table),
        "versions": _versions(items),
    }
    if options.positive:  # else the key of an earlier release's build stays
        arguments["positive"] = sorted(options.positive)
    if options.data_dir is not None:  # the records of this very build may lie among the photographs
        own = Path(os.path.relpath(options.out, options.data_dir)).as_posix()
        listing = dataclasses.replace(listing, rejected=[row for row in listing.rejected if row[0] != own])
    key = _key(arguments, items, listing, options.data_dir)
    if options.data_dir is not None:  # not part of the key: a new text beside the photographs makes no new build
        table = _table_paths(options)
        rest, notes = leftovers(listing, options.dataset, options.data_dir, options.out, table)
        listing = dataclasses.replace(listing, rejected=[*listing.rejected, *rest], notes=[*listing.notes, *notes])
    return Plan(listing, positive, items, settings, fractions, arguments, key)


def _versions(items: Sequence[Item]) -> dict[str, Any]:
    """Returns what else decides the bytes of the records; for the formats whose pixels never changed, as earlier releases did."""
    versions: dict[str, Any] = {"builder": BUILDER_VERSION, "opencv": cv2.__version__, "numpy": np.__version__}
    if any(Path(item.path).suffix.lower() not in UNCHANGED for item in items if item.path):
        versions["reader"] = READER_VERSION
    return versions


def _table_paths(options: BuildOptions) -> list[str]:
    """Returns the paths of the tables of --dataset=csv as the adapter finds them; [] for other data sets."""
    if options.dataset != "csv" or options.data_dir is None:
        return []
    return [str(path) for path in table_paths(str(options.table.get("csv", "")), options.data_dir)]


def _key(arguments: Mapping[str, Any], items: Sequence[Item], listing: Listing, data_dir: Path | None) -> str:
    def size(item: Item) -> int:
        try:
            return os.stat(data_dir / item.path).st_size if data_dir is not None else 0
        except OSError:
            return -1

    parts = [repr(sorted(arguments.items())), repr(sorted(listing.rejected)), repr(dict(listing.labels))]
    sized = Progress(items, desc="files", unit="file", delay=2.0)  # only where the file system is slow
    return stable_hash(*parts, *(f"{item} {size(item)}" for item in sized))


def build(options: BuildOptions) -> str:
    """Builds records in local processes and returns a summary to print.

    Raises:
      ValueError: bad arguments, a bad layout, or nothing left to write.
      BuildError: the output directory cannot be used.
    """
    plan = plan_build(options)
    staging_left = options.out.parent / f".{options.out.name}.building"
    if is_built(options.out, plan.key):
        if staging_left.is_dir():
            shutil.rmtree(staging_left)
        return f"{options.out} holds this build already: nothing to do."
    engine = LocalEngine() if options.runner == "local" else _beam_engine()
    with staging_directory(options.out, plan.key, plan.arguments) as staging:
        if is_built(options.out, plan.key):  # by another process, since this one looked first
            shutil.rmtree(staging)
            return f"{options.out} holds this build already: nothing to do."
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


class LocalEngine:
    """Spawned processes on this machine; the default."""

    def fill_spool(self, spool: Path, plan: Plan, options: BuildOptions, on_progress: Advance) -> None:
        """Processes every photograph whose chunk is not in the spool yet."""
        fill(spool, plan.items, lambda items: process_all(items, plan.settings, options.workers), on_progress)

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
            f"{enlarged} of {len(taken)} photographs are enlarged: their field of view spans fewer than {image_size} px. "
            f"A smaller --image_size loses nothing of them."
        )
    kinds = Counter(fact.kind for fact in taken)
    if set(kinds) - {COLOUR}:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        notes.append(f"Kinds of pictures: {listed}. A model trained on them answers these kinds only.")
    if len(kinds) > 1:
        notes.append("Pictures of several kinds: where a kind goes with a class, a model learns the kind. Build one kind alone.")
    return notes


def write_tables_and_describe(
    records: Path,
    plan: Plan,
    facts: Sequence[Fact],
    assignment: Assignment,
    shards: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Writes splits.csv and rejected.csv; returns the content of dataset.json and the rows of rejected.csv."""
    taken = {index: facts[index] for index in assignment.splits}
    rows = [
        (fact.image_id, fact.patient, assignment.splits[index], fact.sha256) for index, fact in taken.items()
    ]
    write_table(records / "splits.csv", ("image", "patient", "split", "sha256"), rows)
    rejected = [*plan.listing.rejected] + [
        (fact.path or fact.image_id, fact.reason or assignment.reasons[index])
        for index, fact in enumerate(facts)
        if index not in taken
    ]
    write_table(records / "rejected.csv", ("file", "reason"), rejected)
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
        "notes": [*plan.listing.notes, *_picture_notes(list(taken.values()), plan.settings.image_size)],
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
