r"""Checks a directory of records and says what is wrong where.

  python -m tfrecord_tools.verify /tmp/records/idrid

Exit status 0: every shard is there, whole, and what dataset.json says; dataset.json and the tables are as they were
written (records.sha256); every example parses and decodes; no patient and no image id stands in two splits. Exit status
1: a list of what is wrong. --nodecode skips decoding the pictures (faster).
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from dr_edge import command, spreadsheet
from dr_edge.data.wire import WireError, parse_example, read_frames
from dr_edge.metadata import MANIFESTS, ManifestError, read_manifest, sha256_file
from tfrecord_tools import digests

FLAGS = flags.FLAGS
flags.DEFINE_bool("decode", True, "decode every picture and mask")

REPORTED = 20
REQUIRED = (
    "image/encoded",
    "image/id",
    "image/sha256",
    "image/source_size",
    "image/crop_box",
    "image/quality",
    "patient/id",
)


class Findings:
    """Collects what is wrong and what was counted while the shards are read."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.examples: Counter[str] = Counter()
        self.classes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.masks: dict[str, Counter[str]] = defaultdict(Counter)
        self.place_of_image: dict[str, str] = {}
        self.split_of_patient: dict[str, str] = {}
        self.rows: set[tuple[str, str, str, str]] = set()

    def add(self, problem: str) -> None:
        self.problems.append(problem)


def verify(records: Path, *, decode: bool = True, on_progress: Callable[[int], None] = lambda _: None) -> list[str]:
    """Returns what is wrong with the records in a directory; empty where nothing is.

    Args:
      records: a directory that `tfrecord_tools.build` wrote.
      decode: also decode each picture and mask.
      on_progress: told how many examples are done.
    """
    findings = Findings()
    try:
        manifest = read_manifest(records, "dataset")
    except ManifestError as err:
        return [str(err)]
    try:
        listed = {
            shard["file"]: (split, shard)
            for split, content in manifest["splits"].items()
            for shard in content["shards"]
        }
        _check_files(records, set(listed), manifest, findings)
        for name, (split, shard) in sorted(listed.items()):
            if (records / name).is_file():
                _check_shard(records / name, split, shard, manifest, decode, findings, on_progress)
        _check_counts(manifest, findings)
        _check_table(records / "splits.csv", findings)
    except (KeyError, TypeError, AttributeError) as err:
        findings.add(f"{records}/dataset.json: {type(err).__name__} {err}: not as this release writes it. Build again.")
    return [*findings.problems, *digests.check_digests(records, manifest)]


def _check_files(records: Path, shards: set[str], manifest: Mapping[str, Any], findings: Findings) -> None:
    known = {digests.FILE, *digests.TABLES} if digests.STATED in manifest else set()
    expected = shards | {MANIFESTS["dataset"][0], "splits.csv", "rejected.csv"}
    found = {path.name for path in records.iterdir()}
    for name in sorted(expected - found):
        findings.add(f"{name}: missing")
    for name in sorted(found - expected - known):
        findings.add(f"{name}: foreign, dataset.json does not list it")


def _check_shard(
    path: Path,
    split: str,
    shard: Mapping[str, Any],
    manifest: Mapping[str, Any],
    decode: bool,
    findings: Findings,
    on_progress: Callable[[int], None],
) -> None:
    size = path.stat().st_size
    if size != shard["bytes"]:
        findings.add(f"{path.name}: {size} bytes, dataset.json says {shard['bytes']}")
    elif sha256_file(path) != shard["sha256"]:
        findings.add(f"{path.name}: sha256 differs from dataset.json: the file was changed after it was written")
    count = 0
    for where, data in _read_frames(path, findings):
        _check_example(where, split, data, manifest, decode, findings)
        count += 1
        on_progress(1)
    if count != shard["examples"]:
        findings.add(f"{path.name}: {count} readable examples, dataset.json says {shard['examples']}")


def _read_frames(path: Path, findings: Findings) -> Iterator[tuple[str, bytes]]:
    """Yields (place, example) of a shard until a checksum fails, which is noted with the place."""
    try:
        for index, (offset, data) in enumerate(read_frames(path)):
            yield f"{path.name}: example {index} (byte {offset})", data
    except WireError as err:
        findings.add(f"{path.name}: {err}. The rest of the shard is unread")


def _check_example(
    where: str, split: str, data: bytes, manifest: Mapping[str, Any], decode: bool, findings: Findings
) -> None:
    try:
        feature = parse_example(data)
    except WireError as err:
        findings.add(f"{where}: {err}")
        return
    missing = [name for name in REQUIRED if name not in feature]
    if missing:
        findings.add(f"{where}: {', '.join(missing)} missing. Build again with this release")
        return
    image, patient, digest = (_text(feature[name]) for name in ("image/id", "patient/id", "image/sha256"))
    where = f"{where} {image}"
    if not image or not patient:
        findings.add(f"{where}: empty image or patient id")
    if image in findings.place_of_image:
        findings.add(f"{where}: this image stands also in {findings.place_of_image[image]}")
    findings.place_of_image[image] = where
    other = findings.split_of_patient.setdefault(patient, split)
    if other != split:
        findings.add(f"{where}: patient {patient} stands in {other} and in {split}")
    findings.rows.add((image, patient, split, digest))
    findings.examples[split] += 1
    _check_labels(where, split, feature, manifest, findings)
    if decode:
        _check_pictures(where, feature, manifest, findings)


def _text(values: Any) -> str:
    return values[0].decode("utf-8", "replace") if len(values) == 1 and isinstance(values[0], bytes) else ""


def _check_labels(
    where: str, split: str, feature: Mapping[str, Any], manifest: Mapping[str, Any], findings: Findings
) -> None:
    for name, classes in manifest["labels"].items():
        values = list(feature.get(f"label/{name}", [-1]))
        if len(values) != 1 or not isinstance(values[0], int) or not -1 <= values[0] < len(classes):
            findings.add(f"{where}: label {name} is {values}, known are 0..{len(classes) - 1} and -1")
        findings.classes[split, name].update(str(value) for value in values)
    known = {
        "label": manifest["labels"],
        "mask": manifest.get("masks", ()),
        "centre": manifest.get("centres", ()),
    }
    for name in feature:
        kind, _, rest = name.partition("/")
        if kind in known and rest not in known[kind]:
            findings.add(f"{where}: {name} is not declared in dataset.json")
        if kind == "mask":
            findings.masks[split][rest] += 1
        if kind == "centre" and len(feature[name]) != 2:
            findings.add(f"{where}: {name} is no pair of numbers")


def _check_pictures(where: str, feature: Mapping[str, Any], manifest: Mapping[str, Any], findings: Findings) -> None:
    import cv2
    import numpy as np

    size = manifest["image_size"]
    for name in feature:
        is_mask = name.startswith("mask/")
        if not is_mask and name not in ("image/encoded", "image/photograph"):
            continue
        data = feature[name][0] if len(feature[name]) == 1 else b""
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        if picture is None:
            findings.add(f"{where}: {name} does not decode")
        elif picture.shape != ((size, size) if is_mask else (size, size, 3)):
            findings.add(f"{where}: {name} is {picture.shape}, not {size} pixels a side")


def _check_counts(manifest: Mapping[str, Any], findings: Findings) -> None:
    for split, content in manifest["splits"].items():
        if findings.examples[split] != content["examples"]:
            findings.add(f"{split}: {findings.examples[split]} examples, dataset.json says {content['examples']}")
            continue  # the classes then differ too
        for label, stated in content["classes"].items():
            counted = findings.classes[split, label]
            if any(counted[value] != count for value, count in stated.items()) or set(counted) - set(stated):
                findings.add(f"{split}: {label} counts {dict(counted)}, dataset.json says {stated}")
        for mask, count in content.get("masks", {}).items():
            if findings.masks[split][mask] != count:
                findings.add(f"{split}: {findings.masks[split][mask]} masks {mask}, dataset.json says {count}")


def _check_table(path: Path, findings: Findings) -> None:
    if not path.is_file():
        return  # noted as missing
    rows = {tuple(row) for row in itertools.islice(spreadsheet.each_row(path), 1, None)}
    for row in sorted(rows - findings.rows)[:3]:
        findings.add(f"splits.csv: {','.join(row)}: no example says so")
    for row in sorted(findings.rows - rows)[:3]:
        findings.add(f"splits.csv: no row for {','.join(row)}")


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise app.UsageError("One directory of records is needed: python -m tfrecord_tools.verify RECORDS")
    from dr_edge.progress import Progress

    records = Path(argv[1]).expanduser()
    manifest = read_manifest(records, "dataset")
    try:
        splits = manifest["splits"]
        total = sum(content["examples"] for content in splits.values())
    except (KeyError, TypeError) as err:
        raise command.Failure(f"{records}/dataset.json: {err}: not as this release writes it. Build again.") from err
    with Progress(total=total, desc="verify", unit="img", mininterval=0.5) as bar:
        problems = verify(records, decode=FLAGS.decode, on_progress=bar.update)
    for text in digests.unchecked(records, manifest):
        print(f"caution: {text}")
    if not problems:
        print(f"{records}: {total} examples, all is well.")
        return
    for problem in problems[:REPORTED]:
        print(problem)
    if len(problems) > REPORTED:
        print(f"... and {len(problems) - REPORTED} more")
    sys.exit(1)


if __name__ == "__main__":
    command.run(main)
