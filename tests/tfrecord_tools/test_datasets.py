"""Each adapter on its published layout, drawn photographs in the place of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from built_data import built, listed, save_sheet

from tfrecord_tools.catalogue import DATASETS, list_dataset
from tfrecord_tools.datasets.odir import read_labels, split_keywords
from tfrecord_tools.items import DatasetError, Request

Save = Callable[..., Path]


def test_every_data_set_is_reachable_and_unknown_ones_get_a_hint(tmp_path: Path):
    assert len(DATASETS) == 14
    with pytest.raises(ValueError, match="Did you mean eyepacs"):
        list_dataset("eyepack", Request(tmp_path))
    for name in set(DATASETS) - {"synthetic"}:
        with pytest.raises(DatasetError, match="is empty"):
            list_dataset(name, Request(tmp_path))


def test_synthetic_seeds_pair_into_patients():
    listing, items = listed("synthetic", None, limit=6, seed=3)
    assert len(listing.items) == 6 and len({item.patient for item in listing.items}) == 3
    _, others = listed("synthetic", None, limit=6, seed=4)
    assert not {item.seed for item in items.values()} & {item.seed for item in others.values()}


def test_aptos(tmp_path: Path, save_photo: Save):
    save_photo(tmp_path / "train_images" / "a1.png", 1)
    save_photo(tmp_path / "train_images" / "b2.png", 2)
    (tmp_path / "train.csv").write_text("id_code,diagnosis\na1,4\nc3,0\n", encoding="utf-8")
    listing, items = listed("aptos", tmp_path)
    assert dict(items["a1"].labels) == {"dr_grade": 4}
    assert dict(listing.rejected) == {
        "train_images/c3": "train.csv, row 3 (c3): the photograph is missing",
        "train_images/b2.png": "no row in train.csv",
    }
    (tmp_path / "train.csv").write_text("id_code,diagnosis\na1,5\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"row 2 \(a1\): unknown label '5'"):
        listed("aptos", tmp_path)


def test_eyepacs_with_and_without_its_official_test(tmp_path: Path, save_photo: Save):
    for side in ("left", "right"):
        save_photo(tmp_path / "train" / f"10_{side}.jpeg", 1)
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,2\n", encoding="utf-8")
    _, items = listed("eyepacs", tmp_path)
    assert [(item.patient, item.laterality, item.split) for item in items.values()] == [
        ("10", "left", None),
        ("10", "right", None),
    ]
    save_photo(tmp_path / "test" / "7_left.jpeg", 2)
    (tmp_path / "retinopathy_solution.csv").write_text("image,level,Usage\n7_left,3,Private\n", encoding="utf-8")
    _, items = listed("eyepacs", tmp_path)
    assert (items["7_left"].split, items["10_left"].split) == ("test", "train")
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,two\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="unknown label 'two'"):
        listed("eyepacs", tmp_path)


def write_idrid_part(root: Path, part: str, save_photo: Save, names: dict[str, list[str]], side: int = 128) -> None:
    for folder, files in names.items():
        for seed, file in enumerate(files):
            save_photo(root / part / "1. Original Images" / folder / file, seed + 10 * len(folder), side)


def test_idrid_grading_beside_the_other_parts(tmp_path: Path, save_photo: Save):
    names = {"a. Training Set": ["IDRiD_001.jpg", "IDRiD_003.jpg"], "b. Testing Set": ["IDRiD_001.jpg"]}
    for part in ("A. Segmentation", "B. Disease Grading"):
        write_idrid_part(tmp_path, part, save_photo, names)
    truth = tmp_path / "B. Disease Grading" / "2. Groundtruths"
    truth.mkdir()
    head = "Image name,Retinopathy grade,Risk of macular edema ,,,\r\n"
    train = truth / "a. IDRiD_Disease Grading_Training Labels.csv"
    train.write_bytes((head + "IDRiD_001,3,2,,,\r\nIDRiD_003,0,0,,,\r\n").encode())
    (truth / "b. IDRiD_Disease Grading_Testing Labels.csv").write_bytes((head + "IDRiD_001,1,1,,,\r\n").encode())
    _, items = listed("idrid", tmp_path)
    assert {name: (item.split, dict(item.labels)) for name, item in items.items()} == {
        "train/IDRiD_001": ("train", {"dr_grade": 3, "macular_oedema_risk": 2}),
        "train/IDRiD_003": ("train", {"dr_grade": 0, "macular_oedema_risk": 0}),
        "test/IDRiD_001": ("test", {"dr_grade": 1, "macular_oedema_risk": 1}),
    }
    assert all(item.path.startswith("B. Disease Grading/") for item in items.values())
    assert listed("idrid", tmp_path / "B. Disease Grading")[1].keys() == items.keys()


def test_idrid_localisation_centres(tmp_path: Path, save_photo: Save):
    names = {"a. Training Set": ["IDRiD_001.jpg", "IDRiD_002.jpg"], "b. Testing Set": ["IDRiD_001.jpg"]}
    write_idrid_part(tmp_path, "C. Localization", save_photo, names)
    truth = tmp_path / "C. Localization" / "2. Groundtruths"
    head = "Image No,X- Coordinate,Y - Coordinate,,\r\n"
    for part, letter, line in (
        ("Training", "a", "IDRiD_001,51,61,,\r\n,,,,\r\n"),
        ("Testing", "b", "IDRiD_001,41,31\r\n"),
    ):
        disc = truth / "1. Optic Disc Center Location" / f"{letter}. IDRiD_OD_Center_{part} Set_Markups.csv"
        fovea = truth / "2. Fovea Center Location" / f"IDRiD_Fovea_Center_{part} Set_Markups.csv"
        for path in (disc, fovea):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(head + line, encoding="utf-8")
    listing, items = listed("idrid_localisation", tmp_path)
    assert items["train/IDRiD_001"].centres == {"optic_disc": (50.0, 60.0), "fovea": (50.0, 60.0)}
    assert items["test/IDRiD_001"].centres["fovea"] == (40.0, 30.0)
    assert [reason for _, reason in listing.rejected] == ["no centre in the CSV files"]
    disc.write_text(head + "IDRiD_001,left,3\r\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"row 2 \(IDRiD_001\): no coordinates"):
        listed("idrid_localisation", tmp_path)


def test_messidor_twelve_archives_and_errata(tmp_path: Path, save_photo: Save, write_xls):
    names = ["20051019_38557_0100_PP", "20051020_63045_0100_PP", "20060101_00000_0100_PP"]
    head = ["Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema "]
    tables: dict[str, list[list]] = {"Base11": [head], "Base12": [head]}
    for seed, (base, name) in enumerate(zip(("Base11", "Base12", "Base12"), names, strict=True)):
        save_photo(tmp_path / base / f"{name}.tif", seed)
        tables[base].append([f"{name}.tif", "Lariboisiere", 3.0, 1.0])
    tables["Base11"].append(["gone.tif", "Lariboisiere", 0.0, 0.0])
    for base, rows in tables.items():
        write_xls(tmp_path / base / f"Annotation_{base}.xls", rows)
    listing, items = listed("messidor", tmp_path)
    assert [items[name].labels["messidor_grade"] for name in names] == [3, 0, 3]
    assert items[names[0]].labels["macular_oedema_risk"] == 1
    assert [reason for _, reason in listing.rejected] == [
        "Annotation_Base11.xls, row 3 (gone.tif): the photograph is missing"
    ]


def test_messidor2_pairs_and_gradability(tmp_path: Path, save_photo: Save):
    for seed, name in enumerate(("20051020_1_PP.png", "20051020_2_PP.png", "IM000001.JPG")):
        save_photo(tmp_path / "IMAGES" / name, seed)
    (tmp_path / "messidor_data.csv").write_text(
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
        "20051020_1_PP.tif,2,1,1\n20051020_2_PP.tif,,,0\nIM000001.jpg,0,0,1\n",
        encoding="utf-8",
    )
    pairs = tmp_path / "messidor-2.csv"
    pairs.write_text("left;right\n20051020_1_PP.tif;20051020_2_PP.tif\n", encoding="utf-8")
    listing, items = listed("messidor2", tmp_path)
    assert (items["20051020_1_PP"].patient, items["20051020_1_PP"].laterality) == (
        "examination-20051020_1_pp",
        "left",
    )
    assert items["IM000001"].patient == "IM000001"
    assert dict(items["20051020_1_PP"].labels) == {"dr_grade": 2, "referable_macular_oedema": 1}
    assert "ungradable" in dict(listing.rejected)["IMAGES/20051020_2_PP.png"]
    pairs.write_text("20051020_1_PP.tif;20051020_2_PP.tif\n20051020_1_PP.tif;IM000001.jpg\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 2: 20051020_1_pp is in two pairs"):
        listed("messidor2", tmp_path)
    pairs.unlink()
    with pytest.raises(DatasetError, match=r"messidor-2.csv, the pairs of eyes"):
        listed("messidor2", tmp_path)


def test_odir_labels_come_from_the_keywords_of_each_eye(tmp_path: Path, save_photo: Save):
    folder = tmp_path / "ODIR-5K_Training_Dataset"
    for seed, name in enumerate(("0_left", "0_right", "1_left", "1_right")):
        save_photo(folder / f"{name}.jpg", seed)
    head = [
        "ID",
        "Patient Age",
        "Left-Fundus",
        "Right-Fundus",
        "Left-Diagnostic Keywords",
        "Right-Diagnostic Keywords",
        "N",
        "D",
    ]
    save_sheet(
        tmp_path / "ODIR-5K_Training_Annotations(Updated)_V2.xlsx",
        [head,
         [0, 60, "0_left.jpg", "0_right.jpg", "cataract\uff0cmoderate non proliferative retinopathy", "normal fundus",
         0, 1],
         [1, 50, "1_left.jpg", "1_right.jpg", "glaucoma,diabetic retinopathy", "anterior segment image", 0, 1]],
    )  # fmt: skip
    listing, items = listed("odir", tmp_path)
    assert dict(items["0_left"].labels) == {"dr_grade": 2, "diabetic_retinopathy": 1, "glaucoma": 0}
    assert dict(items["0_right"].labels) == {"dr_grade": 0, "diabetic_retinopathy": 0, "glaucoma": 0}
    assert dict(items["1_left"].labels) == {"dr_grade": -1, "diabetic_retinopathy": 1, "glaucoma": 1}
    assert items["0_left"].patient == items["0_right"].patient == "0"
    assert dict(listing.rejected) == {
        "ODIR-5K_Training_Dataset/1_right.jpg": "its keywords say: anterior segment image"
    }


def test_odir_suspicion_is_no_label():
    assert split_keywords("Suspected Glaucoma\uff0c lens dust,") == ["suspected glaucoma", "lens dust"]
    assert read_labels(["suspected glaucoma"]) == {"dr_grade": 0, "diabetic_retinopathy": 0, "glaucoma": -1}
    assert read_labels(["suspected diabetic retinopathy"])["dr_grade"] == -1
    assert read_labels(["hypertensive retinopathy"])["diabetic_retinopathy"] == 0


def test_folder_per_class(tmp_path: Path, save_photo: Save):
    for name in ("normal/1_left.jpg", "normal/1_right.jpg", "glaucoma/a.png"):
        save_photo(tmp_path / name, 1)
    (tmp_path / "empty").mkdir()
    listing, items = listed("folder", tmp_path)
    assert list(listing.labels["class"]) == ["glaucoma", "normal"]
    assert items["normal/1_left.jpg"].labels["class"] == 1 and items["normal/1_left.jpg"].patient == "1"
    assert items["normal/1_right.jpg"].laterality == "right"
    assert dict(listing.rejected) == {"empty": "the folder holds no photograph; not a class"}


def test_folder_with_splits_on_top(tmp_path: Path, save_photo: Save):
    for name in ("train/a/1.png", "train/b/2.png", "valid/a/3.png", "test/b/4.png"):
        save_photo(tmp_path / name, 1)
    _, items = listed("folder", tmp_path)
    assert [item.split for _, item in sorted(items.items())] == ["test", "train", "train", "val"]
    save_photo(tmp_path / "other" / "x.png", 1)
    with pytest.raises(DatasetError, match="mixes splits and other folders"):
        listed("folder", tmp_path)


def test_csv_table(tmp_path: Path, save_photo: Save, save_grey, draw, run_build):
    root = tmp_path / "data"
    for seed, name in enumerate(("a", "b", "c")):
        save_photo(root / "img" / f"{name}.png", seed)
    save_grey(root / "m" / "a.png", draw(0).masks["optic_disc"])
    (root / "t.csv").write_text(
        "file,grade,dx,who,part,eye,disc\nimg/a.png,2,sick,p1,train,left,m/a.png\n"
        "img/b.png,0,well,p2,test,right,\nimg/c.png,,well,p3,train,,\n",
        encoding="utf-8",
    )
    table = {
        "csv": "t.csv", "image_column": "file", "label_columns": ["grade", "dx"], "patient_column": "who",
        "split_column": "part", "laterality_column": "eye", "mask_columns": ["disc"],
    }  # fmt: skip
    listing, items = listed("csv", root, table=table)
    assert dict(listing.labels) == {"grade": ("0", "1", "2"), "dx": ("sick", "well")}
    assert dict(items["img/a.png"].labels) == {"grade": 2, "dx": 0} and items["img/c.png"].labels["grade"] == -1
    examples = built(run_build("csv", root, tmp_path / "out", table=table, val_fraction=0.0))
    assert examples["img/a.png"][1].mask("disc").any() and examples["img/b.png"][0] == "test"


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        ({"csv": None}, "f,g\na,1\n", "needs --csv=FILE"),
        (
            {"csv": None, "image_column": None, "label_columns": []},
            "f,g\na,1\n",
            r"needs --csv=FILE, --image_column=NAME, --label_columns or",
        ),
        ({"label_columns": []}, "f,g\na,1\n", "what is there to learn"),
        ({}, "f,g\na,1\nb,two\n", "g mixes numbers and names"),
        ({}, "f,g\na,\n", "column g is empty. Leave it out"),
        ({"image_column": "photo"}, "f,g\na,1\n", "no column for --image_column=photo; it has f, g"),
        ({"split_column": "g"}, "f,g\na,1\n", "unknown g '1'. Known"),
        ({}, "f,g\n,1\n", "row 2: the photograph's name is empty"),
        ({}, "f,g\na,-1\n", "g holds '-1'"),
        ({}, "f,g\na,2.5\n", "g holds '2.5'"),
    ],
)
def test_csv_table_mistakes(tmp_path: Path, changes: dict, text: str, message: str):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / name).touch()
    table = {"csv": "t.csv", "image_column": "f", "label_columns": ["g"], **changes}
    with pytest.raises(DatasetError, match=message):
        listed("csv", tmp_path, table=table)
