"""Tables as people have them: encodings, separators, quotes, cells left out, sheets, names that are no paths, flags left out."""

from __future__ import annotations

import datetime
from pathlib import Path

import openpyxl
import pytest

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.items import DatasetError, Listing, Request
from tfrecord_tools.tables import read_own_table

FLAGS = {"csv": "t.csv", "image_column": "image", "label_columns": ["level"]}


def listed(root: Path, table: str | bytes | None = None, names: tuple[str, ...] = ("a.png", "b.png"), **flags) -> Listing:
    """Lists empty photographs of these names by a table."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if table is not None:
        (root / "t.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    return list_dataset("csv", Request(root, table={**FLAGS, **flags}, out=root / "records"))


def labels(listing: Listing, name: str = "level") -> dict[str, str | None]:
    return {item.image_id: listing.labels[name][item.labels[name]] if item.labels[name] >= 0 else None for item in listing.items}


HEAD = "image,note,level\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfimage,level\r\na.png,1\r\nb.png,0\r\n\r\n,,\r\n",
        "image,level\na.png,1\nb.png,0\n".encode("utf-16"),
        "image,level\na.png,1\nb.png,0\n".encode("utf-16-le"),
        b"image;level\ra.png;1\rb.png;0",
        b"image\tlevel\na.png\t1.0\nb.png\t0.0\n",
        b"sep=;\r\nimage;level\r\na.png;1,0\r\nb.png;0,0\r\n",
        b" image , Level \n a.png , 01 \n b.png , 0 \n",
        b'image,note,level\na.png,"one\ntwo, three",1\nb.png,x,0\n',
        b'image,note,level\na.png,5" lens,1\nb.png,x,0\n',
        b"image,note,level\na.png,one\xc2\x85two,1\nb.png,x\xe2\x80\xa8y,0\n",
        b"image,note,level\na.png,unclear\x85 see again,1\nb.png,\x81,0\n",
        b"\n\nimage,level,,,\na.png,1,,,\nb.png,0,,,\n",
        b"Screening list 2026,,\n,,\nimage,level,\na.png,1,\nb.png,0,\n",
        b",image,level\n0,a.png,1\n1,b.png,0\n",
    ],
)
def test_one_table_in_many_exports(tmp_path: Path, data: bytes):
    assert labels(listed(tmp_path, data)) == {"a.png": "1", "b.png": "0"}


def test_cells_left_out_are_missing_and_said(tmp_path: Path):
    listing = listed(tmp_path, "image,level,glaucoma\na.png,1\nb.png,0,1\n", label_columns=["level", "glaucoma"])
    assert labels(listing, "glaucoma") == {"a.png": None, "b.png": "1"}
    assert any("1 rows end before the last column (the first is row 2)" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "a.png,one, two,1\n", "row 2 has 4 cells, the head 3: '1' is too many"),
        (HEAD + 'a.png,"one,1\nb.png,x,0\n', "quotation mark is missing or too many"),
        (HEAD + 'a.png,"one,1\nb.png,x,0\nc.png,y",0\n', "swallows the rows after it"),
        ("image,level,Level\na.png,1,2\n", "column name twice"),
        ("image,level\n", "holds no rows"),
        (b"\x00\x01\x02", "is no table"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(tmp_path: Path, text: str | bytes, message: str):
    with pytest.raises(DatasetError, match=message):
        listed(tmp_path, text)


def workbook(path: Path, **sheets: list[list]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_spreadsheets(tmp_path: Path):
    rows = [["image", "level", "seen"], [1, 1.0, datetime.datetime(2026, 1, 2)], ["b.png", 0, None]]
    workbook(tmp_path / "t.xlsx", Notes=[["x"], ["y"]], Grades=rows, Empty=[])
    listing = listed(tmp_path, names=("001.png", "b.png"), csv="t.xlsx")
    assert labels(listing) == {"1": "1", "b.png": "0"} and listing.items[0].path == "001.png"
    assert any("sheet 'Grades' was read; not Notes, Empty" in note for note in listing.notes)
    assert read_own_table(tmp_path / "t.xlsx", ["image"]).rows[0][1]["seen"] == "2026-01-02"
    workbook(tmp_path / "two.xlsx", A=rows, B=rows)
    with pytest.raises(DatasetError, match="several sheets with these columns: A, B"):
        listed(tmp_path, csv="two.xlsx")
    (tmp_path / "wrong.csv").write_bytes((tmp_path / "t.xlsx").read_bytes())
    assert len(listed(tmp_path, names=("001.png", "b.png"), csv="wrong.csv").items) == 2


def test_a_patient_merged_over_two_rows(tmp_path: Path):
    path = workbook(tmp_path / "t.xlsx", A=[["image", "level", "patient"], ["a.png", 0, "p"], ["b.png", 1, None], ["c.png", 1, "q"]])
    book = openpyxl.load_workbook(path)
    book["A"].merge_cells("C2:C3")
    book.save(path)
    listing = listed(tmp_path, names=("a.png", "b.png", "c.png"), csv="t.xlsx", patient_column="patient")
    assert [item.patient for item in listing.items] == ["p", "p", "q"]


@pytest.mark.parametrize(
    ("name", "files", "found"),
    [
        ("a", ("a.png",), "a.png"),
        ("A.PNG", ("a.png",), "a.png"),
        ("a", ("deep/er/a.jpeg",), "deep/er/a.jpeg"),
        ("a.tif", ("x/a.png",), "x/a.png"),
        ("C:\\Users\\eye\\x\\a.png", ("x/a.png", "y/a.png"), "x/a.png"),
        ("/home/else/photos/a.png", ("photos/a.png",), "photos/a.png"),
        ("x\\a.png", ("x/a.png",), "x/a.png"),
        ("7", ("007.png",), "007.png"),
        ("a", ("a.png", "masks/a.png"), "a.png"),
        ("a.jpg", ("x/a.jpg", "y/a.png"), "x/a.jpg"),
        ("u\u0308.png", ("\u00fc.png",), "\u00fc.png"),
        ("\u00fc.png", ("u\u0308.png",), "u\u0308.png"),
        ("a.v2", ("a.v2.png",), "a.v2.png"),
    ],
)
def test_names_that_are_no_paths(tmp_path: Path, name: str, files: tuple[str, ...], found: str):
    listing = listed(tmp_path, f"image,level\n{name},1\nz.png,0\n", (*files, "z.png"))
    assert listing.items[0].path == found


def test_names_that_could_mean_several_files_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="'a' could be x/a.png or y/a.png, and 1 names are so in all"):
        listed(tmp_path, "image,level\na,1\n", ("x/a.png", "y/a.png"))


def test_missing_photographs_are_counted_once_with_the_place(tmp_path: Path):
    with pytest.raises(DatasetError, match=rf"No photograph is there of 2 .*'c', was looked for as {tmp_path}/c .*2 pictures, such as a.png"):
        listed(tmp_path, "image,level\nc,1\nd,0\n")
    listing = listed(tmp_path, "image,level\na,1\nd,0\n")
    assert listing.rejected == [("d", f"t.csv, row 3: no such file: {tmp_path}/d, nor any of that name below")]
    with pytest.raises(DatasetError, match="row 3 names a.png, which t.csv, row 2 names already"):
        listed(tmp_path, "image,level\na,1\na.png,1\n")


def test_all_missing_flags_at_once_with_a_ready_command(tmp_path: Path):
    text = "id_code,DR grade,patient id,eye,set\na,0,p1,OD,train\nb,2,p1,OS,test\n"
    with pytest.raises(DatasetError) as caught:
        listed(tmp_path, text, csv=None, image_column=None, label_columns=[])
    message = str(caught.value)
    assert "needs --csv=FILE, --image_column=NAME, --label_columns or --mask_columns" in message
    assert "  DR grade: 0 (1), 2 (1)" in message
    assert message.endswith(
        f'--data_dir={tmp_path} --csv=t.csv --image_column=id_code --label_columns="dr_grade=DR grade" --patient_column="patient id" '
        f"--split_column=set --laterality_column=eye --out={tmp_path}/records"
    )


def test_columns_that_are_not_there_are_named_together(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"no column for --image_column=photo, --patient_column=who, --label_columns grade; it has image, level"):
        listed(tmp_path, "image,level\na.png,1\n", image_column="photo", patient_column="who", label_columns=["grade"])


def test_a_label_by_another_name(tmp_path: Path):
    listing = listed(tmp_path, "image,DR grade\na.png,2\nb.png,0\n", label_columns=["dr_grade=DR grade"])
    assert listing.labels == {"dr_grade": GRADE_NAMES} and labels(listing, "dr_grade")["a.png"] == "moderate NPDR"
    listing = listed(tmp_path, "image,a=b\na.png,2\nb.png,0\n", label_columns=["a=b"])
    assert list(listing.labels) == ["a=b"]


def test_one_label_of_two_columns_is_refused(tmp_path: Path):
    text = "image,g1,g2\na.png,0,1\nb.png,1,0\n"
    with pytest.raises(DatasetError, match="dr is given two columns, g1 and g2"):
        listed(tmp_path, text, label_columns=["dr=g1", "dr=g2"])
    with pytest.raises(DatasetError, match="optic_disc is given two columns"):
        listed(tmp_path, text, label_columns=[], mask_columns=["optic_disc=g1", "optic_disc=g2"])


def test_it_is_said_that_referable_dr_needs_dr_grade(tmp_path: Path):
    for text in ("image,level\na.png,2\nb.png,0\n", "image,level\na.png,PDR\nb.png,No DR\n"):
        notes = listed(tmp_path, text).notes
        assert any('--label_columns="dr_grade=level"' in note for note in notes), notes
    assert not any("dr_grade" in note for note in listed(tmp_path, "image,glaucoma\na.png,1\nb.png,0\n", label_columns=["glaucoma"]).notes)


def test_patients_of_tables(tmp_path: Path):
    names = ("1_left.png", "1_right.png", "2_OD.png")
    rows = "".join(f"{name},{index % 2},{index}\n" for index, name in enumerate(names))
    listing = listed(tmp_path, "image,level,n\n" + rows, names)
    assert [item.patient for item in listing.items] == ["1", "1", "2"] and [item.laterality for item in listing.items] == ["left", "right", "right"]
    assert "told by name" in listing.patients
    listing = listed(tmp_path, "image,level,who\n1_left.png,0,P7\n1_right.png,1,p7\n2_OD.png,1,\n", names, patient_column="who")
    assert [item.patient for item in listing.items] == ["P7", "P7", "2"]
    listing = listed(tmp_path, "image,level,who\n1_left.png,0,7.0\n1_right.png,1,7\n2_OD.png,1,8\n", names, patient_column="who")
    assert [item.patient for item in listing.items] == ["7", "7", "8"]
    listing = listed(tmp_path, "image,level,n\n" + rows, names, patient_column="image")
    assert [item.patient for item in listing.items] == ["1", "1", "2"]
    assert "splits are by photograph" in listed(tmp_path, "image,level\na.png,0\nb.png,1\n").patients


PAIRS = ("1_L|1_R|2_L|2_R", "1001-OD|1001-OS|2-OD|2-OS", "7_left|007_right|8 left|8 right", "007|7|08|8", "P 1|p-1|P02|p2", "A/1/OD|A/1/OS|B/1/OD|B/1/OS")


@pytest.mark.parametrize("cells", PAIRS)
def test_a_patient_column_does_not_part_the_eyes_of_a_patient(tmp_path: Path, cells: str):
    names = ("a.png", "b.png", "c.png", "d.png")
    rows = "".join(f"{name},{index % 2},{cell}\n" for index, (name, cell) in enumerate(zip(names, cells.split("|"), strict=True)))
    one, other, third, fourth = (item.patient for item in listed(tmp_path, "image,level,who\n" + rows, names, patient_column="who").items)
    assert one == other != third == fourth


def test_a_patient_column_keeps_strangers_apart(tmp_path: Path):
    names = tuple(f"{letter}.png" for letter in "abcdef")
    cells = ("1-1", "11", "site 1", "site 11", "L-1", "R 2")
    rows = "".join(f"{name},{index % 2},{cell}\n" for index, (name, cell) in enumerate(zip(names, cells, strict=True)))
    listing = listed(tmp_path, "image,level,who\n" + rows, names, patient_column="who")
    assert [item.patient for item in listing.items] == list(cells) and not listing.notes


def test_unknown_is_no_patient_and_a_number_of_the_photograph_is_said(tmp_path: Path):
    names = ("1_left.png", "1_right.png", "x.png", "y.png")
    listing = listed(tmp_path, "image,level,who\n1_left.png,0,P1\n1_right.png,1,P1\nx.png,0,unknown\ny.png,1,unknown\n", names, patient_column="who")
    assert [item.patient for item in listing.items] == ["P1", "P1", "x.png", "y.png"]
    assert any("2 cells such as 'unknown' were taken as empty" in note for note in listing.notes)
    listing = listed(tmp_path, "image,level,who\n1_left.png,0,1\n1_right.png,1,2\nx.png,0,3\ny.png,1,4\n", names, patient_column="who")
    assert any("1_left.png and 1_right.png look like eyes of one patient" in note for note in listing.notes)


def test_splits_and_sides_in_other_words(tmp_path: Path):
    text = "image,level,part,eye\na.png,0,Training,OD\nb.png,1,valid,L\n"
    listing = listed(tmp_path, text, split_column="part", laterality_column="eye")
    assert [(item.split, item.laterality) for item in listing.items] == [("train", "right"), ("val", "left")]
    with pytest.raises(DatasetError, match="unknown eye 'both'. Known: left"):
        listed(tmp_path, text.replace(",L", ",both"), split_column="part", laterality_column="eye")


def test_several_tables_are_splits_where_their_names_say_so(tmp_path: Path):
    (tmp_path / "train_1.csv").write_text("image,level\na,0\nb,1\n", encoding="utf-8")
    (tmp_path / "valid.csv").write_text("image,level\nc,0\nd,1\n", encoding="utf-8")
    names = ("train_images/train_images/a.png", "train_images/train_images/b.png", "val_images/c.png", "val_images/d.png")
    listing = listed(tmp_path, None, names, csv="train_1.csv,valid.csv")
    assert {item.image_id: item.split for item in listing.items} == {"a": "train", "b": "train", "c": "val", "d": "val"}
    assert any("train_1.csv = train, valid.csv = val" in note for note in listing.notes)


def test_a_table_that_is_not_there(tmp_path: Path):
    listed(tmp_path, "image,level\na.png,0\nb.png,1\n")
    with pytest.raises(DatasetError, match=r"--csv=u.csv: .*u.csv is no file. Tables in .*: t.csv"):
        listed(tmp_path, csv="u.csv")


@pytest.mark.parametrize(("names", "message"), [(("No DR", "no dr"), "'No DR' .* and 'no dr'"), (("0", "999"), "1000 classes"), (("1", "NA"), "A missing label")])
def test_label_sets_of_columns(tmp_path: Path, names: tuple[str, str], message: str):
    with pytest.raises(DatasetError, match=message):
        listed(tmp_path, f"image,level\na.png,{names[0]}\nb.png,{names[1]}\n")


def test_a_title_above_the_head_is_no_column(tmp_path: Path):
    with pytest.raises(DatasetError, match="(?s)  level: 0 .*--image_column=image --label_columns=dr_grade=level"):
        listed(tmp_path, "Camp of May,,\n,,\nimage,level,seen\na.png,2,x\nb.png,0,y\n", image_column=None, label_columns=[])


def test_numbers_of_photographs_are_guessed_where_the_column_says_so(tmp_path: Path):
    with pytest.raises(DatasetError, match='--image_column="Photo No" --label_columns=glaucoma'):
        listed(tmp_path, "Photo No,glaucoma\n1,0\n2,1\n", ("001.png", "002.png"), image_column=None, label_columns=[])


@pytest.mark.parametrize(
    ("head", "flags"),
    [
        ("image,patient,eye,dr_grade", "--image_column=image --label_columns=dr_grade --patient_column=patient"),
        ("Bildnummer,Patienten-ID,Auge,DR Stadium", '--image_column=Bildnummer --label_columns="dr_grade=DR Stadium" --patient_column=Patienten-ID'),
        ("image,NHS no,side,level", '--image_column=image --label_columns=dr_grade=level --patient_column="NHS no"'),
    ],
)
def test_patients_that_look_like_files_are_proposed_as_patients(tmp_path: Path, head: str, flags: str):
    """Patients 001, 002 fit 00001.jpg, 00002.jpg, and the column was proposed for nothing."""
    rows = "".join(f"{number:05d},{number // 2:03d},{'RA' if number % 2 else 'LA'},{number % 4}\n" for number in range(1, 9))
    names = tuple(f"{number:05d}.jpg" for number in range(1, 9))
    with pytest.raises(DatasetError) as caught:
        listed(tmp_path, f"{head}\n{rows}", names, image_column=None, label_columns=[])
    assert f"{flags} --laterality_column=" in str(caught.value)
    image, patient, _, level = head.split(",")
    listing = listed(tmp_path, f"{head}\n{rows}", names, image_column=image, label_columns=[level])
    assert any(f"The column {patient} was not used: 3 of its 5 values" in note for note in listing.notes)
    told = listed(tmp_path, f"{head}\n{rows}", names, image_column=image, label_columns=[level], patient_column=patient)
    assert not any("was not used" in note for note in told.notes) and len({item.patient for item in told.items}) == 5


def test_a_photograph_called_by_its_patient_stays_the_photograph(tmp_path: Path):
    with pytest.raises(DatasetError, match="--image_column=patient --label_columns=glaucoma --out"):
        listed(tmp_path, "patient,glaucoma\n001,0\n002,1\n", ("001.png", "002.png"), image_column=None, label_columns=[])


def test_a_row_of_two_eyes_is_asked_for_as_two_rows(tmp_path: Path):
    """The photograph of the other eye was proposed as a mask."""
    text = "Patient,OD Bild,OS Bild,OD DR,OS DR\n1,a.png,b.png,0,2\n"
    with pytest.raises(DatasetError, match="The columns OD Bild, OS Bild each name a photograph. Write a table with one photograph a row") as caught:
        listed(tmp_path, text, image_column=None, label_columns=[])
    assert "mask_columns=" not in str(caught.value)
    masks = "image,disc mask,cup mask\na.png,m.png,n.png\n"
    with pytest.raises(DatasetError, match='--mask_columns="optic_disc=disc mask,optic_cup=cup mask"'):
        listed(tmp_path, masks, ("a.png", "m.png", "n.png"), image_column=None, label_columns=[])


def test_a_cross_for_yes_leaves_no_without_a_word(tmp_path: Path):
    notes = listed(tmp_path, "image,glaucoma\na.png,x\nb.png,\n", label_columns=["glaucoma"]).notes
    assert any("nothing to tell apart. An empty cell is a label that nobody knows; where it means no, write no." in note for note in notes)
    notes = listed(tmp_path, "image,glaucoma\na.png,x\nb.png,x\n", label_columns=["glaucoma"]).notes
    assert any(note.endswith("nothing to tell apart.") for note in notes)


def test_yes_as_1_and_no_as_2_is_not_told_to_count_from_0_blindly(tmp_path: Path):
    """Who took 1 from each, as the note said, had no as 1, the disease."""
    notes = listed(tmp_path, "image,glaucoma\na.png,1\nb.png,2\n", label_columns=["glaucoma"]).notes
    assert any("write the classes as names ('yes', 'no'), or number them from 0, the one without the disease" in note for note in notes)


def test_hidden_rows_of_a_workbook_are_read_and_counted(tmp_path):
    """A table filtered to one clinic was built with all of them, without a word."""
    import openpyxl

    path = workbook(tmp_path / "t.xlsx", A=[["image", "level"], ["a.png", 0], ["b.png", 1], ["c.png", 2], [None, None]])
    assert not read_own_table(path).notes
    book = openpyxl.load_workbook(path)
    sheet = book["A"]
    sheet.row_dimensions[3].hidden = sheet.row_dimensions[4].hidden = sheet.row_dimensions[5].hidden = True  # row 5 is empty
    book.save(path)
    table = read_own_table(path)
    assert len(table.rows) == 3 and len(table.notes) == 1
    assert "t.xlsx: 2 of its 3 rows are hidden in the spreadsheet (by a filter or by hand; the first is row 3), and were read" in table.notes[0]
    assert any("2 of its 3 rows are hidden" in note for note in listed(tmp_path, names=("a.png", "b.png", "c.png"), csv="t.xlsx").notes)
