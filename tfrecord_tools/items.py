"""What a data set declares: its items (one photograph each), their labels, masks, centres, patients and official split.

An adapter in `tfrecord_tools/datasets/` turns a directory in the layout in which it is downloaded into one Listing.
Everything after that (decoding, cropping, splitting, writing) is shared by all data sets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data.records import MISSING_LABEL, SPLITS
from dr_edge.metadata import readable as readable
from tfrecord_tools.grouping import equal_groups
from tfrecord_tools.on_disk import Chosen, DiskList, in_order

LATERALITIES = ("left", "right", "")
MASK_RULES = ("at_least", "at_most", "half", "between", "contours", "none")
_NONE: dict[str, Any] = {}  # one for all items: nothing is ever written into it
_LABELS: dict[tuple[tuple[str, int], ...], Mapping[str, int]] = {}
MOST_SHARED = 4096
KEY_BYTES = 16  # of a SHA-256 by which a million patients are ordered
NO_TEXT = "its name is no UTF-8 text (bytes that are none stand as \\x..); rename it"


class DatasetError(ValueError):
    """The data directory or its label files are not what the data set's layout promises; says what to do."""


class LayoutError(DatasetError):
    """The directory is not laid out as the data set is; another reader may read it."""


@dataclasses.dataclass(frozen=True)
class MaskSource:
    """Where the mask of one structure comes from.

    Attributes:
      paths: files relative to the data directory, all in pixels of the photograph.
      rule: "at_least" or "at_most" (the brightest channel against `value`; the union of the files), "half" (above half
        of the one file's own range) or "between" (from `value` to `upper`, as stored), both checked by `mask_files`;
        "contours" (texts of one 'x, y' per line, one file per expert; the mean contour), or "none" (the structure was
        looked for and is not there: an empty mask, no file).
      value: grey level; 0..255 for the first two rules.
      upper: highest grey level inside, for "between".
    """

    paths: tuple[str, ...] = ()
    rule: str = "at_least"
    value: int = 128
    upper: int = dataclasses.field(default=255, repr=False)

    def __post_init__(self) -> None:
        if self.rule not in MASK_RULES or bool(self.paths) == (self.rule == "none"):
            raise ValueError(f"A mask needs paths and a rule of {MASK_RULES}. Received: {self.paths}, {self.rule!r}.")


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One photograph of a data set, before it is read.

    Attributes:
      image_id: unique in the data set.
      path: file relative to the data directory (POSIX); "" for a drawn image.
      patient: both eyes of a person share it.
      labels: label name -> class index, -1 where missing.
      split: the official split, or None where the data set has none.
      laterality: "left", "right" or "" (unknown).
      masks: structure name -> source.
      centres: name -> (x, y) in source pixels, as in annotation files: the centre of the first pixel is (0, 0).
      seed: seed of a drawn image, else None.
      stamps: path -> size and modification time (ns) of its files when the build was planned; no part of its identity.
    """

    image_id: str
    path: str
    patient: str
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    split: str | None = None
    laterality: str = ""
    masks: Mapping[str, MaskSource] = dataclasses.field(default_factory=lambda: _NONE)
    centres: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=lambda: _NONE)
    seed: int | None = None
    stamps: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=lambda: _NONE, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.image_id or not self.patient or (not self.path and self.seed is None):
            raise ValueError(f"An item needs an id, a patient, and a path or a seed. Received: {self}.")
        if self.split is not None and self.split not in SPLITS:
            raise ValueError(f"{self.image_id}: split must be one of {SPLITS} or None. Received: {self.split!r}.")
        if self.laterality not in LATERALITIES:
            raise ValueError(f"{self.image_id}: laterality must be left, right or ''. Received: {self.laterality!r}.")
        object.__setattr__(self, "labels", _shared(self.labels))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles in a third of the time that the state of a frozen dataclass takes."""
        return Item, tuple(getattr(self, name) for name in self.__slots__)


def _shared(labels: Mapping[str, int]) -> Mapping[str, int]:
    """Returns one mapping for all items of the same labels, of which there are few."""
    key = tuple(labels.items())
    return _LABELS.setdefault(key, labels) if len(_LABELS) < MOST_SHARED else _LABELS.get(key, labels)


@dataclasses.dataclass(frozen=True)
class Listing:
    """All that an adapter found.

    Attributes:
      labels: label name -> class names in the order of the class indices.
      items: the photographs; their order does not matter.
      masks, centres: names that the items may carry.
      rejected: (file, reason) of what the label files name and the directory lacks, and the reverse.
      stratify: label names whose combination is balanced over the splits; the first label where empty.
      patients: one sentence that says how the patients are known; "" where the data set states them.
      notes: sentences that the user should read: what was taken how, and what looks odd.
      source: title, address and licence as its publisher states them.
      label_files: the user's own tables that were read; they are no leftovers.
    """

    labels: Mapping[str, Sequence[str]]
    items: Sequence[Item]
    masks: Sequence[str] = ()
    centres: Sequence[str] = ()
    rejected: Sequence[tuple[str, str]] = ()
    stratify: Sequence[str] = ()
    patients: str = ""
    notes: Sequence[str] = ()
    source: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label_files: Sequence[Path] = ()


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked an adapter for.

    Attributes:
      data_dir: the directory as downloaded; None for drawn images.
      limit: number of images to draw (adapters of files ignore it: `sample` applies it to them).
      seed: of drawn images.
      table: --dataset=csv only: the path of the CSV file and its column names (see datasets/table.py).
      out: where the records will be written, for commands that messages show.
      typed: flags that the user gave beside those of data set, table and `out`, quoted for a shell, for the same
        commands.
    """

    data_dir: Path | None
    limit: int | None = None
    seed: int = 0
    table: Mapping[str, str | Sequence[str]] = dataclasses.field(default_factory=dict)
    out: Path | None = None
    typed: Sequence[str] = ()


def item_paths(item: Item) -> list[str]:
    """Returns the files of an item relative to the data directory, its photograph first, each once."""
    masks = (path for source in item.masks.values() for path in source.paths)
    return list(dict.fromkeys([*([item.path] if item.path else []), *masks]))


def with_readable_names(listing: Listing) -> Listing:
    """Moves photographs whose name is no text to `rejected`: records, tables and reports could not hold it.

    Such a name was written by an old system or an unpacker in another encoding, and the file system keeps its bytes.

    Raises:
      DatasetError: the name of a class, mask or label is no text.
    """
    for name in (*listing.labels, *(value for names in listing.labels.values() for value in names), *listing.masks):
        if not is_text(name):
            raise DatasetError(
                f"The name {readable(name)} is no UTF-8 text. Rename the folder or file, and build again."
            )
    if all(map(_has_text, listing.items)) and all(map(is_text, itertools.chain.from_iterable(listing.rejected))):
        return listing
    rejected = DiskList((readable(file), readable(reason)) for file, reason in listing.rejected)
    rejected.extend((readable(item.path), NO_TEXT) for item in listing.items if not _has_text(item))
    return dataclasses.replace(listing, items=DiskList(filter(_has_text, listing.items)), rejected=rejected)


def _has_text(item: Item) -> bool:
    return all(map(is_text, (item.image_id, item.path, item.patient)))


def is_text(name: str) -> bool:
    """Says whether a name of a file system is UTF-8 text: any other byte of it stands as half of a surrogate pair."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def check_listing(listing: Listing, name: str) -> None:
    """Checks that ids are unique and that each label, mask and centre was declared.

    Raises:
      DatasetError: nothing to build, an id twice, or something that was not declared; says which.
    """
    if not listing.items:
        reasons = "".join(f"\n  {file}: {reason}" for file, reason in listing.rejected[:5])
        raise LayoutError(
            f"{name}: no photograph is left of {len(listing.rejected)} that were named. Check --data_dir.{reasons}"
        )
    doubled = next(equal_groups(range(len(listing.items)), lambda index: listing.items[index].image_id), None)
    if doubled:
        twice = listing.items[doubled[0]].image_id
        raise DatasetError(f"{name}: image id {twice!r} occurs twice. Remove one of the rows or files.")
    for item in listing.items:
        for label, value in item.labels.items():
            if label not in listing.labels or not MISSING_LABEL <= value < len(listing.labels[label]):
                raise DatasetError(f"{name}: {item.image_id}: {label}={value} is none of {dict(listing.labels)}.")
        for kind, names, known in (
            ("mask", item.masks, listing.masks),
            ("centre", item.centres, listing.centres),
        ):
            if unknown := sorted(set(names) - set(known)):
                raise DatasetError(f"{name}: {item.image_id}: {kind} {unknown} is none of {list(known)}.")


def stable_hash(*parts: str | int) -> str:
    """Returns the SHA-256 of the parts, joined by a zero byte: the same on every machine and in every process."""
    return hash_of_pieces(f"\0{part}" if number else str(part) for number, part in enumerate(parts))


def hash_of_pieces(pieces: Iterable[str]) -> str:
    """Returns the SHA-256 of a text whose pieces need not be in memory together."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode())
    return digest.hexdigest()


def sample(items: Sequence[Item], limit: int | None, seed: int) -> Sequence[Item]:
    """Returns about `limit` items: whole patients in the order of their SHA-256, sorted by image id.

    Raises:
      ValueError: limit is not positive.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1. Received: {limit}.")
    chosen = items if limit is None else Chosen(items, _of_some_patients(items, limit, seed))
    return DiskList(in_order(chosen, key=lambda item: item.image_id))


def _of_some_patients(items: Sequence[Item], limit: int, seed: int) -> np.ndarray:
    """Returns the places of the items of whole patients, as many as make `limit` items, in the order of the items."""
    keys = bytearray()
    for item in items:
        keys += bytes.fromhex(stable_hash("sample", seed, item.patient))[:KEY_BYTES]
    parts = np.frombuffer(keys, ">u8").reshape(-1, KEY_BYTES // 8)
    order = np.lexsort((parts[:, 1], parts[:, 0]))
    begins = np.flatnonzero((np.diff(parts[order], axis=0, prepend=parts[order[:1]] ^ 1) != 0).any(axis=1))
    # The patient with whom the limit is reached is taken whole.
    ends = np.append(begins[begins >= limit], len(order))
    return np.sort(order[: int(ends[0])])
