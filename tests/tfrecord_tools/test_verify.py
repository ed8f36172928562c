"""verify finds every flipped byte and every missing, extra or foreign file, and inspect draws what is there."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge.data.wire import frame, parse_example, read_frames, serialise_example
from dr_edge.metadata import sha256_file
from tfrecord_tools.verify import verify


@pytest.fixture
def records(tmp_path: Path, small_records: Path) -> Path:
    return Path(shutil.copytree(small_records, tmp_path / "records"))


def first_shard(records: Path) -> Path:
    return sorted(records.glob("train-*"))[0]


def rewrite(records: Path, change) -> None:
    """Changes the features of the first training example and repairs all checksums, as a careless tool would."""
    path = first_shard(records)
    examples = [parse_example(data) for _, data in read_frames(path)]
    change(examples[0])
    path.write_bytes(b"".join(frame(serialise_example(example)) for example in examples))
    manifest = json.loads((records / "dataset.json").read_text(encoding="utf-8"))
    for shard in manifest["splits"]["train"]["shards"]:
        if shard["file"] == path.name:
            shard |= {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    (records / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_good_records_pass(small_records: Path):
    seen: list[int] = []
    assert verify(small_records, on_progress=seen.append) == []
    assert sum(seen) == 40


def test_any_flipped_byte_of_any_shard_is_found(records: Path):
    rng = random.Random(1)
    for path in sorted(records.glob("*.tfrecord")):
        data = path.read_bytes()
        for place in [0, len(data) - 1, *rng.sample(range(len(data)), 3)]:
            damaged = bytearray(data)
            damaged[place] ^= rng.randrange(1, 256)
            path.write_bytes(damaged)
            problems = verify(records, decode=False)
            assert any(f"{path.name}: sha256 differs" in problem for problem in problems)
            assert any(f"{path.name}: example" in problem and "at byte" in problem for problem in problems)
        path.write_bytes(data)
    assert verify(records) == []


@pytest.mark.parametrize("name", ["splits.csv", "rejected.csv", "dataset.json", "shard"])
def test_missing_files_are_named(records: Path, name: str):
    path = first_shard(records) if name == "shard" else records / name
    path.unlink()
    assert any(path.name in problem for problem in verify(records))


@pytest.mark.parametrize("name", ["dataset.json", "splits.csv", "rejected.csv", "files.csv"])
def test_a_changed_byte_of_the_manifest_or_a_table_is_found(records: Path, name: str):
    path = records / name
    path.write_bytes(path.read_bytes() + b"\n")
    (problem,) = [problem for problem in verify(records, decode=False) if "sha256 differs" in problem]
    assert problem.startswith(f"{name}: ") and problem.endswith("or build them again")


def test_records_whose_digests_are_gone_or_garbled_do_not_pass(records: Path):
    digests = records / "records.sha256"
    text = digests.read_text(encoding="utf-8")
    digests.write_text(text.replace("splits.csv", "split.csv"), encoding="utf-8")
    problems = verify(records, decode=False)
    assert any(problem.startswith("records.sha256: no digest of splits.csv") for problem in problems)
    assert any(problem.startswith("split.csv: missing, although") for problem in problems)
    digests.write_text("what a tool left\n" + text, encoding="utf-8")
    assert any("is no line of digest and file name" in problem for problem in verify(records, decode=False))
    digests.unlink()
    assert verify(records, decode=False) == [
        "records.sha256: missing. Copy it again from where the records were built, or build them again"
    ]


def test_sha256sum_reads_the_digests(records: Path):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum of coreutils is not here")
    done = subprocess.run(["sha256sum", "--check", "--strict", "records.sha256"], cwd=records, capture_output=True)
    assert done.returncode == 0 and done.stdout.count(b": OK") == 4


def test_records_of_an_earlier_release_pass_with_a_caution(records: Path):
    for name in ("records.sha256", "files.csv"):
        (records / name).unlink()
    manifest = json.loads((records / "dataset.json").read_text(encoding="utf-8"))
    del manifest["digests"]
    (records / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = run("verify", str(records), "--nodecode")
    assert found.returncode == 0 and "all is well" in found.stdout
    assert "caution:" in found.stdout and "written by an earlier release, which kept no digests" in found.stdout


def test_extra_and_foreign_files_are_named(records: Path):
    (records / "notes.txt").touch()
    shutil.copy(first_shard(records), records / "train-00099-of-00100.tfrecord")
    problems = verify(records)
    assert "notes.txt: foreign, dataset.json does not list it" in problems
    assert "train-00099-of-00100.tfrecord: foreign, dataset.json does not list it" in problems


def test_shard_of_another_build_is_found(records: Path):
    shards = sorted(records.glob("train-*"))
    shutil.copy(shards[1], shards[0])
    problems = " ".join(verify(records))
    assert f"{shards[0].name}: " in problems and "this image stands also in" in problems


def test_cut_shard_is_found(records: Path):
    path = first_shard(records)
    path.write_bytes(path.read_bytes()[:-7])
    problems = " ".join(verify(records))
    assert "dataset.json says" in problems and "ends inside a frame" in problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda features: features.update({"label/dr_grade": [9]}), "label dr_grade is [9], known are 0..4 and -1"),
        (lambda features: features.update({"label/dr_grade": [-1]}), "dr_grade counts"),
        (lambda features: features.pop("image/id"), "image/id missing"),
        (lambda features: features.update({"image/encoded": [b"\xff\xd8broken"]}), "image/encoded does not decode"),
        (lambda features: features.update({"label/surprise": [0]}), "label/surprise is not declared"),
        (lambda features: features.update({"patient/id": [b"stranger"]}), "splits.csv"),
        (lambda features: features.pop("mask/optic_disc"), "masks optic_disc"),
        (
            lambda features: features.update({"mask/optic_disc": [cv2.imencode(".png",
            np.zeros((8, 8), np.uint8))[1].tobytes()]}),
            "mask/optic_disc is (8, 8), not 96 pixels a side",
        ),
    ],
)  # fmt: skip
def test_examples_that_are_not_as_declared_are_named(records: Path, change, message: str):
    rewrite(records, change)
    problems = verify(records)
    assert any(message in problem for problem in problems), problems


def test_patient_in_two_splits_is_found(records: Path):
    other = next(data for _, data in read_frames(sorted(records.glob("test-*"))[0]))
    patient = parse_example(other)["patient/id"]
    rewrite(records, lambda features: features.update({"patient/id": patient}))
    assert any("stands in" in problem and "patient" in problem for problem in verify(records))


def test_manifest_of_another_shape_is_an_answer_not_a_crash(records: Path):
    manifest = json.loads((records / "dataset.json").read_text(encoding="utf-8"))
    manifest["splits"] = {"train": {"shards": [{"name": "x"}]}}
    (records / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "not as this release writes it" in verify(records)[0]
    assert "holds no dataset.json" in verify(records.parent)[0]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"tfrecord_tools.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_verify_command(records: Path):
    good = run("verify", str(records))
    assert good.returncode == 0 and "40 examples, all is well" in good.stdout
    path = first_shard(records)
    path.write_bytes(path.read_bytes()[:-7])
    bad = run("verify", str(records))
    assert bad.returncode == 1 and path.name in bad.stdout and "Traceback" not in bad.stderr
    none = run("verify", str(records.parent))
    assert none.returncode == 1 and "holds no dataset.json" in none.stderr


def test_inspect_command_draws_a_sheet_with_every_split_and_class(small_records: Path, tmp_path: Path):
    sheet = tmp_path / "deep" / "sheet.png"
    found = run("inspect", str(small_records), f"--out={sheet}", "--examples=2")
    assert found.returncode == 0, found.stderr
    assert "0 no DR" in found.stdout and "mask optic_disc" in found.stdout and "eyes: " in found.stdout
    picture = cv2.imread(str(sheet))
    manifest = json.loads((small_records / "dataset.json").read_text(encoding="utf-8"))
    rows = sum(sum(count > 0 for count in part["classes"]["dr_grade"].values()) for part in manifest["splits"].values())
    assert picture.shape[0] > rows * 176 and picture.shape[1] > 2 * 3 * 176
    assert picture.std() > 20
    wrong = run("inspect", str(small_records), "--label=colour")
    assert wrong.returncode == 1 and "It has: dr_grade, glaucoma" in wrong.stderr


def test_inspect_marks_masks_centres_and_box(small_records: Path):
    from tfrecord_tools.reading import read_examples
    from tfrecord_tools.sheet import BOX, CELL, CENTRE, draw_frame, draw_marked, palette

    example = next(read_examples(small_records, "train"))
    colours = palette(["optic_disc"])
    marked = draw_marked(example, colours)
    plain = cv2.resize(example.picture("image/photograph"), (CELL, CELL), interpolation=cv2.INTER_AREA)
    changed = np.abs(marked.astype(int) - plain).max(axis=2) > 60
    x, y = (round(value * CELL / 96 - 0.5) for value in example.numbers("centre/fovea"))
    assert changed[y - 3 : y + 4, x - 3 : x + 4].any()
    assert np.abs(marked[y, x].astype(int) - CENTRE).max() < 90
    frame_picture = draw_frame(example)
    assert (np.abs(frame_picture.astype(int) - BOX).max(axis=2) < 40).sum() > CELL
