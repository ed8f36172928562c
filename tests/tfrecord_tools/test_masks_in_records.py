"""Masks on their way into records: which levels are asked about, and which way up they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dr_edge.fundus.jpeg import upright
from tfrecord_tools.items import DatasetError, Item, MaskSource
from tfrecord_tools.process import Settings, process
from tfrecord_tools.reading import read_examples


def test_a_build_refuses_one_file_for_both_and_takes_levels(
    tmp_path: Path, save_photo: Callable, run_build: Callable, draw: Callable
):
    root = tmp_path / "data"
    rows = ["image,mask"]
    for seed in range(4):
        save_photo(root / f"{seed}.png", seed)
        truth = draw(seed).masks
        (root / "m").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "m" / f"{seed}.png"), truth["optic_disc"].astype(np.uint8) + truth["optic_cup"])
        rows.append(f"{seed}.png,m/{seed}.png")
    (root / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    table = {"csv": "t.csv", "image_column": "image", "mask_columns": ["optic_disc=mask", "optic_cup=mask"]}
    with pytest.raises(
        DatasetError,
        match=r'row 2: m/0.png stands under optic_disc and optic_cup.*"optic_disc>=1,optic_cup=2".*levels 0',
    ):
        run_build("csv", root, tmp_path / "out", table=table)
    with pytest.raises(DatasetError, match="4 x mask m/0.png holds the grey levels 0"):
        run_build("csv", root, tmp_path / "one", table=table | {"mask_columns": ["optic_disc=mask"]})
    with pytest.raises(DatasetError, match="names lesion, which --mask_columns does not"):
        run_build("csv", root, tmp_path / "out", table=table | {"mask_values": ["lesion=1"]})
    table["mask_values"] = ["optic_disc>=1", "optic_cup=2"]
    records = run_build("csv", root, tmp_path / "out", table=table, val_fraction=0.0, test_fraction=0.0)
    for example in read_examples(records, "train"):
        cup, disc = example.mask("optic_cup"), example.mask("optic_disc")
        assert 0 < cup.sum() < disc.sum() and not (cup & ~disc).any()


@pytest.mark.parametrize(
    ("turn", "wide", "refused"),
    [(3, 0, True), (6, 0, True), (8, 0, True), (6, 30, False), (3, 30, True), (1, 0, False)],
)
def test_a_photograph_that_is_turned_by_its_exif_and_a_mask_that_is_not(
    tmp_path: Path, draw: Callable, turn: int, wide: int, refused: bool
):
    """A mask drawn on the file as it is stored would lie upside down; where the size tells, it is refused or right."""
    truth = draw(3)
    height, width = truth.image.shape[:2]
    below, beside = max(width - height, 0), max(height - width, 0) + wide  # square, or wider by `wide`
    stored = cv2.copyMakeBorder(truth.image, 0, below, 0, beside, cv2.BORDER_CONSTANT)
    mask = cv2.copyMakeBorder(
        truth.masks["optic_disc"].astype(np.uint8) * 255, 0, below, 0, beside, cv2.BORDER_CONSTANT
    )
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95)
    cv2.imwrite(str(tmp_path / "m.png"), np.ascontiguousarray(upright(cv2.merge([mask] * 3), turn)[..., 0]))
    item = Item("a", "a.jpg", "a", masks={"optic_disc": MaskSource(("m.png",), "half")})
    outcome = process(item, Settings(data_dir=str(tmp_path), image_size=64, method="crop"))
    assert (f"orientation {turn}" in outcome.reason) == refused, outcome.reason
    assert refused or outcome.record is not None
