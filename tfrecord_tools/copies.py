"""Counts how many of the files that were read are copies of one photograph, and says so in words.

A photograph's files are those that agree in every pixel and those that `duplicates` finds equal to the eye:
re-encoded, resized, brightened, mirrored or turned, as in a data set that was augmented before it came out.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfrecord_tools.facts import Fact
from tfrecord_tools.grouping import components, equal_groups
from tfrecord_tools.split import label_conflicts

SHOWN_NAMES = 5


def count_copies(facts: Sequence[Fact], near_pairs: Iterable[tuple[int, int]], kept: Iterable[int]) -> dict[str, Any]:
    """Returns what dataset.json says of copies; JSON-serialisable.

    Args:
      facts: of all files; those with a reason were not readable as photographs and do not count.
      near_pairs: indices of files that are copies of one another to the eye.
      kept: indices of the files that became records.

    Returns:
      "files" read and "photographs" among them; "sizes": number of files -> photographs with so many;
      "exact", "near", "conflicting": groups of files that agree in every pixel, look alike without that, or
      are copies under different labels, each with "groups", "files" and how many were "set_aside";
      "kept_together": groups of which two or more files became records, in one split; "largest": its "files"
      and the first "images"; "classes": label -> class -> {"files", "photographs"}.
    """
    kept = kept if isinstance(kept, Mapping) else frozenset(kept)
    alive = np.fromiter((not fact.reason for fact in facts), bool, len(facts))
    read = np.flatnonzero(alive)
    exact = list(equal_groups(read, lambda index: facts[index].pixels))
    same = [(group[0], other) for group in exact for other in group[1:]]
    edges = [*same, *((first, second) for first, second in near_pairs if alive[first] and alive[second])]
    several = components((node for edge in edges for node in edge), edges)
    near = [group for group in several if len({facts[index].pixels for index in group}) > 1]
    conflicting = [group for group in several if label_conflicts([facts[index] for index in group])]
    together = [[index for index in group if index in kept] for group in several]
    together = [group for group in together if len(group) > 1]
    largest = max(several, key=len, default=read[:1].tolist())
    alone = alive.copy()
    alone[[index for group in several for index in group]] = False
    sizes = Counter(map(len, several))
    sizes[1] = int(alone.sum())

    def tally(chosen: Sequence[Sequence[int]]) -> dict[str, int]:
        members = [index for group in chosen for index in group]
        return {
            "groups": len(chosen),
            "files": len(members),
            "set_aside": sum(index not in kept for index in members),
        }

    return {
        "files": len(read),
        "photographs": sizes.total(),
        "sizes": {str(size): count for size, count in sorted(sizes.items()) if count},
        "exact": tally(exact),
        "near": tally(near),
        "conflicting": tally(conflicting),
        "kept_together": {"groups": len(together), "files": sum(map(len, together))},
        "largest": {
            "files": len(largest),
            "images": sorted(facts[index].image_id for index in largest)[:SHOWN_NAMES],
        },
        "classes": _per_class(facts, itertools.chain(several, ([int(index)] for index in np.flatnonzero(alone)))),
    }


def _per_class(facts: Sequence[Fact], groups: Iterable[Sequence[int]]) -> dict[str, dict[str, dict[str, int]]]:
    """Returns label -> class -> files and photographs; one under two labels is a photograph of each."""
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(
        lambda: defaultdict(lambda: {"files": 0, "photographs": 0})
    )
    for group in groups:
        seen: set[tuple[str, int]] = set()
        for name, value in ((name, value) for index in group for name, value in facts[index].labels.items()):
            counts[name][str(value)]["files"] += 1
            counts[name][str(value)]["photographs"] += (name, value) not in seen
            seen.add((name, value))
    return {name: dict(sorted(values.items())) for name, values in sorted(counts.items())}


def words(copies: Mapping[str, Any] | None, labels: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the lines that `inspect` prints of copies.

    Args:
      copies: what `count_copies` found; None: records of an older builder.
      labels: label -> class names.
    """
    if not copies:
        return ["copies: not counted when these records were built; remove them and build again to know"]
    exact, near, conflicting = copies["exact"], copies["near"], copies["conflicting"]
    lines = [
        (
            f"{_of(copies['files'], 'file')} read, {_of(copies['photographs'], 'distinct photograph')}: "
            f"{copies['files'] - copies['photographs']} are copies of another file"
        ),
        (
            f"  exact copies: {_of(exact['groups'], 'group')} of {_of(exact['files'], 'file')}, "
            f"{exact['set_aside']} set aside"
        ),
        (
            f"  near-duplicates: {_of(near['groups'], 'group')} of {_of(near['files'], 'file')}, "
            f"{near['set_aside']} set aside"
        ),
        (
            f"  kept together in one split: {_of(copies['kept_together']['groups'], 'group')} of "
            f"{_of(copies['kept_together']['files'], 'file')}"
        ),
        (
            f"  with conflicting labels: {_of(conflicting['groups'], 'group')} of "
            f"{_of(conflicting['files'], 'file')}, {conflicting['set_aside']} set aside"
        ),
    ]
    largest = copies["largest"]
    if largest["files"] > 1:
        more = ", ..." if largest["files"] > len(largest["images"]) else ""
        lines.append(f"  largest group: {_of(largest['files'], 'file')} ({', '.join(largest['images'])}{more})")
        for name, classes in labels.items():
            counts = {int(value): count for value, count in copies["classes"].get(name, {}).items()}
            shares = [
                f"{classes[value]} {count['files']} / {count['photographs']}"
                for value, count in sorted(counts.items())
                if value >= 0
            ]
            lines.append(f"  {name}, files / photographs: {', '.join(shares)}")
    return lines


def _of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
