"""Names in a table that are no paths, or may be several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrecord_tools.items import DatasetError


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
def test_names_that_are_no_paths(tmp_path: Path, name: str, files: tuple[str, ...], found: str, listed):
    listing = listed(tmp_path, f"image,level\n{name},1\nz.png,0\n", (*files, "z.png"))
    assert listing.items[0].path == found


def test_names_that_could_mean_several_files_are_refused(tmp_path: Path, listed):
    with pytest.raises(DatasetError, match="'a' could be x/a.png or y/a.png, and 1 names are so in all"):
        listed(tmp_path, "image,level\na,1\n", ("x/a.png", "y/a.png"))
    with pytest.raises(DatasetError, match=f'--data_dir="{tmp_path}/a set"'):  # ready to be pasted
        listed(tmp_path, "image,level\nb,1\n", ("a set/b.png", "other/b.png"))


def test_missing_photographs_are_counted_once_with_the_place(tmp_path: Path, listed):
    with pytest.raises(
        DatasetError,
        match=rf"No photograph is there of 2 .*'c', was looked for as {tmp_path}/c .*2 pictures, such as a.png",
    ):
        listed(tmp_path, "image,level\nc,1\nd,0\n")
    listing = listed(tmp_path, "image,level\na,1\nd,0\n")
    assert listing.rejected == [("d", f"t.csv, row 3: no such file: {tmp_path}/d, nor any of that name below")]
    with pytest.raises(DatasetError, match="row 3 names a.png, which t.csv, row 2 names already"):
        listed(tmp_path, "image,level\na,1\na.png,1\n")
