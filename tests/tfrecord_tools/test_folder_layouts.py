"""Folders of photographs as people keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.items import DatasetError, Listing, Request
from tfrecord_tools.own_data.split_names import split_of


def laid_out(root: Path, *names: str) -> Listing:
    """Lists a folder of empty files of these names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return list_dataset("folder", Request(root))


def classes_of(listing: Listing) -> dict[str, str]:
    return {item.image_id: listing.labels["class"][item.labels["class"]] for item in listing.items}


def test_spellings_of_one_class_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"'Healthy' \(1 photograph\) and 'healthy' \(2 photographs\)"):
        laid_out(tmp_path, "healthy/1.png", "healthy/2.png", "Healthy/3.png", "sick/4.png")


def test_spellings_are_refused_over_splits(tmp_path: Path):
    with pytest.raises(DatasetError, match="'No DR' .* and 'no_dr'"):
        laid_out(tmp_path, "train/No DR/1.png", "train/DR/2.png", "test/no_dr/3.png", "test/DR/4.png")


def test_what_holds_no_photograph_is_no_class_and_is_named(tmp_path: Path):
    listing = laid_out(
        tmp_path, "healthy/1.png", "sick/2.png", "__MACOSX/healthy/._1.png", "__MACOSX/x/3.png", "papers/notes.pdf",
        "healthy/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    )  # fmt: skip
    assert listing.labels["class"] == ("healthy", "sick") and len(listing.items) == 2
    reasons = dict(listing.rejected)
    assert "not a class" in reasons["__MACOSX"] and "no photograph" in reasons["papers"]


def test_one_more_folder_around_the_classes(tmp_path: Path):
    listing = laid_out(tmp_path, "colored/colored/healthy/1.png", "colored/colored/sick/2.png", "readme.txt")
    assert classes_of(listing) == {"colored/colored/healthy/1.png": "healthy", "colored/colored/sick/2.png": "sick"}
    assert any("colored/colored" in note for note in listing.notes)


def test_splits_on_top_or_below(tmp_path: Path):
    above = laid_out(
        tmp_path / "a", "Training Set/x/1.png", "Training Set/y/2.png", "testing/x/3.png", "testing/y/4.png"
    )
    assert sorted({item.split for item in above.items}) == ["test", "train"]
    below = laid_out(tmp_path / "b", "x/train/1.png", "x/test/2.png", "y/train/1.png", "y/test/2.png")
    assert {item.image_id: item.split for item in below.items}["x/test/2.png"] == "test"
    assert set(classes_of(below).values()) == {"x", "y"}
    with pytest.raises(DatasetError, match="but not y/2.png"):
        laid_out(tmp_path / "c", "x/train/1.png", "x/test/2.png", "y/train/1.png", "y/2.png")


def test_split_names():
    names = {
        "train": "train", "Training Set": "train", "a. Training Set": "train", "train_images": "train",
        "train_1": "train", "valid": "val", "Validation": "val", "val_images": "val", "testing": "test",
        "test": "test", "trained": None, "testis": None, "healthy": None,
    }  # fmt: skip
    assert {name: split_of(name) for name in names} == names


def test_classes_one_level_deeper_are_asked_for(tmp_path: Path):
    names = [
        f"{place}/{name}/{number}.png"
        for place in ("north", "south")
        for name in ("healthy", "sick")
        for number in range(3)
    ]
    with pytest.raises(DatasetError, match="north, south all hold folders of the same names"):
        laid_out(tmp_path, *names)


def test_patients_and_sides_below_a_class_are_no_classes(tmp_path: Path):
    patients = laid_out(
        tmp_path / "a",
        *(f"{name}/p{n}/{s}.png" for n in range(12) for name, s in (("healthy", "left"), ("sick", "right"))),
    )
    assert len({item.patient for item in patients.items}) == 12
    sides = laid_out(
        tmp_path / "b",
        *(f"{name}/{s}/{n}.png" for n in range(4) for name in ("healthy", "sick") for s in ("left", "right")),
    )
    assert {item.laterality for item in sides.items} == {"left", "right"} and sides.labels["class"] == (
        "healthy",
        "sick",
    )


def test_named_sub_folders_of_a_class_are_said(tmp_path: Path):
    listing = laid_out(
        tmp_path, *(f"npdr/{name}/{n}.png" for n in range(3) for name in ("mild", "severe")), "healthy/1.png"
    )
    assert any("mild (3), severe (3)" in note for note in listing.notes)


def test_folders_of_grades_give_dr_grade(tmp_path: Path):
    names = ("Mild", "Moderate", "No_DR", "Proliferate_DR", "Severe")
    listing = laid_out(tmp_path, *(f"colored_images/{name}/{name}.png" for name in names))
    assert listing.labels["dr_grade"] == GRADE_NAMES
    grades = {item.image_id.split("/")[1]: item.labels["dr_grade"] for item in listing.items}
    assert grades == {"No_DR": 0, "Mild": 1, "Moderate": 2, "Severe": 3, "Proliferate_DR": 4}


def test_patients_are_said(tmp_path: Path):
    assert "such as 1" in laid_out(tmp_path / "a", "x/1_left.png", "y/1_right.png", "y/2_OD.png").patients
    assert "Patients are not known" in laid_out(tmp_path / "b", "x/1.png", "y/2.png").patients


def test_few_patients_seen_in_both_classes(tmp_path: Path):
    names = [f"{name}/M\u00fcller {n}/{eye}.jpg" for n in range(5) for name, eye in (("healthy", "OD"), ("sick", "OS"))]
    listing = laid_out(tmp_path, *names)
    assert len({item.patient for item in listing.items}) == 5 and listing.labels["class"] == ("healthy", "sick")


def test_folders_called_by_numbers(tmp_path: Path):
    listing = laid_out(tmp_path / "a", "0/a.png", "1/b.png", "3/c.png")
    assert any("and 2 is not among them" in note for note in listing.notes) and any(
        "0: no DR, 1: mild NPDR, 3: severe NPDR" in note for note in listing.notes
    )
    with pytest.raises(DatasetError, match="1000 classes"):
        laid_out(tmp_path / "b", "0/a.png", "1/b.png", "999/c.png")
    with pytest.raises(DatasetError, match="one number in two forms: 0, 01, 1"):
        laid_out(tmp_path / "c", "0/a.png", "1/b.png", "01/c.png")


@pytest.mark.parametrize(
    "name",
    [
        "augmented",
        "Originals",
        "thumbs",
        "New folder",
        "images",
        "labels",
        "backup",
        "sick - Copy",
        "sick (2)",
        "healthy_copy",
        "Sick Kopie",
    ],
)
def test_folders_that_are_no_class_are_no_disease(tmp_path: Path, name: str):
    with pytest.raises(DatasetError, match="called as no class is|looks like a copy of the class"):
        laid_out(tmp_path, "healthy/1.png", "sick/2.png", f"{name}/3.png")


@pytest.mark.parametrize(
    "name", ["sick (late)", "sick 2", "old scar", "new vessels", "copy number variation", "raw_dr"]
)
def test_other_folders_are_classes(tmp_path: Path, name: str):
    assert name in laid_out(tmp_path, "healthy/1.png", "sick/2.png", f"{name}/3.png").labels["class"]
