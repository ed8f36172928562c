"""The launcher's memory as a build grows: bytes per photograph, from listing to finished records.

    python -m pytest tests/benchmarks/bench_launcher.py -s -o python_files='bench_*.py'

Every photograph is a file of a few bytes that nobody decodes: `process_all` is replaced by one that makes a record of
its name, so that what is measured is the launcher's own share: listing, key, leftovers, facts, copies, splits, shards,
tables. The comparison of all photographs with each other is left out, with its kilobyte for each of them. Each size is
a process of its own, and its row the peak of resident memory; the slope between the sizes is what a photograph costs.

Also by hand, for other sizes: python tests/benchmarks/bench_launcher.py csv 100000 DIRECTORY
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = (20_000, 100_000)  # below that most is what a list takes before it goes to the disk


def photographs(kind: str, count: int, root: Path) -> dict[str, object]:
    """Writes `count` files, two per patient, and what names their classes; returns the options of the build."""
    names = [f"{number // 2:07d}_{('left', 'right')[number % 2]}.jpeg" for number in range(count)]
    classes = ("healthy", "sick") if kind == "folder" else ("train",)
    places = [f"{classes[number // 2 % len(classes)]}/{name}" for number, name in enumerate(names)]
    for folder in {os.path.dirname(place) for place in places}:
        (root / folder).mkdir(parents=True)
    for place in places:
        (root / place).write_bytes(b"\xff\xd8\xff" + place.encode())
    if kind == "folder":
        return {"dataset": "folder"}
    if kind == "eyepacs":
        rows = ["image,level", *(f"{name.removesuffix('.jpeg')},{number % 5}" for number, name in enumerate(names))]
        (root / "trainLabels.csv").write_text("\n".join(rows) + "\n")
        return {"dataset": "eyepacs"}
    rows = ["file,who,grade", *(f"{place},p{number // 2},{number % 5}" for number, place in enumerate(places))]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    table = {"csv": "labels.csv", "image_column": "file", "label_columns": ["dr_grade=grade"], "patient_column": "who"}
    return {"dataset": "csv", "table": table}


def undecoded(items: Iterable, settings, workers: int) -> Iterator:
    """Stands for `process_all`: a record of each item's name, nothing decoded."""
    from dr_edge.data.records import Record
    from tfrecord_tools.process import Outcome

    for item in items:
        digest = hashlib.sha256(item.path.encode()).hexdigest()
        record = Record(
            encoded=b"x", photograph=b"", image_id=item.image_id, path=item.path, sha256=digest,
            patient_id=item.patient, source_size=(100, 100), crop_box=(0.0, 0.0, 100.0, 100.0),
            laterality=item.laterality, quality=0.5, labels=dict(item.labels), masks={}, centres={},
        )  # fmt: skip
        yield Outcome(item, record, pixels=digest, files={item.path: digest})


def build_once(kind: str, count: int, place: Path) -> tuple[float, float]:
    """Builds in this process and returns its peak of resident memory in MiB and its seconds of CPU."""
    from tfrecord_tools import assembly, spool
    from tfrecord_tools.plan import BuildOptions

    options = photographs(kind, count, place / "photographs")
    assembly.process_all = undecoded
    assembly.read_coarse_pictures = lambda *_: None
    assembly.copy_links = lambda *_, **__: []
    spool.os.fsync = lambda _: None  # of thousands of chunks that nobody will need
    start = time.process_time()
    assembly.build(BuildOptions(data_dir=place / "photographs", out=place / "records", image_size=64, **options))
    took = time.process_time() - start
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, took


def peak(kind: str, count: int, place: Path) -> tuple[float, float]:
    """As `build_once`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, kind, str(count), str(place)], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    memory, took = done.stdout.split()[-2:]
    return float(memory), float(took)


@pytest.mark.parametrize("kind", ["csv", "folder", "eyepacs"])
def test_memory_of_the_launcher(kind: str, tmp_path: Path):
    small, large = (peak(kind, count, tmp_path / str(count)) for count in SIZES)
    slope = (large[0] - small[0]) * 1024**2 / (SIZES[1] - SIZES[0])
    print(
        f"\nlauncher, {kind}: {small[0]:.0f} -> {large[0]:.0f} MiB at {SIZES[0]} -> {SIZES[1]} photographs: "
        f"{slope:.0f} bytes each; {1e6 * large[1] / SIZES[1]:.0f} us of CPU each"
    )
    assert slope < 150


if __name__ == "__main__":
    made = build_once(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    print(*made)
