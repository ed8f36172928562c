"""Names that a spreadsheet would run: the tables of records hold them as text, and join all the same."""

from __future__ import annotations

import csv
from pathlib import Path

from dr_edge import spreadsheet


def test_records_of_strange_names_are_whole_and_their_table_can_be_built_from(tmp_path, save_photo):
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions
    from tfrecord_tools.verify import verify

    beginnings = ("=1+1", "@x", "-2+3", "+a", "'=y", "e")
    rows = []
    for number in range(12):
        name = f"{beginnings[number % 6]} {number}.png"
        save_photo(tmp_path / "data" / name, number)
        rows.append((name, f"={number}", ("-healthy", "@glaucoma")[number % 2], ("train", "val", "test")[number % 3]))
    (tmp_path / "data" / "=broken.png").write_bytes(b"no picture")
    rows.append(("=broken.png", "=b", "-healthy", "train"))
    with open(tmp_path / "labels.csv", "w", newline="", encoding="utf-8") as file:  # as it comes, unguarded
        csv.writer(file).writerows([("image", "patient", "class", "split"), *rows])

    def records(table: Path, out: Path) -> Path:
        columns = {"csv": str(table), "image_column": "image", "patient_column": "patient", "split_column": "split"}
        columns |= {"label_columns": "class"}
        build(
            BuildOptions(
                "csv", tmp_path / "data", out, image_size=64, preprocess="crop", table=columns, positive=("@glaucoma",)
            )
        )
        return out

    first = records(tmp_path / "labels.csv", tmp_path / "first")
    assert verify(first) == []
    split = {row["image"]: row for row in spreadsheet.read(first / "splits.csv")}
    assert {name: (split[name]["patient"], split[name]["split"]) for name, *_ in rows[:12]} == {
        name: (patient, part) for name, patient, _, part in rows[:12]
    }
    (rejected,) = spreadsheet.read(first / "rejected.csv")
    assert rejected["file"] == "=broken.png" and "\n'=broken.png," in (first / "rejected.csv").read_text()
    # As who takes our table, adds a column to it and builds from that; its every cell is as we write it.
    table = [[*row.values(), next(kind for name, _, kind, _ in rows if name == row["image"])] for row in split.values()]
    header = ["image", "patient", "split", "sha256", "class"]
    (tmp_path / "ours.csv").write_text(spreadsheet.to_csv(header, table), encoding="utf-8")
    second = records(tmp_path / "ours.csv", tmp_path / "second")
    assert verify(second) == [] and (second / "splits.csv").read_text() == (first / "splits.csv").read_text()
