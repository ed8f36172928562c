"""Who goes where: official test sets kept, patients and near-duplicates together, the rest stratified and stable.

Nothing here depends on the order of rows or on Python's hash: a group's place follows from the SHA-256 of its patients,
so that photographs added later move few others. Copies of one photograph can never stand on both sides of a split,
which is also why augmentation lives in the training pipeline and not in the records.
"""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from dr_edge.data.records import MISSING_LABEL, SPLITS
from tfrecord_tools.facts import Fact
from tfrecord_tools.grouping import components, connected, equal_groups
from tfrecord_tools.items import KEY_BYTES, stable_hash

DEFAULT_FRACTION = 0.15
NOWHERE = -1
# What is kept where one group lies in several official splits.
PRIORITY = {
    "test": 0,
    "val": 1,
    "train": 2,
    None: 3,
}


@dataclasses.dataclass(frozen=True)
class Fractions:
    """Shares of photographs without an official split (or with the official split 'train') that go to val and test."""

    val: float
    test: float


def choose_fractions(official: set[str | None], val: float | None, test: float | None) -> Fractions:
    """Fills in the shares that the user left open: 0.15 each, 0 for a split that the data set itself has.

    Raises:
      ValueError: a share for a split that is official, or shares that leave nothing for training.
    """
    chosen: dict[str, float] = {}
    for split, value in (("val", val), ("test", test)):
        if value is not None and split in official:
            raise ValueError(
                f"This data set has an official {split} split, which is kept. Leave out --{split}_fraction."
            )
        chosen[split] = (0.0 if split in official else DEFAULT_FRACTION) if value is None else value
        if not 0 <= chosen[split] < 1:
            raise ValueError(f"--{split}_fraction must be at least 0 and below 1. Received: {chosen[split]}.")
    if sum(chosen.values()) >= 1:
        raise ValueError(f"--val_fraction and --test_fraction leave nothing for training: {chosen}. Lower them.")
    return Fractions(**chosen)


class SplitColumn(MutableMapping[int, str]):
    """Index of a photograph -> its split, for those that have one; a byte for each."""

    def __init__(self, count: int) -> None:
        self.codes = np.full(count, NOWHERE, np.int8)  # place in SPLITS

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self.codes) or self.codes[index] == NOWHERE:
            raise KeyError(index)
        return SPLITS[self.codes[index]]

    def __setitem__(self, index: int, split: str) -> None:
        self.codes[index] = SPLITS.index(split)

    def __delitem__(self, index: int) -> None:
        self.codes[index] = NOWHERE

    def __iter__(self) -> Iterator[int]:
        return map(int, np.flatnonzero(self.codes != NOWHERE))

    def __len__(self) -> int:
        return int((self.codes != NOWHERE).sum())

    def members(self, split: str) -> np.ndarray:
        """Returns the indices of a split, [N] int64 ascending."""
        return np.flatnonzero(self.codes == SPLITS.index(split))


@dataclasses.dataclass
class Assignment:
    """Where the photographs go, by index of the fact.

    Attributes:
      splits: of each photograph that is taken.
      reasons: for each that is set aside.
      copies: what `copies.count_copies` found, for the manifest.
    """

    splits: SplitColumn
    reasons: dict[int, str]
    copies: dict[str, Any] = dataclasses.field(default_factory=dict)


def assign(
    facts: Sequence[Fact],
    near_pairs: Iterable[tuple[int, int]],
    fractions: Fractions,
    seed: int,
    stratify: Sequence[str],
) -> Assignment:
    """Assigns each fact that was not rejected to a split, or sets it aside.

    Args:
      facts: of all photographs.
      near_pairs: indices of photographs that are copies of one another to the eye, or links that connect the same ones
        in the whole and within each of `sides_of`.
      fractions: shares of val and test.
      seed: another seed gives another division.
      stratify: label names whose combination (the worst of the group) is balanced over the splits.
    """
    reasons = _settle_exact_copies(facts)
    alive = np.fromiter((not fact.reason for fact in facts), bool, len(facts))

    def set_aside() -> None:
        alive[list(reasons)] = False

    set_aside()
    edges = [(first, second) for first, second in near_pairs if alive[first] and alive[second]]
    for members in components((node for edge in edges for node in edge), edges):
        _settle_copies(facts, members, reasons, "near-duplicate", keep_one=False)
    set_aside()
    splits = SplitColumn(len(facts))

    def free() -> Iterator[list[int]]:
        for group in patient_groups(facts, alive, edges):
            kept = _kept_side(facts, group)
            for index in set(group) - set(kept):
                reasons[index] = f"belongs with {facts[kept[0]].image_id} of the official {facts[kept[0]].split} split"
            official = facts[kept[0]].split
            if official in ("test", "val"):
                splits.update({index: official for index in kept})
            else:
                yield kept

    divide(facts, free(), fractions, seed, stratify, splits)
    return Assignment(splits, reasons)


def sides_of(facts: Sequence[Fact]) -> np.ndarray:
    """Returns [N] int: who stays when copies are set aside, for `copy_search.copy_links`.

    Of a group of copies the official test photographs (0) stay, else those of val (1), else all others (2). What goes
    as an exact copy (-1) goes before: nothing that stays may be connected through it.
    """
    order = {"test": 0, "val": 1}
    sides = np.fromiter((order.get(fact.split or "", len(order)) for fact in facts), int, len(facts))
    sides[list(_settle_exact_copies(facts))] = -1
    return sides


def _settle_exact_copies(facts: Sequence[Fact]) -> dict[int, str]:
    """Returns the reasons of those that are set aside because another file has the same pixels."""
    reasons: dict[int, str] = {}
    readable = np.flatnonzero(np.fromiter((not fact.reason for fact in facts), bool, len(facts)))
    for members in equal_groups(readable, lambda index: facts[index].pixels):
        _settle_copies(facts, members, reasons, "exact duplicate", keep_one=True)
    return reasons


def _settle_copies(
    facts: Sequence[Fact], members: Sequence[int], reasons: dict[int, str], kind: str, *, keep_one: bool
) -> None:
    """Sets aside what must go of some copies: training copies of test photographs, contradictions, repetitions."""
    if len(members) < 2:
        return
    kept = _kept_side(facts, members)
    first = facts[kept[0]]
    for index in set(members) - set(kept):
        conflict = "".join(f" ({text})" for text in label_conflicts([first, facts[index]]))
        reasons[index] = f"{kind} of {first.image_id} of the official {first.split} split{conflict}"
    conflicts = label_conflicts([facts[index] for index in kept])
    for index in kept:
        others = [facts[other].image_id for other in kept if other != index]
        if conflicts:
            reasons[index] = f"{kind} of {', '.join(others[:3])} with conflicting labels ({'; '.join(conflicts)})"
        elif keep_one and index != kept[0]:
            reasons[index] = f"{kind} of {first.image_id}"


def _kept_side(facts: Sequence[Fact], members: Sequence[int]) -> list[int]:
    """Returns the members in the official split that goes first, by image id; 'train' and no split are one side."""
    held = [(index, facts[index]) for index in members]
    best = min(PRIORITY[fact.split] for _, fact in held)
    side = [(fact.image_id, index) for index, fact in held if min(PRIORITY[fact.split], 2) == min(best, 2)]
    return [index for _, index in sorted(side)]


def label_conflicts(facts: Sequence[Fact]) -> list[str]:
    """Returns 'dr_grade 0 and 3' for each label on which the facts disagree; a missing label contradicts nothing."""
    values: dict[str, set[int]] = defaultdict(set)
    for fact in facts:
        for name, value in fact.labels.items():
            if value != MISSING_LABEL:
                values[name].add(value)
    return [
        f"{name} {' and '.join(map(str, sorted(found)))}" for name, found in sorted(values.items()) if len(found) > 1
    ]


def patient_groups(facts: Sequence[Fact], alive: np.ndarray, edges: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Yields the groups that no split may part: connected by a patient or by near-duplicates; `alive`: [N] bool."""
    places = np.flatnonzero(alive)
    place_of = np.cumsum(alive) - 1
    patients = equal_groups(places, lambda index: facts[index].patient)
    links = itertools.chain(
        ((group[0], other) for group in patients for other in group[1:]),
        ((first, second) for first, second in edges if alive[first] and alive[second]),
    )
    for group in connected(len(places), ((int(place_of[one]), int(place_of[other])) for one, other in links)):
        yield places[group].tolist()


def divide(
    facts: Sequence[Fact],
    groups: Iterable[Sequence[int]],
    fractions: Fractions,
    seed: int,
    stratify: Sequence[str],
    splits: SplitColumn,
) -> None:
    """Divides groups into train, val and test of `splits`, each stratum in the order of its SHA-256.

    A stratum of three groups or more gives at least one to each split that has a share.
    """
    strata: dict[tuple[int, ...], int] = {}
    members, sizes, stratum_of, keys = array("q"), array("q"), array("q"), bytearray()
    for group in groups:
        held = [facts[index] for index in group]
        worst = tuple(max(fact.labels.get(name, MISSING_LABEL) for fact in held) for name in stratify)
        members.extend(group)
        sizes.append(len(group))
        stratum_of.append(strata.setdefault(worst, len(strata)))
        keys += bytes.fromhex(min(stable_hash("split", seed, fact.patient) for fact in held))[:KEY_BYTES]
    parts = np.frombuffer(keys, ">u8").reshape(-1, KEY_BYTES // 8)
    stratum = np.frombuffer(stratum_of, np.int64)
    order = np.lexsort((parts[:, 1], parts[:, 0], stratum))
    counts = np.bincount(stratum, minlength=len(strata))
    ends = np.cumsum(counts)
    codes = np.full(len(order), SPLITS.index("train"), np.int8)  # of each group
    for start, end in zip(ends - counts, ends, strict=True):
        tests, vals = _counts(int(end - start), fractions)
        codes[order[start : start + tests]] = SPLITS.index("test")
        codes[order[start + tests : start + tests + vals]] = SPLITS.index("val")
    splits.codes[np.frombuffer(members, np.int64)] = np.repeat(codes, np.frombuffer(sizes, np.int64))


def _counts(groups: int, fractions: Fractions) -> tuple[int, int]:
    def share(fraction: float) -> int:
        count = int(groups * fraction + 0.5)
        return max(count, 1) if fraction > 0 and groups >= 3 else count

    tests = min(share(fractions.test), groups)
    return tests, min(share(fractions.val), groups - tests)


def count_classes(facts: Iterable[Fact], labels: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Returns label -> class index (as text, '-1' for missing) -> number of photographs; absent classes count 0."""
    counts = {name: {str(index): 0 for index in range(len(classes))} for name, classes in labels.items()}
    for fact in facts:
        for name in labels:
            value = str(fact.labels.get(name, MISSING_LABEL))
            counts[name][value] = counts[name].get(value, 0) + 1
    return counts
