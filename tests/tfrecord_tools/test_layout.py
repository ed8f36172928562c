"""Reading tables and directories as they are published."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from tfrecord_tools.items import DatasetError
from tfrecord_tools.layout import checked_directory, class_index, column, find_one, read_spreadsheet, read_table
from tfrecord_tools.matching import index_images, match_rows


def test_table_with_every_published_oddity(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_bytes("\ufeffImage name,Risk of macular edema ,,,\r\n IDRiD_001 , 2 ,,,\r\n,,,,\r\n".encode())
    assert read_table(path) == [{"Image name": "IDRiD_001", "Risk of macular edema": "2"}]
    path.write_text("left;right\na;b\n", encoding="utf-8")
    assert read_table(path) == [{"left": "a", "right": "b"}]
    path.write_bytes("name,words\na,caf\xe9\n".encode("latin-1"))
    assert read_table(path) == [{"name": "a", "words": "caf\xe9"}]
    path.write_text('name,words\na,"one, two"\n', encoding="utf-8")
    assert read_table(path)[0]["words"] == "one, two"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no rows"), (b"a,b\n", "no rows"), (b"a,a\n1,2\n", "twice"), (b"a\0b", "zero bytes")],
)
def test_table_that_is_none_is_refused(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_table(path)


def test_spreadsheets_old_and_new(tmp_path: Path, write_xls):
    rows: list[list[str | float]] = [["Image name", "Retinopathy grade"], ["a.tif", 3.0], ["b.tif", 0.0]]
    expected = [
        {"Image name": "a.tif", "Retinopathy grade": "3"},
        {"Image name": "b.tif", "Retinopathy grade": "0"},
    ]
    assert read_spreadsheet(write_xls(tmp_path / "old.xls", rows)) == expected
    book = openpyxl.Workbook()
    for row in [["a title above the head"], [None], *rows]:
        book.active.append(row)
    book.save(tmp_path / "new.xlsx")
    assert read_spreadsheet(tmp_path / "new.xlsx", header="Image name") == expected
    with pytest.raises(DatasetError, match="no rows under 'Nothing'"):
        read_spreadsheet(tmp_path / "new.xlsx", header="Nothing")


@pytest.mark.parametrize("name", ["broken.xls", "broken.xlsx"])
def test_damaged_spreadsheet_is_named(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"not a spreadsheet")
    with pytest.raises(DatasetError, match=f"{name} cannot be read"):
        read_spreadsheet(tmp_path / name)


def test_directory_checks(tmp_path: Path):
    with pytest.raises(DatasetError, match="needs --data_dir"):
        checked_directory(None, "idrid")
    with pytest.raises(DatasetError, match="is no directory"):
        checked_directory(tmp_path / "absent", "idrid")
    with pytest.raises(DatasetError, match="is empty"):
        checked_directory(tmp_path, "idrid")
    (tmp_path / "train").mkdir()
    assert find_one(tmp_path, ("missing", "tr*"), "train/") == tmp_path / "train"
    with pytest.raises(DatasetError, match="no train.csv. Looked for: train.csv"):
        find_one(tmp_path, ("train.csv",), "train.csv")


def test_photographs_are_indexed_without_case_and_hidden_files(tmp_path: Path):
    for name in ("A.JPG", "b.jpeg", "._b.jpeg", ".DS_Store", "notes.txt", "sub/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(index_images([tmp_path])) == ["a", "b"]
    assert sorted(index_images([tmp_path], recursive=True)) == ["a", "b", "c"]
    (tmp_path / "sub" / "a.png").touch()
    with pytest.raises(DatasetError, match="Two photographs of one name"):
        index_images([tmp_path], recursive=True)


def test_rows_and_photographs_that_lack_each_other_are_listed(tmp_path: Path):
    for name in ("one.png", "two.png", "unlisted.png"):
        (tmp_path / name).touch()
    cells = [{"image": "one"}, {"image": "TWO.jpg"}, {"image": "three"}]
    rows, rejected = match_rows(Path("t.csv"), cells, ("image",), index_images([tmp_path]), tmp_path)
    assert [row.path.name for row in rows] == ["one.png", "two.png"]
    assert rejected == [
        ("three", "t.csv, row 4 (three): the photograph is missing"),
        ("unlisted.png", "no row in t.csv"),
    ]
    with pytest.raises(DatasetError, match="has a row already"):
        match_rows(Path("t.csv"), [{"image": "one"}] * 2, ("image",), index_images([tmp_path]), tmp_path)


def test_columns_and_labels():
    assert column({"Image Name": "a"}, ("image", "image name"), Path("t.csv")) == "a"
    with pytest.raises(DatasetError, match="t.csv has no column level; it has image"):
        column({"image": "a"}, ("level",), Path("t.csv"))
    assert [class_index(value, 5, "row") for value in ("0", "4", "2.0", "")] == [0, 4, 2, -1]
    assert class_index("yes", ("no", "yes"), "row") == 1
    for value in ("5", "-1", "2.5", "x"):
        with pytest.raises(DatasetError, match=f"row 7: unknown label '{value}'. Known: 0, 1, 2, 3, 4"):
            class_index(value, 5, "row 7")
