"""records.sha256: the SHA-256 of the manifest and the tables of records, in the form that `sha256sum -c` reads.

The shards' digests stand in dataset.json; this file holds that of dataset.json itself and of the tables beside it, so
that no byte of a records directory can change unseen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dr_edge.metadata import MANIFESTS, sha256_file, write_text

FILE = "records.sha256"
TABLES = ("splits.csv", "rejected.csv", "files.csv")  # as far as records have them
STATED = "digests"  # the key of dataset.json that names FILE: where it stands, a missing FILE is a fault
WHAT_TO_DO = "Copy it again from where the records were built, or build them again"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def write_digests(records: Path) -> None:
    """Writes the digests of what stands in `records` beside the shards; the manifest must be there."""
    names = (MANIFESTS["dataset"][0], *TABLES)
    lines = [f"{sha256_file(records / name)}  {name}" for name in names if (records / name).is_file()]
    write_text(records / FILE, "\n".join(lines) + "\n")


def check_digests(records: Path, manifest: dict[str, Any]) -> list[str]:
    """Returns what is wrong with the manifest and the tables by their digests; [] where no digests were kept.

    Args:
      records: a directory of records.
      manifest: content of its dataset.json.
    """
    path = records / FILE
    if not path.is_file():
        return [f"{FILE}: missing. {WHAT_TO_DO}"] if STATED in manifest else []
    stated, problems = {}, []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            problems.append(f"{FILE}: {line[:80]!r} is no line of digest and file name. {WHAT_TO_DO}")
        else:
            stated[found[2]] = found[1]
    expected = [name for name in (MANIFESTS["dataset"][0], *TABLES) if (records / name).is_file()]
    problems += [f"{FILE}: no digest of {name}. {WHAT_TO_DO}" for name in expected if name not in stated]
    problems += [f"{name}: missing, although {FILE} lists it. {WHAT_TO_DO}" for name in stated if name not in expected]
    problems += [
        f"{name}: sha256 differs from {FILE}: it was changed after the records were written. {WHAT_TO_DO}"
        for name in expected
        if name in stated and sha256_file(records / name) != stated[name]
    ]
    return problems


def unchecked(records: Path, manifest: dict[str, Any]) -> list[str]:
    """Returns a caution where records of an earlier release keep no digests of their manifest and tables."""
    if STATED in manifest or (records / FILE).is_file():
        return []
    return [
        f"{records} was written by an earlier release, which kept no digests of dataset.json, splits.csv and "
        "rejected.csv: a change in them is seen only where it contradicts the shards. Build again to have them."
    ]
