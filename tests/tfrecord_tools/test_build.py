"""The build as a whole: what it leaves, whom it refuses, and the same bytes however it was made."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dr_edge.metadata import read_manifest
from tfrecord_tools import assembly
from tfrecord_tools.reading import read_examples
from tfrecord_tools.verify import verify
from tfrecord_tools.writer import BuildError

Run = Callable[..., Path]


def digests(records: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(records.iterdir())}


def reasons(records: Path) -> dict[str, str]:
    with open(records / "rejected.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def test_what_a_build_leaves(small_records: Path):
    manifest = read_manifest(small_records, "dataset")
    assert manifest["dataset"] == "synthetic" and manifest["image_size"] == 96
    assert manifest["preprocess"]["method"] == "graham" and manifest["preprocess"]["gain"] == 4.0
    assert manifest["labels"]["dr_grade"][2] == "moderate NPDR"
    assert set(manifest["masks"]) >= {"optic_disc", "optic_cup", "microaneurysms"}
    assert manifest["centres"] == ["optic_disc", "fovea"]
    assert sum(manifest["quality"]["counts"]) == sum(part["examples"] for part in manifest["splits"].values())
    for split, part in manifest["splits"].items():
        assert [shard["file"] for shard in part["shards"]] == [
            f"{split}-{index:05d}-of-{len(part['shards']):05d}.tfrecord" for index in range(len(part["shards"]))
        ]
        assert max(shard["examples"] for shard in part["shards"]) <= 8
        assert sum(part["classes"]["dr_grade"].values()) == part["examples"]
    assert verify(small_records) == []
    assert not (small_records.parent / ".small.building").exists()
    with open(small_records / "splits.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 and len({row["patient"] for row in rows}) == 20
    sides = {(row["patient"], row["split"]) for row in rows}
    assert len(sides) == 20, "both eyes of a patient stand in one split"


def test_training_pipeline_reads_what_the_builder_wrote(small_records: Path):
    import tensorflow as tf

    from dr_edge.data.records import decode_image, decode_mask, parse, shard_paths

    count = 0
    for serialized in tf.data.TFRecordDataset(shard_paths(small_records, "train")):
        parsed = parse(serialized, labels=["dr_grade"], masks=["optic_disc"], centres=["fovea"], photograph=True)
        assert decode_image(parsed["encoded"], 96).shape == (96, 96, 3)
        assert decode_image(parsed["photograph"], 96).shape == (96, 96, 3)
        assert 0 < float(tf.reduce_mean(decode_mask(parsed["mask/optic_disc"], 96))) < 0.2
        assert 0 <= int(parsed["label/dr_grade"]) <= 4
        count += 1
    assert count == read_manifest(small_records, "dataset")["splits"]["train"]["examples"]


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(small_records: Path, tmp_path: Path, run_build: Run, workers: int):
    again = run_build(
        "synthetic", None, tmp_path / "again", limit=40, image_size=96, preprocess="graham", shard_examples=8,
        workers=workers,
    )  # fmt: skip
    assert digests(again) == digests(small_records)


def test_file_order_and_place_do_not_matter(grading_folder: Path, tmp_path: Path, run_build: Run):
    first = run_build("aptos", grading_folder, tmp_path / "first")
    other = tmp_path / "elsewhere"
    (other / "train_images").mkdir(parents=True)
    lines = (grading_folder / "train.csv").read_text(encoding="utf-8").splitlines()
    (other / "train.csv").write_text("\r\n".join([lines[0], *lines[:0:-1]]) + "\r\n", encoding="utf-8")
    for path in sorted((grading_folder / "train_images").iterdir(), reverse=True):
        (other / "train_images" / path.name).write_bytes(path.read_bytes())
    assert digests(run_build("aptos", other, tmp_path / "second")) == digests(first)


def test_bad_photographs_are_set_aside_and_the_rest_goes_on(grading_folder: Path, tmp_path: Path, run_build: Run):
    root = tmp_path / "data"
    (root / "train_images").mkdir(parents=True)
    for path in (grading_folder / "train_images").iterdir():
        (root / "train_images" / path.name).write_bytes(path.read_bytes())
    photos = root / "train_images"
    (photos / "eye00.png").write_bytes(b"")
    (photos / "eye01.png").write_bytes((photos / "eye01.png").read_bytes()[:2000])
    (photos / "eye02.png").unlink()
    (photos / "eye03.png").unlink()
    (photos / "eye03.png").symlink_to(grading_folder / "train_images" / "eye03.png")
    (photos / "extra.png").write_bytes((photos / "eye05.png").read_bytes())
    (photos / "eye06.png").write_bytes((photos / "eye07.png").read_bytes())  # other grade
    (photos / "eye08.png").write_bytes((photos / "eye13.png").read_bytes())  # same grade
    rows = (grading_folder / "train.csv").read_text(encoding="utf-8")
    (root / "train.csv").write_text(rows, encoding="utf-8")
    out = run_build("aptos", root, tmp_path / "out")
    found = reasons(out)
    expected = {
        "train_images/eye00.png": "empty file",
        "train_images/eye01.png": "truncated",
        "train_images/eye02": "the photograph is missing",
        "train_images/eye03.png": "outside the data directory",
        "train_images/extra.png": "no row in train.csv",
        "train_images/eye06.png": "exact duplicate of eye07 with conflicting labels (dr_grade 1 and 2)",
        "train_images/eye07.png": "exact duplicate of eye06 with conflicting labels (dr_grade 1 and 2)",
        "train_images/eye13.png": "exact duplicate of eye08",
    }
    assert found.keys() == expected.keys()
    for file, reason in expected.items():
        assert reason in found[file]
    manifest = read_manifest(out, "dataset")
    assert manifest["rejected"] == 8 and sum(part["examples"] for part in manifest["splits"].values()) == 24 - 7
    assert verify(out) == []


def test_nothing_left_is_an_error_with_the_reasons(tmp_path: Path, run_build: Run):
    (tmp_path / "data" / "train_images").mkdir(parents=True)
    (tmp_path / "data" / "train.csv").write_text("id_code,diagnosis\na,1\nb,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no photograph is left of 2"):
        run_build("aptos", tmp_path / "data", tmp_path / "out")
    for name in "ab":
        (tmp_path / "data" / "train_images" / f"{name}.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"No photograph of 2 is left to write.\n  2 x unsupported format"):
        run_build("aptos", tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_same_build_again_has_nothing_to_do_and_another_is_refused(
    grading_folder: Path, tmp_path: Path, run_build: Run
):
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    out = run_build("aptos", grading_folder, tmp_path / "out")
    before = digests(out)
    options = BuildOptions("aptos", grading_folder, out, image_size=64, preprocess="crop")
    assert "nothing to do" in build(options)
    with pytest.raises(BuildError, match="holds another build"):
        run_build("aptos", grading_folder, out, image_size=96)
    assert digests(out) == before


def test_foreign_and_unfinished_directories_are_refused(grading_folder: Path, tmp_path: Path, run_build: Run):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.doc").touch()
    with pytest.raises(BuildError, match="holds other files"):
        run_build("aptos", grading_folder, foreign)
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="is no directory"):
        run_build("aptos", grading_folder, tmp_path / "file")
    staging = tmp_path / ".out.building"
    staging.mkdir()
    (staging / "build.json").write_text(json.dumps({"key": "x", "arguments": {"seed": 7}}), encoding="utf-8")
    (staging / "spool").mkdir()
    notes = {"sha256": {}, "facts": [{"reason": "no field of view"}, {"reason": ""}]}
    (staging / "spool" / "chunk-000000.json").write_text(json.dumps(notes), encoding="utf-8")
    with pytest.raises(BuildError, match="seed: 7 there, 0 now"):
        run_build("aptos", grading_folder, tmp_path / "out")
    (staging / "build.json").write_text("{", encoding="utf-8")
    with pytest.raises(BuildError, match="damaged"):
        run_build("aptos", grading_folder, tmp_path / "out")
    (staging / "build.json").unlink()
    (staging / "precious").touch()
    with pytest.raises(BuildError, match="files that are no build's"):
        run_build("aptos", grading_folder, tmp_path / "out")


def test_an_unfinished_build_that_accepted_nothing_gives_way(grading_folder: Path, tmp_path: Path, run_build: Run):
    staging = tmp_path / ".out.building"
    (staging / "spool").mkdir(parents=True)
    (staging / "build.json").write_text(json.dumps({"key": "x", "arguments": {"seed": 7}}), encoding="utf-8")
    notes = {"sha256": {}, "facts": [{"reason": "no field of view"}] * 2}
    (staging / "spool" / "chunk-000000.json").write_text(json.dumps(notes), encoding="utf-8")
    out = run_build("aptos", grading_folder, tmp_path / "out")
    assert read_manifest(out, "dataset")["splits"]["train"]["examples"] and not staging.exists()


def test_a_build_that_came_to_nothing_does_not_block_the_corrected_command(
    grading_folder: Path, tmp_path: Path, run_build: Run
):
    with pytest.raises(ValueError, match="No photograph of .* is left"):
        run_build("aptos", grading_folder, tmp_path / "out", min_quality=1.0)
    assert not list(tmp_path.iterdir())
    run_build("aptos", grading_folder, tmp_path / "out")


def test_a_build_that_another_process_has_finished_meanwhile_is_not_made_again(
    grading_folder: Path, tmp_path: Path, run_build: Run, monkeypatch: pytest.MonkeyPatch
):
    out = run_build("aptos", grading_folder, tmp_path / "out")
    before = digests(out)
    looks = iter([False])  # at the first look it was not there yet
    real = assembly.is_built
    monkeypatch.setattr(assembly, "is_built", lambda *asked: next(looks, True) and real(*asked))
    run_build("aptos", grading_folder, tmp_path / "out")
    assert digests(out) == before and not (tmp_path / ".out.building").exists()


def test_second_build_of_one_output_at_the_same_time_is_refused(grading_folder: Path, tmp_path: Path, run_build: Run):
    staging = tmp_path / ".out.building"
    staging.mkdir()
    with open(staging / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BuildError, match="Another build is writing"):
            run_build("aptos", grading_folder, tmp_path / "out")
    run_build("aptos", grading_folder, tmp_path / "out")


def test_changed_photograph_makes_another_build(grading_folder: Path, tmp_path: Path, run_build: Run):
    root = tmp_path / "data"
    (root / "train_images").mkdir(parents=True)
    for path in [*(grading_folder / "train_images").iterdir(), grading_folder / "train.csv"]:
        (root / path.relative_to(grading_folder)).write_bytes(path.read_bytes())
    out = run_build("aptos", root, tmp_path / "out")
    with open(root / "train_images" / "eye00.png", "ab") as file:
        file.write(b"\0")
    with pytest.raises(BuildError, match="other files"):
        run_build("aptos", root, out)


def test_limit_and_fractions(grading_folder: Path, tmp_path: Path, run_build: Run):
    out = run_build("aptos", grading_folder, tmp_path / "out", limit=9, val_fraction=0.0, test_fraction=0.4)
    parts = read_manifest(out, "dataset")["splits"]
    assert parts["train"]["examples"] + parts["test"]["examples"] == 9 and parts["val"]["shards"] == []
    with pytest.raises(ValueError, match="no shards of split 'val'"):
        list(read_examples(out, "val"))


def command(*arguments: str, module: str = "tfrecord_tools.build") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=120)


def test_command_line(tmp_path: Path):
    helped = command("--help")
    assert "python -m tfrecord_tools.build --dataset=idrid" in helped.stdout
    made = command("--dataset=synthetic", "--limit=4", "--image_size=96", f"--out={tmp_path}/r", "--workers=1")
    assert made.returncode == 0 and "Written to" in made.stdout and "img/s" in made.stderr
    again = command("--dataset=synthetic", "--limit=4", "--image_size=96", f"--out={tmp_path}/r")
    assert again.returncode == 0 and "nothing to do" in again.stdout
    missing = command("--dataset=idrid", "--data_dir=/nowhere", f"--out={tmp_path}/x")
    assert missing.returncode == 1 and "is no directory. Unpack idrid there" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_disk_that_refuses_is_an_answer():
    found = command("--dataset=synthetic", "--limit=2", "--image_size=96", "--out=/proc/nowhere/records")
    assert found.returncode == 1 and "What is finished is kept" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=synthetic", "--data_dir=/tmp"], "draws its images. Leave out --data_dir"),
        (["--dataset=synthetic", "--csv=t.csv"], "--csv is for --dataset=csv only"),
        (["--dataset=synthetic", "--beam_option=x"], "--beam_option needs a Beam runner"),
        (["--dataset=eyepack"], "eyepacs"),
        (["--dataset=synthetic", "extra"], "Unexpected arguments: extra"),
        (["--dataset=synthetic", "--image_sise=3"], "image_size"),
        (["--dataset=synthetic", "--image_size=3"], "image_size"),
    ],
)
def test_mistaken_flags_are_refused(tmp_path: Path, arguments: list[str], message: str):
    found = command(*arguments, f"--out={tmp_path}/x")
    assert found.returncode != 0 and message in found.stderr + found.stdout
    assert "Traceback" not in found.stderr
    assert not list(tmp_path.iterdir())


def test_workers_and_launcher_do_without_tensorflow():
    code = (
        "import sys, tfrecord_tools.pool, tfrecord_tools.assembly, tfrecord_tools.verify, tfrecord_tools.inspect;"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
