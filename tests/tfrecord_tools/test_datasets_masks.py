"""Adapters of data sets with masks and centres, drawn photographs in the place of the real ones."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from built_data import built, listed, save_sheet

Save = Callable[..., Path]


def rejected(records: Path) -> dict[str, str]:
    with open(records / "rejected.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def write_idrid_part(root: Path, part: str, save_photo: Save, names: dict[str, list[str]], side: int = 128) -> None:
    for folder, files in names.items():
        for seed, file in enumerate(files):
            save_photo(root / part / "1. Original Images" / folder / file, seed + 10 * len(folder), side)


def test_idrid_segmentation_masks(tmp_path: Path, save_photo: Save, save_grey, draw, run_build):
    names = {"a. Training Set": ["IDRiD_01.jpg", "IDRiD_02.jpg"], "b. Testing Set": ["IDRiD_55.jpg"]}
    root = tmp_path / "data"
    write_idrid_part(root, "A. Segmentation", save_photo, names)
    truth = root / "A. Segmentation" / "2. All Segmentation Groundtruths"
    first = draw(150)  # the seed of IDRiD_01 in write_idrid_part
    height, width = first.image.shape[:2]
    red = np.zeros((height, width, 3), np.uint8)
    red[first.masks["optic_disc"]] = (0, 0, 255)  # OpenCV writes BGR: pure red, as the real masks are
    path = truth / "a. Training Set" / "5. Optic Disc" / "IDRiD_01_OD.tif"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), red)
    exudates = np.zeros((height, width), np.uint8)
    exudates[height // 2 : height // 2 + 9, width // 2 : width // 2 + 9] = 76
    save_grey(truth / "a. Training Set" / "3. Hard Exudates" / "IDRiD_01_EX.tif", exudates)
    (truth / "b. Testing Set").mkdir()
    examples = built(run_build("idrid_segmentation", root, tmp_path / "out", val_fraction=0.0))
    split, example = examples["train/IDRiD_01"]
    assert split == "train" and examples["test/IDRiD_55"][0] == "test"
    assert example.mask("optic_disc").any() and example.mask("hard_exudates").any()
    assert not example.mask("microaneurysms").any(), "looked for and not there: an empty mask"
    assert "optic_disc" not in examples["train/IDRiD_02"][1].names("mask")
    assert "microaneurysms" in examples["train/IDRiD_02"][1].names("mask")


def test_refuge_masks_and_official_splits(tmp_path: Path, save_photo: Save, draw, run_build):
    root = tmp_path / "data"
    names = {
        "Training400/Glaucoma/g0001": "Annotation-Training400/Disc_Cup_Masks/Glaucoma",
        "Training400/Non-Glaucoma/n0001": "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma",
        "REFUGE-Validation400/V0001": "REFUGE-Validation400-GT/Disc_Cup_Masks",
        "Test400/T0001": "REFUGE-Test-GT/Disc_Cup_Masks/G",
    }
    points = {}
    for seed, (photo, folder) in enumerate(names.items()):
        save_photo(root / f"{photo}.jpg", seed)
        masks = draw(seed).masks
        grey = np.where(masks["optic_cup"], 0, np.where(masks["optic_disc"], 128, 255)).astype(np.uint8)
        mask = root / folder / f"{Path(photo).name}.bmp"
        mask.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(mask), grey)
        points[Path(photo).name] = [coordinate + 1 for coordinate in draw(seed).centres["fovea"]]
    head = ["ID", "ImgName", "Fovea_X", "Fovea_Y"]
    save_sheet(
        root / "Annotation-Training400" / "Fovea_location.xlsx",
        [head, [1, "g0001.jpg", *points["g0001"]], [2, "n0001.jpg", *points["n0001"]]],
    )
    save_sheet(
        root / "REFUGE-Validation400-GT" / "Fovea_locations.xlsx",
        [[*head, "Glaucoma Label"], [1, "V0001.jpg", *points["V0001"], 0]],
    )
    test_sheet = save_sheet(
        root / "REFUGE-Test-GT" / "Glaucoma_label_and_Fovea_location.xlsx",
        [[*head, "Label(Glaucoma=1)"], [1, "T0001.jpg", *points["T0001"], 1]],
    )
    examples = built(run_build("refuge", root, tmp_path / "out", image_size=128))
    assert {name: (split, example.label("glaucoma")) for name, (split, example) in examples.items()} == {
        "g0001": ("train", 1),
        "n0001": ("train", 0),
        "V0001": ("val", 0),
        "T0001": ("test", 1),
    }
    for seed, name in enumerate(("g0001", "n0001", "V0001", "T0001")):
        example = examples[name][1]
        top, left, bottom, right = example.numbers("image/crop_box")
        scale = 128 / (bottom - top)
        truth = draw(seed)
        expected = (np.asarray(truth.centres["fovea"]) + 0.5 - (left, top)) * scale
        np.testing.assert_allclose(example.numbers("centre/fovea"), expected, atol=0.01)
        for structure in ("optic_disc", "optic_cup"):
            area = truth.masks[structure].sum() * scale**2
            assert example.mask(structure).sum() == pytest.approx(area, rel=0.06, abs=3)
    with pytest.raises(ValueError, match="official val split, which is kept. Leave out --val_fraction"):
        run_build("refuge", root, tmp_path / "other", val_fraction=0.2)
    test_sheet.unlink()
    assert "no row in" in dict(listed("refuge", root)[0].rejected)["Test400/T0001.jpg"]


@pytest.mark.parametrize("layout", ["snapshot", "archive"])
def test_drishti_soft_maps(tmp_path: Path, save_photo: Save, save_grey, draw, run_build, layout: str):
    root = tmp_path / "data" / ("" if layout == "snapshot" else "Drishti-GS1_files")
    for seed, (part, number) in enumerate((("Training", "002"), ("Test", "001"))):
        name = f"drishtiGS_{number}"
        images = root / part / "Images" / ("ALL" if layout == "snapshot" else "")
        save_photo(images / f"{name}.png", seed)
        gt = "GT" if layout == "snapshot" or part == "Training" else "Test_GT"
        soft = np.where(draw(seed).masks["optic_disc"], 191, 64).astype(np.uint8)
        save_grey(root / part / gt / name / "SoftMap" / f"{name}_ODsegSoftmap.png", soft)
        save_grey(root / part / gt / name / "SoftMap" / f"{name}_cupsegSoftmap.png", np.full_like(soft, 64))
        centre = root / part / gt / name / "AvgBoundary" / f"{name}_diskCenter.txt"
        centre.parent.mkdir()
        centre.write_text("60 50\n", encoding="utf-8")
    if layout == "archive":
        save_sheet(
            tmp_path / "data" / "Drishti-GS1_diagnosis.xlsx",
            [
                ["Diagnosis"],
                ["Patient ID", "Drishti-GS File", "Marking 1", "Total"],
                ["P1", "drishtiGS_002'", 1, "Glaucomatous"],
                ["P2", "drishtiGS_001'", -1, "Normal"],
            ],
        )
    examples = built(run_build("drishti", tmp_path / "data", tmp_path / "out", val_fraction=0.0))
    split, example = examples["drishtiGS_002"]
    assert split == "train" and examples["drishtiGS_001"][0] == "test"
    assert example.mask("optic_disc").any() and not example.mask("optic_cup").any(), "one of four is not enough"
    assert listed("drishti", tmp_path / "data")[1]["drishtiGS_002"].centres == {"optic_disc": (50.0, 60.0)}
    if layout == "archive":
        assert (example.label("glaucoma"), example.text("patient/id")) == (1, "P1")


def test_drions_mean_of_two_contours(tmp_path: Path, save_photo: Save, draw, run_build):
    root = tmp_path / "data"
    x, y = draw(0).centres["optic_disc"]
    for number in ("001", "002"):
        save_photo(root / "images" / f"image_{number}.jpg", 0 if number == "001" else 1)
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    for expert, radius in ((1, 8), (2, 12)):
        lines = [f"{x + radius * np.cos(a):.3f} , {y + radius * np.sin(a):.3f}" for a in angles]
        path = root / "experts_anotation" / f"anotExpert{expert}_001.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
    examples = built(run_build("drions", root, tmp_path / "out", image_size=256))
    top, _, bottom, _ = examples["image_001"][1].numbers("image/crop_box")
    radius = np.sqrt(examples["image_001"][1].mask("optic_disc").sum() / np.pi) * (bottom - top) / 256
    assert radius == pytest.approx(10, abs=0.6)
    assert rejected(tmp_path / "out") == {"images/image_002.jpg": "the contour anotExpert1_002.txt is missing"}
