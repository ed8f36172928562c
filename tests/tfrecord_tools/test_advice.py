"""Mirrors of published data sets get the command that reads them, and that command does."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.items import DatasetError, Listing, Request


def put(root: Path, *names: str, **texts: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text, encoding="utf-8")


def advised(dataset: str, root: Path) -> tuple[str, Listing]:
    """Returns the command that the error shows, and what it lists."""
    with pytest.raises(DatasetError) as caught:
        list_dataset(dataset, Request(root, out=root.parent / "records"))
    line = next(line for line in str(caught.value).splitlines() if line.strip().startswith("python -m"))
    flags = dict(part[2:].split("=", 1) for part in shlex.split(line)[3:])
    table = {
        name: value.split(",") if name in ("label_columns", "mask_columns", "mask_values") else value
        for name, value in flags.items()
        if name not in ("dataset", "data_dir", "out")
    }
    return line.strip(), list_dataset(flags["dataset"], Request(Path(flags["data_dir"]), table=table))


def grades(listing: Listing) -> dict[str, int]:
    return {item.image_id: item.labels["dr_grade"] for item in listing.items}


def test_aptos_in_three_renamed_tables(tmp_path: Path):
    root = tmp_path / "d"
    put(
        root, *(f"{part}_images/{part}_images/{part[:2]}{n}.png" for part in ("train", "val", "test") for n in range(4))
    )
    for name, part in (("train_1", "train"), ("valid", "val"), ("test", "test")):
        put(root, **{f"{name}__csv": "id_code,diagnosis\n" + "".join(f"{part[:2]}{n},{n}\n" for n in range(4))})
    line, listing = advised("aptos", root)
    assert "--csv=train_1.csv,valid.csv,test.csv --image_column=id_code --label_columns=dr_grade=diagnosis" in line
    assert {item.image_id: item.split for item in listing.items}["va2"] == "val" and grades(listing)["te3"] == 3


def test_aptos_resized_in_coloured_class_folders(tmp_path: Path):
    root = tmp_path / "d"
    names = ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")
    put(root, *(f"colored_images/{name}/{grade}{n}ab.png" for grade, name in enumerate(names) for n in range(3)))
    put(
        root,
        train__csv="id_code,diagnosis\n" + "".join(f"{grade}{n}ab,{grade}\n" for grade in range(5) for n in range(3)),
    )
    _, listing = advised("aptos", root)
    assert grades(listing)["40ab"] == 4 and len(listing.items) == 15
    (root / "train.csv").unlink()
    line, listing = advised("aptos", root)
    assert "--dataset=folder" in line and {item.labels["dr_grade"] for item in listing.items} == set(range(5))


def test_eyepacs_resized_twice(tmp_path: Path):
    root = tmp_path / "d"
    eyes = [f"{n}_{side}" for n in range(4) for side in ("left", "right")]
    put(root, *(f"{place}/{place}/{eye}.jpeg" for place in ("resized_train", "resized_train_cropped") for eye in eyes))
    put(root, trainLabels_resized__csv=",image,level\n" + "".join(f"{n},{eye},{n % 5}\n" for n, eye in enumerate(eyes)))
    line, listing = advised("eyepacs", root)
    assert f"--data_dir={root}/resized_train/resized_train " in line and "dr_grade=level" in line
    assert len({item.patient for item in listing.items}) == 4


def test_messidor2_with_other_columns(tmp_path: Path):
    root = tmp_path / "d"
    put(root, *(f"messidor-2/preprocess/IM00{n}.png" for n in range(5)))
    put(
        root,
        messidor_data__csv="id_code,diagnosis,adjudicated_dme,adjudicated_gradable\n"
        + "".join(f"IM00{n}.jpg,{n},0,1\n" for n in range(5)),
    )
    line, listing = advised("messidor2", root)
    assert "--label_columns=dr_grade=diagnosis" in line and grades(listing)["IM003.jpg"] == 3


def test_refuge_without_its_tables(tmp_path: Path):
    root = tmp_path / "d"
    put(root, "train/Images/g0001.jpg", "train/Images/n0002.jpg", "train/gts/g0001.bmp", "train/gts/n0002.bmp")
    with pytest.raises(
        DatasetError,
        match=r"(?s)train/Images/g0001.jpg,train/gts/g0001.bmp.*--mask_columns=optic_disc=mask,optic_cup=mask.*optic_disc<=128,optic_cup=0",
    ):
        list_dataset("refuge", Request(root))


def test_a_folder_of_photographs_beside_a_table(tmp_path: Path):
    root = tmp_path / "d"
    put(
        root,
        *(f"images/{n}.jpg" for n in range(100, 106)),
        labels__csv="photo,glaucoma\n" + "".join(f"{n},{n % 2}\n" for n in range(100, 106)),
    )
    line, listing = advised("folder", root)
    assert "--image_column=photo --label_columns=glaucoma" in line and len(listing.items) == 6


def test_folders_of_pictures_and_masks_are_no_classes(tmp_path: Path):
    put(tmp_path, *(f"{place}/{n}.png" for place in ("images", "masks") for n in range(3)))
    with pytest.raises(DatasetError, match=r"(?s)folder of masks \(masks\).*images/0.png,masks/0.png"):
        list_dataset("folder", Request(tmp_path))


def test_nothing_is_advised_where_nothing_is_recognised_or_the_labels_are_wrong(tmp_path: Path):
    put(tmp_path / "a", "x/notes.txt")
    with pytest.raises(DatasetError) as caught:
        list_dataset("aptos", Request(tmp_path / "a"))
    assert "python -m" not in str(caught.value)
    put(tmp_path / "b", "train_images/a.png", train__csv="id_code,diagnosis\na,5\n")
    with pytest.raises(DatasetError) as caught:
        list_dataset("aptos", Request(tmp_path / "b"))
    assert "unknown label '5'" in str(caught.value) and "python -m" not in str(caught.value)


TYPED = ["--image_size=384", "--seed=7", "--preprocess=crop", "--workers=2"]


def proposed(*arguments: str) -> list[str]:
    """Returns the parts of the command that a failed build proposes."""
    done = subprocess.run(
        [sys.executable, "-m", "tfrecord_tools.build", *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    line = next(line for line in done.stderr.splitlines() if line.strip().startswith("python -m"))
    return shlex.split(line)


def test_what_was_typed_beside_it_stays_in_a_proposed_command(tmp_path: Path):
    """--image_size=384 --seed=7 were lost: whoever copied the command built other records than were asked for."""
    classes = tmp_path / "classes"
    put(classes, *(f"coloured/{grade}/{grade}{n}.png" for grade in ("No_DR", "Mild", "Severe") for n in range(2)))
    folders = proposed("--dataset=aptos", f"--data_dir={classes}", f"--out={tmp_path / 'r'}", *TYPED)
    assert "--dataset=folder" in folders and set(TYPED) <= set(folders)
    tables = tmp_path / "tables"
    put(tables, *(f"img/{n}.png" for n in range(4)))
    rows = "".join(f"img/{n}.png,{n % 2},{n},p{n}\n" for n in range(4))
    put(tables, labels__csv="photo,glaucoma,level,who\n" + rows)
    out = (f"--data_dir={tables}", f"--out={tmp_path / 'r'}", "--csv=labels.csv")
    lacking = proposed(
        "--dataset=csv",
        *out,
        "--label_columns=ill=glaucoma",
        "--patient_column=who",
        "--positive=ill=1",
        "--val_fraction=0.2",
        *TYPED,
    )
    kept = {
        "--label_columns=ill=glaucoma",
        "--patient_column=who",
        "--positive=ill=1",
        "--val_fraction=0.2",
        "--image_column=photo",
        *TYPED,
    }
    assert kept <= set(lacking) and f"--out={tmp_path / 'r'}" in lacking
    assert not {
        part for part in proposed("--dataset=csv", *out) if part.startswith(("--image_size", "--seed", "--workers"))
    }


def test_a_column_that_the_table_lacks_is_guessed_though_it_was_typed(tmp_path: Path):
    put(tmp_path, *(f"img/{n}.png" for n in range(4)))
    put(tmp_path, labels__csv="photo,glaucoma\n" + "".join(f"img/{n}.png,{n % 2}\n" for n in range(4)))
    table = {"csv": "labels.csv", "image_column": "photo", "label_columns": ["ill"]}
    with pytest.raises(DatasetError, match="--image_column=photo --label_columns=glaucoma .*--seed=3"):
        list_dataset("csv", Request(tmp_path, table=table, typed=("--seed=3",)))
