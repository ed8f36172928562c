"""Excel files as people have them: several sheets, merged cells, hidden rows."""

from __future__ import annotations

import datetime
from pathlib import Path

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.styles import Font

from tfrecord_tools.items import DatasetError
from tfrecord_tools.own_data.table import read_own_table


def test_spreadsheets(tmp_path: Path, listed, labels, workbook):
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


def test_a_patient_merged_over_two_rows(tmp_path: Path, listed, workbook):
    path = workbook(
        tmp_path / "t.xlsx", A=[["image", "level", "patient"], ["a.png", 0, "p"], ["b.png", 1, None], ["c.png", 1, "q"]]
    )
    book = openpyxl.load_workbook(path)
    book["A"].merge_cells("C2:C3")
    book.save(path)
    listing = listed(tmp_path, names=("a.png", "b.png", "c.png"), csv="t.xlsx", patient_column="patient")
    assert [item.patient for item in listing.items] == ["p", "p", "q"]


def test_hidden_rows_of_a_workbook_are_read_and_counted(tmp_path: Path, listed, workbook):
    """A table filtered to one clinic was built with all of them, without a word."""
    path = workbook(tmp_path / "t.xlsx", A=[["image", "level"], ["a.png", 0], ["b.png", 1], ["c.png", 2], [None, None]])
    assert not read_own_table(path).notes
    book = openpyxl.load_workbook(path)
    sheet = book["A"]
    for number in (3, 4, 5):  # row 5 is empty
        sheet.row_dimensions[number].hidden = True
    book.save(path)
    table = read_own_table(path)
    assert len(table.rows) == 3 and len(table.notes) == 1
    assert (
        "t.xlsx: 2 of its 3 rows are hidden in the spreadsheet (by a filter or by hand; the first is row 3), and were "
        "read" in table.notes[0]
    )
    assert any(
        "2 of its 3 rows are hidden" in note
        for note in listed(tmp_path, names=("a.png", "b.png", "c.png"), csv="t.xlsx").notes
    )


def test_a_row_struck_through_is_asked_for(tmp_path: Path, listed, labels, workbook):
    """A withdrawn row was read like any other."""
    path = workbook(tmp_path / "t.xlsx", A=[["image", "level", "note"], ["a.png", 0, "x"], ["b.png", 1, "y"]])
    book = openpyxl.load_workbook(path)
    book["A"]["C2"].font = Font(strike=True)
    book.save(path)
    assert labels(listed(tmp_path, csv="t.xlsx")) == {"a.png": "0", "b.png": "1"}  # of a column that nothing reads
    book["A"]["A3"].font = book["A"]["B3"].font = book["A"]["C3"].font = Font(strike=True)
    book.save(path)
    with pytest.raises(
        DatasetError,
        match="t.xlsx, row 3, column image: 'b.png' is struck through, in whole or in part: is it withdrawn",
    ):
        listed(tmp_path, csv="t.xlsx")


def test_a_formula_without_a_stored_value_is_no_empty_cell(tmp_path: Path, listed, workbook):
    """Written by a program and never opened in a spreadsheet, every label was missing."""
    workbook(tmp_path / "t.xlsx", A=[["image", "level"], ["a.png", 0], ["b.png", "=B2+1"]])
    with pytest.raises(
        DatasetError, match="t.xlsx, row 3, column level: '=B2\\+1' is a formula whose value is not stored"
    ):
        listed(tmp_path, csv="t.xlsx")


def test_a_grade_struck_through_within_its_cell_is_no_part_of_the_next(tmp_path: Path, listed, workbook):
    """A 2 struck through before a 3 was read as 23."""
    path = workbook(tmp_path / "t.xlsx", A=[["image", "level"], ["a.png", 0], ["b.png", None]])
    book = openpyxl.load_workbook(path)
    for strike in (True, False):
        book["A"]["B3"] = CellRichText(TextBlock(InlineFont(strike=strike), "2"), TextBlock(InlineFont(b=True), "3"))
        book["A"]["B2"] = CellRichText(TextBlock(InlineFont(b=True), "1"), "0")
        book.save(path)
        if strike:
            with pytest.raises(DatasetError, match="t.xlsx, row 3, column level: '23' is struck through"):
                listed(tmp_path, csv="t.xlsx")
        else:
            assert [row["level"] for _, row in read_own_table(path).rows] == ["10", "23"]
