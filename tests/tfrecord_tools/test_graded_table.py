"""What the readers of graded photographs share."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_data import save_sheet

from tfrecord_tools.datasets.graded_table import Identity, graded_table
from tfrecord_tools.items import DatasetError
from tfrecord_tools.matching import index_images

LABELS = {"dr_grade": ("Grade", 5)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("one", "Two", "three"):
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    return tmp_path


def save(root: Path, suffix: str, *rows: tuple) -> Path:
    table = root / f"table{suffix}"
    if suffix == ".csv":
        table.write_text("\n".join(",".join(map(str, row)) for row in (("Name", "Grade"), *rows)))
    else:
        save_sheet(table, [["Name", "Grade"], *map(list, rows)])
    return table


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".XLSM"])
def test_rows_become_items(root, suffix):
    table = save(root, suffix, ("one.jpg", 2), ("two", ""), ("gone", 1))
    items, rejected = graded_table(table, index_images([root]), root, name="name", labels=LABELS, split="test")
    found = {item.image_id: (item.path, item.patient, item.labels, item.split, item.laterality) for item in items}
    assert found == {
        "one": ("one.jpg", "one", {"dr_grade": 2}, "test", ""),
        "Two": ("Two.jpg", "Two", {"dr_grade": -1}, "test", ""),
    }
    assert rejected == [
        ("gone", f"table{suffix}, row 4 (gone): the photograph is missing"),
        ("three.jpg", f"no row in table{suffix}"),
    ]


def test_the_identity_is_the_readers_own(root):
    table = save(root, ".csv", ("one", 0))
    (item,), _ = graded_table(
        table,
        index_images([root]),
        root,
        name="Name",
        labels=LABELS,
        identity=lambda row: Identity(f"x/{row.name}", "p", "left"),
    )
    assert (item.image_id, item.patient, item.laterality, item.split) == ("x/one", "p", "left", None)


def test_grades_of_what_is_excluded_are_not_read(root):
    table, images = save(root, ".csv", ("one", "none"), ("two", 4)), index_images([root])

    def unread(row):
        return "no grade" if row.cells["Grade"] == "none" else ""

    items, rejected = graded_table(table, images, root, name="Name", labels=LABELS, excluded=unread, leftovers=False)
    assert [item.image_id for item in items] == ["Two"] and rejected == [("one.jpg", "no grade")]
    assert list(images) == ["three"]  # for the next table
    with pytest.raises(DatasetError, match=r"row 2 \(one\): unknown label 'none'. Known: 0, 1"):
        graded_table(table, index_images([root]), root, name="Name", labels=LABELS)
