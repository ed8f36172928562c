"""What a build is asked for, and what is known of it before the first photograph is opened."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge.fundus.graham import PREPROCESS
from dr_edge.progress import Progress
from tfrecord_tools import versions
from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.inside import stamp
from tfrecord_tools.items import Item, Listing, Request, hash_of_pieces, item_paths, readable, sample
from tfrecord_tools.leftovers import leftovers
from tfrecord_tools.on_disk import DiskList, beside, in_order
from tfrecord_tools.positive_classes import positive_classes
from tfrecord_tools.process import Settings
from tfrecord_tools.split import Fractions, choose_fractions


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
    copies: str = "exact"
    runner: str = "local"
    beam_options: Sequence[str] = ()
    typed: Sequence[str] = ()  # see Request


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is known before the first photograph is opened.

    Attributes:
      positive: label -> names of its classes that mean the disease; [] where nobody says it.
      listing: what the data set declares, without the items.
      items: sorted by image id, on disk.
      arguments: everything that decides the bytes of the records, but the files themselves.
      asked: `arguments` as far as the files have no say in them: what an unfinished build goes on by.
      key: hash of the arguments, of what is declared of each photograph, and of their sizes. Whether the bytes are the
        same is compared file by file, see `fingerprints`.
    """

    listing: Listing
    positive: Mapping[str, Sequence[str]]
    items: Sequence[Item]
    settings: Settings
    fractions: Fractions
    arguments: Mapping[str, Any]
    asked: Mapping[str, Any]
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
        raise ValueError(
            "--positive is for --dataset=folder and csv only: the other data sets say what is the disease."
        )
    with beside(options.out):
        return _plan(options)


def _plan(options: BuildOptions) -> Plan:
    request = Request(options.data_dir, options.limit, options.seed, options.table, options.out, options.typed)
    listing = list_dataset(options.dataset, request)
    positive = positive_classes(listing.labels, options.positive)
    chosen = sample(listing.items, options.limit, options.seed)
    fractions = choose_fractions({item.split for item in chosen}, options.val_fraction, options.test_fraction)
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
        "versions": versions.of_records(item.path for item in chosen),
    }
    if options.positive:  # else the key of an earlier release's build stays
        arguments["positive"] = sorted(options.positive)
    if options.copies != "exact":  # likewise
        arguments["copies"] = options.copies
    asked = {
        **arguments,
        "val_fraction": options.val_fraction,  # left open: 0 where files of an official part are there
        "test_fraction": options.test_fraction,
        "versions": versions.of_every_record(),
    }
    if options.data_dir is not None:  # the records of this very build may lie among the photographs
        own = Path(os.path.relpath(options.out, options.data_dir)).as_posix()
        if any(row[0] == own for row in listing.rejected):
            listing = dataclasses.replace(listing, rejected=DiskList(row for row in listing.rejected if row[0] != own))
    shown = Progress(chosen, desc="files", unit="file", delay=2.0)  # slow only where the file system is
    items = DiskList(_stamped(item, options.data_dir) for item in shown)
    key = _key(arguments, items, listing, options.data_dir)
    rejected, notes = listing.rejected, [*listing.notes]
    if options.data_dir is not None:  # not part of the key: a new text beside the photographs makes no new build
        rest, said = leftovers(listing, options.dataset, options.data_dir, options.out)
        rejected, notes = DiskList(itertools.chain(rejected, rest)), [*notes, *said]
    listing = dataclasses.replace(listing, items=(), rejected=rejected, notes=[readable(note) for note in notes])
    return Plan(listing, positive, items, settings, fractions, arguments, asked, key)


def _stamped(item: Item, data_dir: Path | None) -> Item:
    """Returns the item with size and time of its files: what a worker reads later must be what was listed."""
    if data_dir is None:
        return item
    stamps = {}
    for path in item_paths(item):
        with contextlib.suppress(OSError, ValueError):  # the worker says what is wrong with it
            stamps[path] = stamp(data_dir / path)
    return dataclasses.replace(item, stamps=stamps)


def _key(arguments: Mapping[str, Any], items: Sequence[Item], listing: Listing, data_dir: Path | None) -> str:
    def size(item: Item) -> int:
        return 0 if data_dir is None else item.stamps.get(item.path, (-1, 0))[0]

    def pieces() -> Iterator[str]:
        yield f"{sorted(arguments.items())!r}\0["
        for number, row in enumerate(in_order(listing.rejected)):  # as a list of them prints itself
            yield f", {row!r}" if number else repr(row)
        yield f"]\0{dict(listing.labels)!r}"
        for item in items:
            yield f"\0{item} {size(item)}"

    return hash_of_pieces(pieces())
