"""Whether the photographs, masks and contours of a build are still the bytes that it has read.

Names, sizes and times do not tell: a restored copy (cp -p, tar, rsync -t) may have the size and the time of what it
replaces. A build therefore keeps the SHA-256 of each file that it read, and compares it before its work is used again:
chunk by chunk where a build goes on, and all of them (files.csv) before it says that there is nothing to do. Reading a
file costs a small part of what decoding it does (tests/benchmarks/bench_build.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from dr_edge import spreadsheet
from tfrecord_tools.inside import digest_inside
from tfrecord_tools.items import Item, readable

TABLE = "files.csv"
HEADER = ("file", "sha256")
ANY_NAME = "surrogateescape"  # the bytes of any name are written and read back
NAMED = 3
AT_ONCE = 256  # files; more would only wait in memory

Value = TypeVar("Value")
Result = TypeVar("Result")
Expected = tuple[str, str]  # file relative to the data directory, SHA-256 (ABSENT where it could not be read)


def in_threads(work: Callable[[Value], Result], values: Iterable[Value], threads: int) -> Iterator[Result]:
    """Yields work(value) of each value in their order; few wait in memory, however many there are."""
    waiting = iter(values)
    with ThreadPoolExecutor(threads) as pool:
        while part := list(itertools.islice(waiting, AT_ONCE)):
            yield from pool.map(work, part)


def changed(data_dir: str, files: Iterable[Expected]) -> list[str]:
    """Returns those of some files whose content is another one now.

    Args:
      data_dir: absolute path of the data directory.
      files: with the SHA-256 that they had.
    """
    return [path for path, digest in files if digest_inside(data_dir, path) != digest]


def check_records(
    out: Path,
    data_dir: str,
    items: Iterable[Item],
    threads: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[list[str], int, list[str]]:
    """Compares the files that the records `out` were made of with those that lie there now.

    Args:
      out: finished records of the build that is asked for.
      data_dir: absolute path of the data directory, "" for drawn images.
      items: of the build, in the order of their ids.
      threads: that read at once.
      on_progress: told how many files were compared.

    Returns:
      The first changed files, how many there are in all, and what could not be compared, as sentences.
    """
    if not data_dir:
        return [], 0, []
    table, notes = out / TABLE, []
    if table.is_file():
        expected: Iterable[Expected] = _rows(table)
    else:
        expected = _photographs(out, items)
        notes = [
            "These records were built by an earlier release, which kept the digests of the photographs that it took "
            "and of no other file. Where masks, contours or rejected photographs were changed since, remove the "
            "records and build again."
        ]
    named: list[str] = []
    count = 0
    for found in in_threads(lambda one: changed(data_dir, [one]), expected, threads):
        on_progress(1)
        count += len(found)
        named += found if len(named) < NAMED else []
    return named, count, notes


def _rows(table: Path) -> Iterator[Expected]:
    return ((row[0], row[1]) for row in itertools.islice(spreadsheet.each_row(table, ANY_NAME), 1, None))


def _photographs(out: Path, items: Iterable[Item]) -> Iterator[Expected]:
    """Yields the photographs of records without files.csv, by the ids and digests of splits.csv."""
    digests = {row["image"]: row["sha256"] for row in spreadsheet.read(out / "splits.csv")}
    for item in items:
        if digests.get(item.image_id):
            yield item.path, digests[item.image_id]


def listed(names: Iterable[str], count: int) -> str:
    """Returns "a.png, b.png, c.png and 7 more"."""
    shown = [readable(name) for name in names][:NAMED]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")
