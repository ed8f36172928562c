"""What a build tells at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrecord_tools import assembly
from tfrecord_tools.assembly import build
from tfrecord_tools.items import DatasetError
from tfrecord_tools.plan import BuildOptions
from tfrecord_tools.summary import top_reasons


def built(root: Path, out: Path, **options) -> str:
    return build(BuildOptions("folder", root, out, image_size=64, preprocess="crop", workers=1, **options))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, save_photo: Callable[..., Path]) -> Path:
    root = tmp_path_factory.mktemp("own") / "photographs"
    for seed in range(8):
        save_photo(root / "healthy" / f"{seed}_left.png", seed)
        save_photo(root / "sick" / f"{seed}_right.png", 20 + seed)
    save_photo(root / "rare" / "one.png", 40)
    (root / "sick" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "papers").mkdir()
    return root


def test_it_tells_classes_patients_rejections_and_the_next_command(photographs: Path, tmp_path: Path):
    said = built(photographs, tmp_path / "own records").splitlines()
    train = next(line for line in said if line.startswith("train"))
    assert "class: healthy 6, rare 1, sick 6" in train
    assert any(
        "Patients are told by name: 16 photographs of 8 (such as 0) stay together; 2 whose" in line for line in said
    )
    assert any(line.startswith("2 rejected (rejected.csv says why)") for line in said)
    assert any("1 x " in line and "papers" in line for line in said)
    assert any("class: no 'rare' (1 in train) in val and test" in line for line in said)
    assert said[-1].startswith("next: python -m dr_edge.train --gin_file=gin_configs/folder.gin")
    assert f"--records='{tmp_path}/own records' --run_dir='runs/own records'" in said[-1]


def test_empty_splits_and_classes_without_training_photographs_are_said(photographs: Path, tmp_path: Path):
    said = built(photographs, tmp_path / "r", test_fraction=0.0)
    assert "caution: test is empty: evaluate has nothing to judge by. --test_fraction was 0." in said
    said = built(photographs, tmp_path / "q", val_fraction=0.1, test_fraction=0.6)
    assert (
        "class: no training photograph of 'rare' (1 in test)" in said
        and "lower --val_fraction and --test_fraction" in said
    )
    assert "next: " not in said  # training refuses them


def test_reasons_are_counted_by_kind():
    rows = [(f"m/{number}.png", f"mask m/{number}.png is {number}x3, the photograph 4x4") for number in range(24)]
    assert top_reasons([*rows, ("x.png", "no such file")]) == [
        "  24 x mask m/0.png is 0x3, the photograph 4x4",
        "  1 x no such file (x.png)",
    ]
    copies = [
        (f"{name}.png", f"exact duplicate of x{name}, y with conflicting labels (class 0 and 2)") for name in "abc"
    ]
    assert len(top_reasons(copies)) == 1
    many = [(f"{letter}.png", f"reason {letter * 3}") for letter in "abcdefg"]
    assert top_reasons(many)[-1] == "  2 for other reasons"


def test_nothing_left_names_the_reasons(tmp_path: Path):
    for name in ("a/1.png", "b/2.png", "b/3.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"No photograph of 3 is left to write.\n  3 x .*empty"):
        built(tmp_path / "p", tmp_path / "out")


def test_the_kinds_that_a_model_will_refuse_are_said():
    mixed = assembly._picture_notes(Counter(colour=95, greyscale=5), 0, 96, "crop")
    assert "answers colour ones only. The others are too few to be learned, and it refuses such ones." in mixed[0]
    halves = assembly._picture_notes(Counter(colour=50, normalised=50), 0, 96, "crop")
    assert halves[0].endswith("answers colour and normalised ones only.") and len(halves) == 2
    assert "colour and greyscale ones only." in assembly._picture_notes(Counter(greyscale=9), 0, 96, "grey")[0]
    assert assembly._picture_notes(Counter(colour=9), 0, 96, "graham") == []
