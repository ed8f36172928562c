"""Building records of real photographs: official splits, traps that are known to be there, geometry."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge.metadata import read_manifest
from tfrecord_tools.assembly import build
from tfrecord_tools.plan import BuildOptions
from tfrecord_tools.reading import Example, read_examples
from tfrecord_tools.verify import verify


def make(dataset: str, data_dir: Path, out: Path, **rest) -> Path:
    build(BuildOptions(dataset, data_dir, out, **{"image_size": 128, "workers": 2, **rest}))
    assert verify(out) == []
    return out


def splits(records: Path) -> dict[str, tuple[str, str]]:
    """image id -> (split, patient)"""
    with open(records / "splits.csv", newline="", encoding="utf-8") as file:
        return {row["image"]: (row["split"], row["patient"]) for row in csv.DictReader(file)}


def rejected(records: Path) -> dict[str, str]:
    with open(records / "rejected.csv", newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}


def examples(records: Path) -> dict[str, Example]:
    found = {}
    for split in ("train", "val", "test"):
        if list(records.glob(f"{split}-*")):
            found |= {example.text("image/id"): example for example in read_examples(records, split)}
    return found


def copy_rows(source: Path, target: Path, names: set[str], column: int = 0) -> None:
    """Copies the head and the named rows of a CSV file."""
    lines = source.read_text(encoding="utf-8-sig").splitlines()
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = [lines[0], *(line for line in lines[1:] if line.split(",")[column].strip() in names)]
    target.write_text("\n".join(kept) + "\n", encoding="utf-8")


IDRID = {
    "a. Training Set": ("001", "002", "004", "013", "028", "045", "073", "079", "118", "279", "327", "333", "375",
    "397"),
    "b. Testing Set": ("001", "004", "007", "064"),
}  # fmt: skip


@pytest.fixture(scope="module")
def idrid(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The IDRiD photographs that are known to be copies of one another, and a few more."""
    source = real_data / "idrid" / "B. Disease Grading"
    root = tmp_path_factory.mktemp("idrid") / "B. Disease Grading"
    for table in (source / "2. Groundtruths").glob("*.csv"):
        part = "a. Training Set" if table.name.startswith("a.") else "b. Testing Set"
        names = {f"IDRiD_{number}" for number in IDRID[part]}
        copy_rows(table, root / "2. Groundtruths" / table.name, names)
        for name in names:
            photo = Path("1. Original Images", part, f"{name}.jpg")
            (root / photo).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / photo, root / photo)
    return make("idrid", root.parent, root.parent.parent / "idrid_records")


def test_idrid_official_test_is_kept_and_its_copy_in_training_is_not(idrid: Path):
    found = splits(idrid)
    assert {name for name, (split, _) in found.items() if split == "test"} == {
        f"test/IDRiD_{number}" for number in IDRID["b. Testing Set"]
    }
    reasons = rejected(idrid)
    assert reasons["IDRiD_118.jpg"] == "exact duplicate of test/IDRiD_064 of the official test split (dr_grade 0 and 3)"


def test_idrid_copies_with_contradicting_grades_are_set_aside_and_others_kept_once(idrid: Path):
    reasons = rejected(idrid)
    for pair, conflict in (
        (("028", "327"), "dr_grade 3 and 4"),
        (("045", "333"), "macular_oedema_risk 0 and 1"),
    ):
        for number in pair:
            assert "with conflicting labels" in reasons[f"IDRiD_{number}.jpg"]
            assert conflict in reasons[f"IDRiD_{number}.jpg"]
    assert reasons["IDRiD_375.jpg"] == "exact duplicate of train/IDRiD_073"
    assert reasons["IDRiD_279.jpg"] == "exact duplicate of train/IDRiD_079"
    for number in ("013", "397"):  # near-copies, graded 3 and 2
        assert reasons[f"IDRiD_{number}.jpg"].startswith("near-duplicate of train/IDRiD_")
    assert "IDRiD_001.jpg" not in reasons and "IDRiD_004.jpg" not in reasons


def test_full_size_photograph_keeps_its_true_size(idrid: Path):
    example = examples(idrid)["test/IDRiD_007"]
    assert example.numbers("image/source_size") == (2848, 4288)
    top, left, bottom, right = example.numbers("image/crop_box")
    assert 3300 < right - left < 3700 and bottom - top == pytest.approx(right - left, rel=0.02)


@pytest.mark.slow
def test_aptos_duplicates_are_those_that_are_listed(real_data: Path, tmp_path: Path):
    with open(real_data / "aptos_duplicates.csv", newline="", encoding="utf-8") as file:
        groups = defaultdict(list)
        for row in csv.DictReader(file):
            groups[row["group"]].append(row)
    out = make("aptos", real_data / "aptos", tmp_path / "records")
    taken, reasons = splits(out), rejected(out)
    for members in groups.values():
        names = [row["id_code"] for row in members]
        kept = [name for name in names if name in taken]
        if members[0]["conflict"] == "1":
            assert kept == [] and all("conflicting labels" in reasons[f"{name}.png"] for name in names)
        else:
            near = any("near-duplicate" in reasons.get(f"{name}.png", "") for name in names)
            assert len(kept) == 1 or (kept == [] and near)
    for pair in (("3435fd8675a2", "c62585bd68fb"), ("8688f3d0fcaf", "bfefa7344e7d")):
        stand = {taken.get(name, ("aside",))[0] for name in pair}
        assert len(stand) == 1, "near-copies stand on one side, or both are set aside"
    assert len(taken) + len(reasons) == 240
    assert len(reasons) <= 29 + 6 + 4, "nothing but the copies"


@pytest.mark.slow
def test_eyepacs_both_eyes_stand_together_and_grades_are_balanced(real_data: Path, tmp_path: Path):
    out = make("eyepacs", real_data / "eyepacs", tmp_path / "records", limit=240, image_size=96)
    found = splits(out)
    sides = defaultdict(set)
    for split, patient in found.values():
        sides[patient].add(split)
    assert all(len(split) == 1 for split in sides.values())
    with open(real_data / "eyepacs" / "trainLabels.csv", newline="", encoding="utf-8") as file:
        grades = {row["image"]: int(row["level"]) for row in csv.DictReader(file)}
    for name, example in examples(out).items():
        assert example.label("dr_grade") == grades[name]
        assert example.text("eye/laterality") == name.rpartition("_")[2]
    assert len(rejected(out)) - sum("no row" in reason for reason in rejected(out).values()) <= 5


def test_drishti_masks_and_centres_through_the_crop(real_data: Path, tmp_path: Path):
    out = make("drishti", real_data / "drishti", tmp_path / "records", limit=16, image_size=256)
    for name, example in examples(out).items():
        folder = next((real_data / "drishti").glob(f"*/GT/{name}"))
        top, left, bottom, right = example.numbers("image/crop_box")
        scale = np.array([right - left, bottom - top]) / 256
        for structure, suffix in (("optic_disc", "ODsegSoftmap"), ("optic_cup", "cupsegSoftmap")):
            soft = cv2.imread(str(folder / "SoftMap" / f"{name}_{suffix}.png"), cv2.IMREAD_GRAYSCALE)
            truth, mask = soft >= 128, example.mask(structure)
            ys, xs = np.nonzero(mask)
            back = (np.array([xs.mean(), ys.mean()]) + 0.5) * scale + (left, top) - 0.5
            ys, xs = np.nonzero(truth)
            np.testing.assert_allclose(back, [xs.mean(), ys.mean()], atol=0.5 * scale.max())
            assert mask.sum() * scale.prod() == pytest.approx(truth.sum(), rel=0.03)
        x, y = (int(value) for value in example.numbers("centre/optic_disc"))
        assert example.mask("optic_disc")[y, x]


def test_eye4class_copies_across_classes_are_set_aside(real_data: Path, tmp_path: Path):
    root = tmp_path / "data"
    source = real_data / "eye4class" / "dataset"
    names = ("625_left.jpg", "1415_right.jpg")
    for folder in ("cataract", "glaucoma", "normal"):
        chosen = [path for path in sorted((source / folder).iterdir())[:6] if path.name not in names]
        for path in [*chosen, *(source / folder / name for name in names if folder != "normal")]:
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / folder / path.name)
    out = make("folder", root, tmp_path / "records", val_fraction=0.2, test_fraction=0.2)
    with open(out / "rejected.csv", newline="", encoding="utf-8") as file:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    for name in names:
        for folder in ("cataract", "glaucoma"):
            assert "with conflicting labels (class 0 and 1)" in reasons[f"{folder}/{name}"]
    assert read_manifest(out, "dataset")["labels"] == {"class": ["cataract", "glaucoma", "normal"]}


ODD_REJECTED = (
    "oct_1.jpg", "oct_4.jpg", "black_1.jpeg", "vessel_mask.png", "not_fundus_flower.jpg", "not_fundus_building.jpg",
    "truncated.jpeg", "truncated.dcm", "empty.jpeg",
)  # fmt: skip
ODD_TAKEN = (
    "hrf_wide.jpg", "drive_565x584.png", "pathologic_myopia.png", "filmstrip_1.png", "sample_dark.png", "cmyk.jpg",
    "exif_orientation6.jpg", "jpeg_named.png", "generated_diabetic.png", "generated_normal.png",
)  # fmt: skip


def test_odd_files_are_taken_or_rejected_with_a_reason(real_data: Path, tmp_path: Path):
    rows = ["file,label", *(f"{name},{index % 2}" for index, name in enumerate((*ODD_REJECTED, *ODD_TAKEN)))]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    table = {"csv": str(tmp_path / "t.csv"), "image_column": "file", "label_columns": ["label"]}
    out = make("csv", real_data / "odd", tmp_path / "records", table=table)
    reasons = rejected(out)
    assert set(ODD_REJECTED) <= set(reasons) and all(reasons.values())
    # exif_orientation6, cmyk and jpeg_named are one photograph: copies to the eye, whose labels differ here
    aside = {name for name, reason in reasons.items() if "duplicate" in reason}
    unnamed = {path.name for path in (real_data / "odd").iterdir()} - {*ODD_REJECTED, *ODD_TAKEN}
    assert {name for name, reason in reasons.items() if reason == "no row in t.csv names it"} == unnamed - {"README.md"}
    assert set(reasons) - aside - unnamed == set(ODD_REJECTED)
    assert aside <= {"cmyk.jpg", "exif_orientation6.jpg", "jpeg_named.png"}
