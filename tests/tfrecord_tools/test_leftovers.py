"""Nothing is dropped in silence: each visible file of own data is taken by its content, or named with its reason."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from dicom_jpeg import save_dicom

from dr_edge.fundus.format_names import is_picture
from dr_edge.metadata import read_manifest
from tfrecord_tools.items import readable

HEIC = Path(__file__).parents[1] / "fundus" / "heic" / "eye.heic"
Run = Callable[..., Path]


def reasons(records: Path) -> dict[str, str]:
    with open(records / "rejected.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def taken(records: Path) -> set[str]:
    with open(records / "splits.csv", newline="", encoding="utf-8") as file:
        return {row["image"] for row in csv.DictReader(file)}


def visible(root: Path) -> set[str]:
    paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    system = {"Thumbs.db", "desktop.ini", "__MACOSX"}
    return {
        readable(path.as_posix())
        for path in paths
        if not any(part.startswith(".") or part in system for part in path.parts)
    }


@pytest.fixture
def folder(tmp_path: Path, save_photo, draw) -> Path:
    """Two class folders as people have them."""
    pytest.importorskip("pi_heif")
    from PIL import Image

    root = tmp_path / "photographs"
    for seed in range(6):
        save_photo(root / ("healthy" if seed % 2 else "sick") / f"{seed}.png", seed)
    picture = Image.fromarray(draw(20).image)
    for name in ("eye.jfif", "no_suffix"):
        picture.save(root / "sick" / name, "JPEG", quality=95)
    Image.fromarray(draw(21).image).save(root / "sick" / "eye.webp", lossless=True)
    Image.fromarray(draw(21).image).save(root / "sick" / "eye.gif")
    Image.fromarray(draw(22).image).save(root / "healthy" / "eye.jp2")
    Image.fromarray(draw(22).image).save(root / "healthy" / "eye.avif")
    shutil.copy(HEIC, root / "healthy" / "IMG_0001.HEIC")
    save_dicom(root / "healthy" / "IM000001", draw(23).image)
    save_photo(root / "beside.png", 24)
    for name, content in {
        "notes.xlsx": b"PK\x03\x04" + bytes(40), "sick/readme.txt": b"BMI;age\n20;30\n",
        "sick/list": b"BMI;age\n20;30\n", "empty_class/paper.pdf": b"%PDF-1.7\n", "sick/Thumbs.db": b"\xd0\xcf\x11\xe0",
        "sick/.DS_Store": b"\0\0\0\1Bud1", "healthy/desktop.ini": b"[.ShellClassInfo]\n",
        "__MACOSX/sick/._1.png": b"\0\5\x16\7", "sick/film.mp4": b"\0\0\0\x18ftypmp42" + bytes(12),
        "sick/nothing.png": b"",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_a_folder(folder: Path, tmp_path: Path, run_build: Run):
    Path(folder / "sick" / os.fsdecode(b"M\xfcller.txt")).write_text("a name that is no text")
    out = run_build("folder", folder, tmp_path / "out", image_size=96)
    records, said = taken(out), reasons(out)
    assert visible(folder) <= records | set(said)
    assert records & set(said) == set() and set(said) - visible(folder) <= {"__MACOSX", "empty_class"}
    assert {"sick/eye.jfif", "sick/eye.webp", "healthy/IMG_0001.HEIC", "healthy/IM000001"} <= records
    assert "exact duplicate" in said.pop("sick/no_suffix")
    for file, words in {
        "sick/eye.gif": "GIF", "healthy/eye.jp2": "JPEG 2000", "healthy/eye.avif": "AVIF", "notes.xlsx": "Excel",
        "sick/readme.txt": "a text", "sick/list": "a text", "empty_class/paper.pdf": "a PDF", "sick/film.mp4": "film",
        "sick/nothing.png": "empty file", "beside.png": "no class folder",
    }.items():  # fmt: skip
        assert words in said[file], file
    assert "a text" in said["sick/M\\xfcller.txt"]
    notes = read_manifest(out, "dataset")["notes"]
    assert any(note.startswith("4 hidden or system files and folders") and "desktop.ini" in note for note in notes)


def test_a_new_text_beside_the_photographs_makes_no_new_build(folder: Path, tmp_path: Path, run_build: Run):
    out = run_build("folder", folder, folder / "records", image_size=96)
    before = sorted(path.name for path in out.iterdir())
    (folder / "later.txt").write_text("said later")
    assert run_build("folder", folder, folder / "records", image_size=96) == out
    assert sorted(path.name for path in out.iterdir()) == before and not any(
        "records/" in file for file in reasons(out)
    )


def test_a_table(folder: Path, tmp_path: Path, run_build: Run):
    rows = [
        (f"{'healthy' if seed % 2 else 'sick'}/{seed}.png", "mask.png" if seed == 2 else "", seed % 2)
        for seed in range(6)
    ]
    rows += [("sick/eye.webp", "", 0), ("healthy/IMG_0001.HEIC", "", 1), ("healthy/IM000001", "", 1)]
    mask = cv2.circle(np.zeros(cv2.imread(str(folder / "sick" / "2.png")).shape[:2], np.uint8), (60, 60), 20, 255, -1)
    cv2.imwrite(str(folder / "mask.png"), mask)
    lines = ["file,optic_disc,sick", *(",".join(map(str, row)) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    table = {"csv": "t.csv", "image_column": "file", "label_columns": ["sick"], "mask_columns": ["optic_disc"]}
    out = run_build("csv", folder, tmp_path / "out", image_size=96, table=table)
    said = reasons(out)
    assert {row[0] for row in rows} <= taken(out), said.get("sick/2.png")
    assert visible(folder) - {"t.csv", "mask.png"} <= taken(out) | set(said)
    assert "t.csv" not in said and "mask.png" not in said
    assert said["beside.png"] == "no row in t.csv names it" and said["sick/eye.gif"] == "no row in t.csv names it"
    assert said["notes.xlsx"].startswith("no photograph") and "link to a directory" in said["link"]


def test_the_rest_of_a_download_is_counted(grading_folder: Path, tmp_path: Path, run_build: Run):
    root = tmp_path / "aptos"
    shutil.copytree(grading_folder, root)
    (root / "sample_submission.csv").write_text("id_code,diagnosis\n")
    (root / "test_images").mkdir()
    shutil.copy(root / "train_images" / "eye00.png", root / "test_images" / "x.png")
    out = run_build("aptos", root, tmp_path / "out")
    assert reasons(out) == {}
    (note,) = read_manifest(out, "dataset")["notes"]
    assert note.startswith("3 other files") and "sample_submission.csv" in note


def test_pipes_and_texts_are_no_pictures(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"BM and more of it than a bitmap's header takes")
    assert not is_picture(tmp_path / "pipe") and not is_picture(tmp_path / "text") and not is_picture(tmp_path)
    cv2.imwrite(str(tmp_path / "a.bmp"), np.zeros((20, 20, 3), np.uint8))
    assert is_picture(tmp_path / "a.bmp") and is_picture(HEIC)


def test_the_jpeg_inside_a_dicom_has_its_true_size(tmp_path: Path, draw):
    from dr_edge.fundus.read_crop import read_crop
    from tfrecord_tools.items import Item, MaskSource
    from tfrecord_tools.process import Settings, process

    large = cv2.resize(draw(5, 512).image, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    save_dicom(tmp_path / "eye.dcm", large)
    mask = cv2.resize(
        draw(5, 512).masks["optic_disc"].astype("uint8") * 255, (2048, 2048), interpolation=cv2.INTER_NEAREST
    )
    cv2.imwrite(str(tmp_path / "disc.png"), mask)
    item = Item(
        "eye",
        "eye.dcm",
        "p",
        centres={"fovea": (1000.0, 1000.0)},
        masks={"optic_disc": MaskSource(("disc.png",), "at_least", 128)},
    )
    outcome = process(item, Settings(str(tmp_path), 128, "crop"))
    assert outcome.reason == "" and outcome.record is not None and outcome.record.source_size == (2048, 2048)
    assert outcome.record.masks.keys() == {"optic_disc"}
    assert read_crop((tmp_path / "eye.dcm").read_bytes(), 128).size == (2048, 2048)
