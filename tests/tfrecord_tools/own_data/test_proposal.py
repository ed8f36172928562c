"""A table without flags, or with wrong ones, is answered by what it holds and the command that is probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrecord_tools.items import DatasetError


def test_all_missing_flags_at_once_with_a_ready_command(tmp_path: Path, listed):
    text = "id_code,DR grade,patient id,eye,set\na,0,p1,OD,train\nb,2,p1,OS,test\n"
    with pytest.raises(DatasetError) as caught:
        listed(tmp_path, text, csv=None, image_column=None, label_columns=[])
    message = str(caught.value)
    assert "needs --csv=FILE, --image_column=NAME, --label_columns or --mask_columns" in message
    assert "  DR grade: 0 (1), 2 (1)" in message
    assert message.endswith(
        f'--data_dir={tmp_path} --csv=t.csv --image_column=id_code --label_columns="dr_grade=DR grade"'
        f' --patient_column="patient id" --split_column=set --laterality_column=eye --out={tmp_path}/records'
    )


def test_columns_that_are_not_there_are_named_together(tmp_path: Path, listed):
    with pytest.raises(
        DatasetError,
        match=r"no column for --image_column=photo, --patient_column=who, --label_columns grade; it has image, level",
    ):
        listed(tmp_path, "image,level\na.png,1\n", image_column="photo", patient_column="who", label_columns=["grade"])


def test_numbers_of_photographs_are_guessed_where_the_column_says_so(tmp_path: Path, listed):
    with pytest.raises(DatasetError, match='--image_column="Photo No" --label_columns=glaucoma'):
        listed(tmp_path, "Photo No,glaucoma\n1,0\n2,1\n", ("001.png", "002.png"), image_column=None, label_columns=[])


@pytest.mark.parametrize(
    ("head", "flags"),
    [
        ("image,patient,eye,dr_grade", "--image_column=image --label_columns=dr_grade --patient_column=patient"),
        (
            "Bildnummer,Patienten-ID,Auge,DR Stadium",
            '--image_column=Bildnummer --label_columns="dr_grade=DR Stadium" --patient_column=Patienten-ID',
        ),
        ("image,NHS no,side,level", '--image_column=image --label_columns=dr_grade=level --patient_column="NHS no"'),
    ],
)
def test_patients_that_look_like_files_are_proposed_as_patients(tmp_path: Path, head: str, flags: str, listed):
    """Patients 001, 002 fit 00001.jpg, 00002.jpg, and the column was proposed for nothing."""
    rows = "".join(
        f"{number:05d},{number // 2:03d},{'RA' if number % 2 else 'LA'},{number % 4}\n" for number in range(1, 9)
    )
    names = tuple(f"{number:05d}.jpg" for number in range(1, 9))
    with pytest.raises(DatasetError) as caught:
        listed(tmp_path, f"{head}\n{rows}", names, image_column=None, label_columns=[])
    assert f"{flags} --laterality_column=" in str(caught.value)
    image, patient, _, level = head.split(",")
    listing = listed(tmp_path, f"{head}\n{rows}", names, image_column=image, label_columns=[level])
    assert any(f"The column {patient} was not used: 3 of its 5 values" in note for note in listing.notes)
    told = listed(tmp_path, f"{head}\n{rows}", names, image_column=image, label_columns=[level], patient_column=patient)
    assert not any("was not used" in note for note in told.notes) and len({item.patient for item in told.items}) == 5


def test_a_patient_who_stands_in_two_tables_is_said(tmp_path: Path, listed):
    for name, rows in (("train.csv", "a.png,0,p1\nb.png,1,p2\n"), ("test.csv", "c.png,0,p1\nd.png,1,p3\n")):
        (tmp_path / name).write_text(f"image,level,patient\n{rows}", encoding="utf-8")
    notes = listed(tmp_path, None, ("a.png", "b.png", "c.png", "d.png"), csv="train.csv,test.csv").notes
    assert any("The column patient was not used: 1 of its 3 values" in note for note in notes), notes


def test_a_photograph_called_by_its_patient_stays_the_photograph(tmp_path: Path, listed):
    with pytest.raises(DatasetError, match="--image_column=patient --label_columns=glaucoma --out"):
        listed(
            tmp_path, "patient,glaucoma\n001,0\n002,1\n", ("001.png", "002.png"), image_column=None, label_columns=[]
        )


def test_a_row_of_two_eyes_is_asked_for_as_two_rows(tmp_path: Path, listed):
    """The photograph of the other eye was proposed as a mask."""
    text = "Patient,OD Bild,OS Bild,OD DR,OS DR\n1,a.png,b.png,0,2\n"
    with pytest.raises(
        DatasetError,
        match="The columns OD Bild, OS Bild each name a photograph. Write a table with one photograph a row",
    ) as caught:
        listed(tmp_path, text, image_column=None, label_columns=[])
    assert "mask_columns=" not in str(caught.value)
    masks = "image,disc mask,cup mask\na.png,m.png,n.png\n"
    with pytest.raises(DatasetError, match='--mask_columns="optic_disc=disc mask,optic_cup=cup mask"'):
        listed(tmp_path, masks, ("a.png", "m.png", "n.png"), image_column=None, label_columns=[])


def test_a_table_that_is_not_there(tmp_path: Path, listed):
    listed(tmp_path, "image,level\na.png,0\nb.png,1\n")
    with pytest.raises(DatasetError, match=r"--csv=u.csv: .*u.csv is no file. Tables in .*: t.csv"):
        listed(tmp_path, csv="u.csv")


def test_every_yes_or_no_of_a_table_is_proposed(tmp_path: Path, listed):
    """Of a table with a column per disease, as ODIR's, only the first was proposed."""
    head = "image,Age,Sex,N,D,G,Glaukom,gradable,Camera,Raucher\n"
    rows = "a.png,61,F,0,1,0,ja,0,Topcon,1\nb.png,55,M,1,0,1,nein,1,Canon,0\n"
    with pytest.raises(DatasetError, match="--image_column=image --label_columns=N,D,G,Glaukom --out="):
        listed(tmp_path, head + rows, image_column=None, label_columns=[])


@pytest.mark.parametrize(
    ("columns", "proposed"),
    [
        ("DR Arzt 1,DR Arzt 2", '"dr_grade=DR Arzt 1"'),
        ("DR grade (reader A),note", '"dr_grade=DR grade (reader A)"'),
        ("DR_1,consensus DR", '"dr_grade=consensus DR"'),
        ("level_initial,level_final", "dr_grade=level_final"),
    ],
)
def test_the_grade_of_one_of_several_graders_is_proposed_as_grade(tmp_path: Path, listed, columns: str, proposed: str):
    with pytest.raises(DatasetError) as caught:
        listed(tmp_path, f"image,{columns}\na.png,2,3\nb.png,0,0\n", image_column=None, label_columns=[])
    assert f"--label_columns={proposed} --out=" in str(caught.value)
