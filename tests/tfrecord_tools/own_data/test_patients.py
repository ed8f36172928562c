"""The eyes of one patient stay together whatever a patient column writes, and strangers apart."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_patients_of_tables(tmp_path: Path, listed):
    names = ("1_left.png", "1_right.png", "2_OD.png")
    rows = "".join(f"{name},{index % 2},{index}\n" for index, name in enumerate(names))
    listing = listed(tmp_path, "image,level,n\n" + rows, names)
    assert [item.patient for item in listing.items] == ["1", "1", "2"] and [
        item.laterality for item in listing.items
    ] == ["left", "right", "right"]
    assert "told by name" in listing.patients
    listing = listed(
        tmp_path, "image,level,who\n1_left.png,0,P7\n1_right.png,1,p7\n2_OD.png,1,\n", names, patient_column="who"
    )
    assert [item.patient for item in listing.items] == ["P7", "P7", "2"]
    listing = listed(
        tmp_path, "image,level,who\n1_left.png,0,7.0\n1_right.png,1,7\n2_OD.png,1,8\n", names, patient_column="who"
    )
    assert [item.patient for item in listing.items] == ["7", "7", "8"]
    listing = listed(tmp_path, "image,level,n\n" + rows, names, patient_column="image")
    assert [item.patient for item in listing.items] == ["1", "1", "2"]
    assert "splits are by photograph" in listed(tmp_path, "image,level\na.png,0\nb.png,1\n").patients


PAIRS = (
    "1_L|1_R|2_L|2_R",
    "1001-OD|1001-OS|2-OD|2-OS",
    "7_left|007_right|8 left|8 right",
    "007|7|08|8",
    "P 1|p-1|P02|p2",
    "A/1/OD|A/1/OS|B/1/OD|B/1/OS",
)


@pytest.mark.parametrize("cells", PAIRS)
def test_a_patient_column_does_not_part_the_eyes_of_a_patient(tmp_path: Path, cells: str, listed):
    names = ("a.png", "b.png", "c.png", "d.png")
    rows = "".join(
        f"{name},{index % 2},{cell}\n" for index, (name, cell) in enumerate(zip(names, cells.split("|"), strict=True))
    )
    one, other, third, fourth = (
        item.patient for item in listed(tmp_path, "image,level,who\n" + rows, names, patient_column="who").items
    )
    assert one == other != third == fourth


def test_a_patient_column_keeps_strangers_apart(tmp_path: Path, listed):
    names = tuple(f"{letter}.png" for letter in "abcdef")
    cells = ("1-1", "11", "site 1", "site 11", "L-1", "R 2")
    rows = "".join(f"{name},{index % 2},{cell}\n" for index, (name, cell) in enumerate(zip(names, cells, strict=True)))
    listing = listed(tmp_path, "image,level,who\n" + rows, names, patient_column="who")
    assert [item.patient for item in listing.items] == list(cells) and not listing.notes


def test_unknown_is_no_patient_and_a_number_of_the_photograph_is_said(tmp_path: Path, listed):
    names = ("1_left.png", "1_right.png", "x.png", "y.png")
    listing = listed(
        tmp_path,
        "image,level,who\n1_left.png,0,P1\n1_right.png,1,P1\nx.png,0,unknown\ny.png,1,unknown\n",
        names,
        patient_column="who",
    )
    assert [item.patient for item in listing.items] == ["P1", "P1", "x.png", "y.png"]
    assert any("2 cells such as 'unknown' were taken as empty" in note for note in listing.notes)
    listing = listed(
        tmp_path,
        "image,level,who\n1_left.png,0,1\n1_right.png,1,2\nx.png,0,3\ny.png,1,4\n",
        names,
        patient_column="who",
    )
    assert any("1_left.png and 1_right.png look like eyes of one patient" in note for note in listing.notes)
