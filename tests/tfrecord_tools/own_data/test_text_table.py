"""Texts as people export them: encodings, separators, quotes, cells left out, titles above the head."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrecord_tools.items import DatasetError

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
def test_one_table_in_many_exports(tmp_path: Path, data: bytes, listed, labels):
    assert labels(listed(tmp_path, data)) == {"a.png": "1", "b.png": "0"}


def test_cells_left_out_are_missing_and_said(tmp_path: Path, listed, labels):
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
def test_what_cannot_be_read_rightly_is_refused(tmp_path: Path, text: str | bytes, message: str, listed):
    with pytest.raises(DatasetError, match=message):
        listed(tmp_path, text)


def test_a_title_above_the_head_is_no_column(tmp_path: Path, listed):
    with pytest.raises(DatasetError, match="(?s)  level: 0 .*--image_column=image --label_columns=dr_grade=level"):
        listed(
            tmp_path, "Camp of May,,\n,,\nimage,level,seen\na.png,2,x\nb.png,0,y\n", image_column=None, label_columns=[]
        )
