"""Replaced photographs and corrected masks are never "nothing to do", and are never mixed with what they replace."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge.metadata import read_manifest
from tfrecord_tools import assembly
from tfrecord_tools.inside import is_same
from tfrecord_tools.items import Item
from tfrecord_tools.process import Outcome, Settings, process
from tfrecord_tools.spool import read_facts
from tfrecord_tools.verify import verify
from tfrecord_tools.writer import BuildError

Run = Callable[..., Path]
TABLE = {"csv": "t.csv", "image_column": "file", "label_columns": ["sick"], "mask_columns": ["optic_disc"]}
COUNT = 40  # two chunks of the spool


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes photographs here: worker processes take a while to start, and nothing here depends on them."""
    monkeypatch.setattr(assembly, "process_all", work)


def work(items: Iterable[Item], settings: Settings, workers: int) -> Iterator[Outcome]:
    return (process(item, settings) for item in items)


def digests(records: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(records.iterdir())}


def disc(shape: tuple[int, int], share: float) -> bytes:
    """A mask of that shape as BMP, a disc at that share of its width."""
    height, width = shape
    picture = cv2.circle(np.zeros(shape, np.uint8), (round(share * width), height // 2), height // 10, 255, -1)
    return cv2.imencode(".bmp", picture)[1].tobytes()


@pytest.fixture
def photographs(tmp_path: Path, save_photo, draw) -> Path:
    """Photographs and masks as BMP, so that another picture has the same number of bytes."""
    root = tmp_path / "photographs"
    for seed in range(COUNT):
        save_photo(root / f"{seed:02d}.bmp", seed)
        (root / f"m{seed:02d}.bmp").write_bytes(disc(draw(seed).image.shape[:2], 0.3 + seed / 200))
    rows = [f"{seed:02d}.bmp,m{seed:02d}.bmp,{seed % 2}" for seed in range(COUNT)]
    (root / "t.csv").write_text("\n".join(["file,optic_disc,sick", *rows]) + "\n", encoding="utf-8")
    return root


def replace(path: Path, content: bytes) -> None:
    """Puts other content in the place of a file, with its size and its time, as a restored copy has them."""
    before = path.stat()
    assert len(content) == before.st_size and content != path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other(root: Path, name: str, draw) -> bytes:
    """Another mask or photograph of as many bytes."""
    height, width = cv2.imread(str(root / name)).shape[:2]
    if name.startswith("m"):
        return disc((height, width), 0.6)
    return cv2.imencode(".bmp", cv2.resize(draw(99).image[..., ::-1], (width, height)))[1].tobytes()


@pytest.mark.parametrize("name", ["07.bmp", "m07.bmp"])
def test_a_replaced_file_of_the_same_size_and_time_is_not_nothing_to_do(
    name: str, photographs: Path, tmp_path: Path, run_build: Run, draw
):
    out = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    before = digests(out)
    run_build("csv", photographs, out, table=TABLE)  # nothing to do
    replace(photographs / name, other(photographs, name, draw))
    with pytest.raises(BuildError, match=f"holds another build: other files.*made: {name}. Remove the records"):
        run_build("csv", photographs, out, table=TABLE)
    assert digests(out) == before
    shutil.rmtree(out)
    run_build("csv", photographs, out, table=TABLE)
    changed = {file for file, digest in digests(out).items() if digest != before[file]}
    assert "files.csv" in changed and any(file.endswith(".tfrecord") for file in changed) and verify(out) == []


def test_a_new_time_alone_and_another_place_are_nothing_to_do(photographs: Path, tmp_path: Path, run_build: Run):
    out = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    before = digests(out)
    for path in photographs.iterdir():
        os.utime(path, (1, 1))
    elsewhere = Path(shutil.copytree(photographs, tmp_path / "elsewhere"))
    for root in (photographs, elsewhere):
        run_build("csv", root, out, table=TABLE)
    assert digests(out) == before


def test_a_mask_that_was_missing_and_came_later_is_noticed(photographs: Path, tmp_path: Path, run_build: Run):
    mask = (photographs / "m03.bmp").read_bytes()
    (photographs / "m03.bmp").unlink()
    out = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert read_manifest(out, "dataset")["rejected"] == 1
    (photographs / "m03.bmp").write_bytes(mask)
    with pytest.raises(BuildError, match="holds another build"):
        run_build("csv", photographs, out, table=TABLE)


def cut_off(photographs: Path, out: Path, run_build: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leaves a build of which every photograph is read and no shard written; returns its spool."""

    def stop(*_: object) -> None:
        raise RuntimeError("power failure")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power failure"):
        patch.setattr(assembly, "read_facts", stop)
        run_build("csv", photographs, out, table=TABLE)
    return out.parent / f".{out.name}.building" / "spool"


@pytest.mark.parametrize("name", ["35.bmp", "m35.bmp"])
def test_a_resumed_build_holds_no_file_that_is_gone(
    name: str, photographs: Path, tmp_path: Path, run_build: Run, draw, monkeypatch, caplog
):
    spool = cut_off(photographs, tmp_path / "out", run_build, monkeypatch)
    times = [(spool / f"chunk-00000{index}.json").stat().st_mtime_ns for index in range(2)]
    replace(photographs / name, other(photographs, name, draw))
    seen: list[list[int]] = []

    def look(path: Path, items: int):
        seen.append([(path / f"chunk-00000{index}.json").stat().st_mtime_ns for index in range(2)])
        return read_facts(path, items)

    monkeypatch.setattr(assembly, "read_facts", look)
    resumed = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert seen[0][0] == times[0] and seen[0][1] != times[1], (
        "the chunk of unchanged files is kept, the other made again"
    )
    assert f"changed since: {name}" in caplog.text
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))


def test_chunks_of_an_earlier_release_are_made_again(photographs: Path, tmp_path: Path, run_build: Run, monkeypatch):
    spool = cut_off(photographs, tmp_path / "out", run_build, monkeypatch)
    for path in spool.glob("chunk-*.json"):
        notes = json.loads(path.read_text(encoding="utf-8"))
        for fact in notes["facts"]:
            del fact["files"]
        path.write_text(json.dumps(notes), encoding="utf-8")
    resumed = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))


@pytest.mark.parametrize("name", ["11.bmp", "m11.bmp"])
def test_a_file_that_changes_after_it_was_listed_is_set_aside(
    name: str, photographs: Path, tmp_path: Path, run_build: Run, draw, monkeypatch
):
    def and_meanwhile(items, settings, workers) -> Iterator:
        changed = other(photographs, name, draw)
        (photographs / name).write_bytes(changed)
        return work(items, settings, workers)

    with monkeypatch.context() as patch:
        patch.setattr(assembly, "process_all", and_meanwhile)
        out = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    with open(out / "rejected.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == "11.bmp" and "it was changed while the build ran" in row["reason"]
    assert any("1 photographs were left out because they" in note for note in read_manifest(out, "dataset")["notes"])
    assert verify(out) == []
    with pytest.raises(BuildError, match="holds another build"):
        run_build("csv", photographs, out, table=TABLE)


def test_records_of_an_earlier_release_are_compared_as_far_as_they_tell(
    photographs: Path, tmp_path: Path, run_build: Run, draw, capsys
):
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    out = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    manifest = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    del manifest["digests"]
    (out / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")
    (out / "records.sha256").unlink()
    (out / "files.csv").unlink()
    assert verify(out) == []
    options = BuildOptions("csv", photographs, out, image_size=64, preprocess="crop", table=TABLE)
    said = build(options)
    assert "nothing to do" in said and "caution: These records were built by an earlier release" in said
    replace(photographs / "07.bmp", other(photographs, "07.bmp", draw))
    with pytest.raises(BuildError, match="other files.*07.bmp"):
        build(options)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((5, 1_000), (5, 1_000), True),
        ((5, 1_000), (6, 1_000), False),
        ((5, 1_700_000_000_123_456_789), (5, 1_700_000_000_123_456_700), True),  # a mount that counts in 100 ns
        ((5, 1_700_000_000_123_456_789), (5, 1_700_000_000_124_456_789), False),
        ((5, 1_700_000_000_123_456_789), (5, 1_700_000_000_000_000_000), True),  # one that counts in seconds
        ((5, 1_700_000_000_000_000_000), (5, 1_700_000_001_000_000_000), False),
        ((5, 1_700_000_000_123_456_789), (5, 1_700_000_003_000_000_000), False),
    ],
)
def test_stamps_of_one_file_through_two_mounts(one, other, same):
    assert is_same(one, other) is same and is_same(other, one) is same
