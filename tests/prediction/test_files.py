"""Which files of a directory `predict` takes: by name or by content, and what it passes over is said."""

from pathlib import Path

import pytest

from dr_edge.prediction.files import expand


def test_a_directory_is_taken_by_name_or_by_content(tmp_path: Path):
    pictures = {
        # By their names, and by their content.
        "a.JPG": b"", "b.jfif": b"", "c.webp": b"", "d.HEIC": b"", "e.dicom": b"",
        "f": bytes(128) + b"DICM", "g.bak": b"\xff\xd8\xff\xe0", "h.gif": b"GIF89a", "i": b"\0\0\0\x0cjP  \r\n",
    }  # fmt: skip
    others = {"notes.xlsx": b"PK\x03\x04", "README": b"how it was taken", "list": b"BMI;age", "nothing": b""}
    for name, content in {**pictures, **others, ".hidden.jpg": b"\xff\xd8\xff"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "more").mkdir()
    paths, (note,) = expand([str(tmp_path)])
    assert [path.name for path in paths] == sorted(pictures)
    assert all(name in note for name in [*others, "more/"])
    with pytest.raises(ValueError, match="holds no pictures. It holds a.txt"):
        (tmp_path / "more" / "a.txt").write_text("x")
        expand([str(tmp_path / "more")])
