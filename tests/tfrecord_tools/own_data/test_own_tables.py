"""Labels, splits and sides of own tables as the data set of --dataset=csv takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.items import DatasetError


def test_a_label_by_another_name(tmp_path: Path, listed, labels):
    listing = listed(tmp_path, "image,DR grade\na.png,2\nb.png,0\n", label_columns=["dr_grade=DR grade"])
    assert listing.labels == {"dr_grade": GRADE_NAMES} and labels(listing, "dr_grade")["a.png"] == "moderate NPDR"
    listing = listed(tmp_path, "image,a=b\na.png,2\nb.png,0\n", label_columns=["a=b"])
    assert list(listing.labels) == ["a=b"]


def test_one_label_of_two_columns_is_refused(tmp_path: Path, listed):
    text = "image,g1,g2\na.png,0,1\nb.png,1,0\n"
    with pytest.raises(DatasetError, match="dr is given two columns, g1 and g2"):
        listed(tmp_path, text, label_columns=["dr=g1", "dr=g2"])
    with pytest.raises(DatasetError, match="optic_disc is given two columns"):
        listed(tmp_path, text, label_columns=[], mask_columns=["optic_disc=g1", "optic_disc=g2"])


def test_it_is_said_that_referable_dr_needs_dr_grade(tmp_path: Path, listed):
    for text in ("image,level\na.png,2\nb.png,0\n", "image,level\na.png,PDR\nb.png,No DR\n"):
        notes = listed(tmp_path, text).notes
        assert any('--label_columns="dr_grade=level"' in note for note in notes), notes
    assert not any(
        "dr_grade" in note
        for note in listed(tmp_path, "image,glaucoma\na.png,1\nb.png,0\n", label_columns=["glaucoma"]).notes
    )


def test_splits_and_sides_in_other_words(tmp_path: Path, listed):
    text = "image,level,part,eye\na.png,0,Training,OD\nb.png,1,valid,L\n"
    listing = listed(tmp_path, text, split_column="part", laterality_column="eye")
    assert [(item.split, item.laterality) for item in listing.items] == [("train", "right"), ("val", "left")]
    with pytest.raises(DatasetError, match="unknown eye 'both'. Known: left"):
        listed(tmp_path, text.replace(",L", ",both"), split_column="part", laterality_column="eye")


def test_several_tables_are_splits_where_their_names_say_so(tmp_path: Path, listed):
    (tmp_path / "train_1.csv").write_text("image,level\na,0\nb,1\n", encoding="utf-8")
    (tmp_path / "valid.csv").write_text("image,level\nc,0\nd,1\n", encoding="utf-8")
    names = (
        "train_images/train_images/a.png",
        "train_images/train_images/b.png",
        "val_images/c.png",
        "val_images/d.png",
    )
    listing = listed(tmp_path, None, names, csv="train_1.csv,valid.csv")
    assert {item.image_id: item.split for item in listing.items} == {"a": "train", "b": "train", "c": "val", "d": "val"}
    assert any("train_1.csv = train, valid.csv = val" in note for note in listing.notes)


def test_two_tables_of_one_name_keep_their_own_masks(tmp_path: Path, listed):
    """Rows were known by the table's name and their number: the masks of the second were given to the first, too."""
    for site in ("a", "b"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "t.csv").write_text(f"image,mask\n{site}/1.png,{site}/m1.png\n", encoding="utf-8")
    names = ("a/1.png", "a/m1.png", "b/1.png", "b/m1.png")
    listing = listed(tmp_path, None, names, csv="a/t.csv,b/t.csv", label_columns=[], mask_columns=["optic_disc=mask"])
    masks = {item.path: item.masks["optic_disc"].paths for item in listing.items}
    assert masks == {"a/1.png": ("a/m1.png",), "b/1.png": ("b/m1.png",)}


@pytest.mark.parametrize(
    ("names", "message"),
    [(("No DR", "no dr"), "'No DR' .* and 'no dr'"), (("0", "999"), "1000 classes"), (("1", "NA"), "A missing label")],
)
def test_label_sets_of_columns(tmp_path: Path, names: tuple[str, str], message: str, listed):
    with pytest.raises(DatasetError, match=message):
        listed(tmp_path, f"image,level\na.png,{names[0]}\nb.png,{names[1]}\n")


def test_a_cross_for_yes_leaves_no_without_a_word(tmp_path: Path, listed):
    notes = listed(tmp_path, "image,glaucoma\na.png,x\nb.png,\n", label_columns=["glaucoma"]).notes
    assert any(
        "nothing to tell apart. An empty cell is a label that nobody knows; where it means no, write no." in note
        for note in notes
    )
    notes = listed(tmp_path, "image,glaucoma\na.png,x\nb.png,x\n", label_columns=["glaucoma"]).notes
    assert any(note.endswith("nothing to tell apart.") for note in notes)


def test_yes_as_1_and_no_as_2_is_not_told_to_count_from_0_blindly(tmp_path: Path, listed):
    """Who took 1 from each, as the note said, had no as 1, the disease."""
    notes = listed(tmp_path, "image,glaucoma\na.png,1\nb.png,2\n", label_columns=["glaucoma"]).notes
    assert any(
        "write the classes as names ('yes', 'no'), or number them from 0, the one without the disease" in note
        for note in notes
    )


def test_a_sum_below_the_table_has_no_say_in_the_classes(tmp_path: Path, listed):
    """`Total,3` made a fourth class, which no photograph has."""
    listing = listed(tmp_path, "image,level\na.png,0\nb.png,1\nTotal,3\n")
    assert listing.labels == {"level": ("0", "1")} and [name for name, _ in listing.rejected] == ["Total"]
    listing = listed(tmp_path, "image,level\na.png,no\nb.png,yes\nTotal,1\n")
    assert listing.labels == {"level": ("no", "yes")}


def test_splits_in_german(tmp_path: Path, listed):
    text = "image,level,Teil\na.png,0,Trainingsdaten\nb.png,1,Validierung\n"
    assert [item.split for item in listed(tmp_path, text, split_column="Teil").items] == ["train", "val"]


def test_two_splits_that_number_their_photographs_alike(tmp_path: Path, listed):
    """IDRiD's own tables: 001 is one photograph of the training set and another of the test set."""
    for name, text in (
        ("a. IDRiD_Disease Grading_Training Labels.csv", "001,0\n002,1\n"),
        ("b. IDRiD_Disease Grading_Testing Labels.csv", "001,1\n"),
    ):
        (tmp_path / name).write_text("image,level\n" + text, encoding="utf-8")
    names = ("a. Training Set/001.jpg", "a. Training Set/002.jpg", "b. Testing Set/001.jpg")
    tables = "a. IDRiD_Disease Grading_Training Labels.csv,b. IDRiD_Disease Grading_Testing Labels.csv"
    listing = listed(tmp_path, None, names, csv=tables)
    assert [(item.path, item.split, item.labels["level"]) for item in listing.items] == [
        (names[0], "train", 0), (names[1], "train", 1), (names[2], "test", 1)
    ]  # fmt: skip
    assert any(
        "3 names are not paths as they stand; each fits one file only in the folders of its table's split" in note
        for note in listing.notes
    )
    with pytest.raises(DatasetError, match="'001' could be"):
        listed(tmp_path, None, names, csv="a. IDRiD_Disease Grading_Training Labels.csv")
