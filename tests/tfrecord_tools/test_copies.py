"""How many files are copies of one photograph: counted from facts, and as the build and inspect say it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dr_edge.metadata import read_manifest
from tfrecord_tools.assembly import FILTERED
from tfrecord_tools.copies import count_copies, words
from tfrecord_tools.spool import Fact


def fact(name: str, pixels: str, grade: int = 0, **changes: Any) -> Fact:
    return Fact(name, f"{name}.png", pixels=pixels, labels={"grade": grade}, **changes)


def test_groups_are_joined_by_pixels_and_by_looks():
    facts = [
        fact("a", "p1"), fact("b", "p1"), fact("c", "p2"),  # one photograph: a = b, c looks like b
        fact("d", "p3", 1), fact("e", "p3", 2),  # one photograph under two grades
        fact("f", "p4", 2),
        fact("g", "p5", 2), fact("h", "p6", 2),  # look alike
        fact("bad", "", reason="truncated file"),
    ]  # fmt: skip
    found = count_copies(facts, iter([(1, 2), (6, 7), (5, 8)]), kept=[0, 2, 5, 6, 7])
    assert found["files"] == 8 and found["photographs"] == 4
    assert found["sizes"] == {"1": 1, "2": 2, "3": 1}
    assert found["exact"] == {"groups": 2, "files": 4, "set_aside": 3}
    assert found["near"] == {"groups": 2, "files": 5, "set_aside": 1}
    assert found["conflicting"] == {"groups": 1, "files": 2, "set_aside": 2}
    assert found["kept_together"] == {"groups": 2, "files": 4}
    assert found["largest"] == {"files": 3, "images": ["a", "b", "c"]}
    # d and e are one photograph of grade 1 and one of grade 2
    assert found["classes"]["grade"] == {
        "0": {"files": 3, "photographs": 1}, "1": {"files": 1, "photographs": 1}, "2": {"files": 4, "photographs": 3}
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    said = "\n".join(words(found, {"grade": ["none", "mild", "severe"]}))
    assert "8 files read, 4 distinct photographs: 4 are copies of another file" in said
    assert "largest group: 3 files (a, b, c)" in said and "severe 4 / 3" in said


def test_no_copies_and_older_records_are_said_so():
    alone = "\n".join(words(count_copies([fact("a", "p")], [], [0]), {"grade": ["none"]}))
    assert "1 file read, 1 distinct photograph: 0 are copies" in alone and "largest" not in alone
    assert "not counted" in words(None, {})[0]


@pytest.fixture(scope="module")
def folder_with_copies(tmp_path_factory: pytest.TempPathFactory, save_photo: Callable[..., Path]) -> Path:
    """24 photographs; 00 four times more (same file, JPEG, mirrored, brighter), 01 once more under another grade."""
    root = tmp_path_factory.mktemp("copies")
    photos = root / "train_images"
    rows = {}
    for seed in range(24):
        save_photo(photos / f"eye{seed:02d}.png", seed, side=256)
        rows[f"eye{seed:02d}"] = seed % 5
    first = cv2.imread(str(photos / "eye00.png"))
    made = {
        "same.png": first,
        "reencoded.jpg": first,
        "mirrored.png": first[:, ::-1],
        "brighter.png": np.clip(first * 1.15, 0, 255).astype(np.uint8),
        "contrary.png": cv2.imread(str(photos / "eye01.png")),
    }
    for name, picture in made.items():
        cv2.imwrite(str(photos / name), picture)
        rows[name[:-4]] = 3 if name == "contrary.png" else 0
    lines = ["id_code,diagnosis", *(f"{name},{grade}" for name, grade in rows.items())]
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.mark.slow
def test_build_counts_and_inspect_says_them(folder_with_copies: Path, tmp_path: Path, run_build: Callable[..., Path]):
    records = run_build("aptos", folder_with_copies, tmp_path / "records", image_size=96)
    found = read_manifest(records, "dataset")["copies"]
    assert (found["files"], found["photographs"]) == (29, 24)
    assert found["sizes"] == {"1": 22, "2": 1, "5": 1}
    assert found["exact"] == {"groups": 2, "files": 4, "set_aside": 3}
    assert found["near"] == {"groups": 1, "files": 5, "set_aside": 1}
    assert found["conflicting"] == {"groups": 1, "files": 2, "set_aside": 2}
    assert found["kept_together"] == {"groups": 1, "files": 4} and found["largest"]["files"] == 5
    assert found["classes"]["dr_grade"]["0"] == {"files": 9, "photographs": 5}
    command = [sys.executable, "-m", "tfrecord_tools.inspect", str(records), f"--out={tmp_path / 'sheet.png'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "29 files read, 24 distinct photographs: 5 are copies of another file" in result.stdout
    assert "with conflicting labels: 1 group of 2 files, 2 set aside" in result.stdout
    assert "no DR 9 / 5" in result.stdout
    assert cv2.imread(str(tmp_path / "sheet.png")).std() > 20


def test_filters_find_the_same_copies_and_the_records_say_that_they_were_used(
    folder_with_copies: Path, tmp_path: Path, run_build: Callable[..., Path]
):
    exact = run_build("aptos", folder_with_copies, tmp_path / "records", image_size=96)
    filtered = run_build("aptos", folder_with_copies, tmp_path / "filtered", image_size=96, copies="filtered")
    one, other = (read_manifest(records, "dataset") for records in (exact, filtered))
    assert other["copies"] == one["copies"] and other["splits"] == one["splits"]
    assert other["arguments"].pop("copies") == "filtered" and other["arguments"] == one["arguments"]
    assert other["notes"] == [*one["notes"], FILTERED] and other["build_key"] != one["build_key"]


@pytest.mark.slow
def test_real_duplicates_are_those_that_are_known(real_data: Path, tmp_path: Path, run_build: Callable[..., Path]):
    records = run_build("aptos", real_data / "aptos", tmp_path / "records", image_size=96, workers=2)
    found = read_manifest(records, "dataset")["copies"]
    known = [
        line.split(",") for line in (real_data / "aptos_duplicates.csv").read_text().splitlines()[1:]
    ]  # group, image, grade, conflict
    assert found["exact"]["groups"] == len({row[0] for row in known})
    assert found["exact"]["files"] == len(known)
    assert found["conflicting"]["groups"] >= len({row[0] for row in known if row[3] == "1"})
    assert found["files"] == len(list((real_data / "aptos" / "train_images").iterdir()))
