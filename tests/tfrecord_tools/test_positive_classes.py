"""Which classes a build takes for the disease: as its names or --positive say; where neither does, it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfrecord_tools.items import DatasetError
from tfrecord_tools.positive_classes import disease_lines, positive_classes, undecided

TABLE = {"glaucoma": ("0", "1"), "dr_grade": ("0", "1", "2", "3", "4"), "cataract": ("ei", "kyllä")}


def test_names_and_the_flag():
    assert positive_classes({"class": ("dr", "no_dr")}, ()) == {"class": ["dr"]}
    assert positive_classes(TABLE, ()) == {"glaucoma": ["1"], "dr_grade": ["2", "3", "4"], "cataract": []}
    assert positive_classes(TABLE, ["kyllä"])["cataract"] == ["kyllä"]
    assert positive_classes(TABLE, ["glaucoma=0"])["glaucoma"] == ["0"]
    assert positive_classes({"cataract": ("ja", "nein")}, ()) == {"cataract": ["ja"]}
    assert positive_classes({"class": ("A", "B", "C")}, ["C", "A"]) == {"class": ["A", "C"]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["sick"], "no class is called so"),
        (["1"], "Write --positive=glaucoma=1"),
        (["ei", "kyllä"], "all classes"),
        (["glaucoma=2"], "no class"),
    ],
)
def test_what_the_flag_may_not_say(given, says):
    with pytest.raises(DatasetError, match=says):
        positive_classes(TABLE, given)


def test_what_is_said():
    found = positive_classes(TABLE, ())
    assert disease_lines(TABLE, found) == [
        "glaucoma: Disease: 1; without it: 0", "dr_grade: Referable: 2, 3, 4; not referable: 0, 1"
    ]  # fmt: skip
    (text,) = undecided(TABLE, found)
    assert text.startswith("cataract: the names ei, kyllä do not say") and "--positive=cataract=NAME (" in text
    (text,) = undecided({"DR Stadium": ("keine", "mild")}, {"DR Stadium": []})
    # Copied as it stood, it called the healthy ill.
    assert '--positive="DR Stadium=NAME"' in text and "=keine" not in text


def folder_of(save_photo, directory, *classes: str) -> dict[str, Any]:
    """Saves six photographs of each class and returns the options of a build of them."""
    for index, name in enumerate(classes):
        for number in range(6):
            save_photo(directory / "photographs" / name / f"{name}{number}.png", 50 * index + number)
    return {
        "dataset": "folder",
        "data_dir": directory / "photographs",
        "image_size": 64,
        "preprocess": "crop",
        "workers": 1,
    }


def test_a_build_states_it(run_build, save_photo, tmp_path, capsys):
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    options = folder_of(save_photo, tmp_path, "A", "B")
    said = build(BuildOptions(out=tmp_path / "asked", **options))
    assert "do not say which class is the disease" in said and "next:" not in said
    assert json.loads((tmp_path / "asked" / "dataset.json").read_text())["positive"] == {"class": []}
    said = build(BuildOptions(out=tmp_path / "told", positive=("A",), **options))
    assert (
        "class: Disease: A; without it: B" in said
        and "class_names" not in said
        and "next: python -m dr_edge.train" in said
    )
    content = json.loads((tmp_path / "told" / "dataset.json").read_text())
    assert content["positive"] == {"class": ["A"]} and content["arguments"]["positive"] == ["A"]
    with pytest.raises(ValueError, match="for --dataset=folder and csv only"):
        build(BuildOptions(dataset="synthetic", data_dir=None, out=tmp_path / "no", positive=("A",), limit=4))


def test_a_healthy_class_called_the_disease_is_the_last_word_of_a_build(run_build, save_photo, tmp_path):
    """--positive=normal beside glaucoma was obeyed and printed in one line among others."""
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    options = folder_of(save_photo, tmp_path, "glaucoma", "normal")
    last = build(BuildOptions(out=tmp_path / "turned", positive=("normal",), **options)).splitlines()[-1]
    assert last.startswith(
        "CAUTION: class: 'normal' was called the disease, and reads as healthy; 'glaucoma' reads as a disease"
    )
    assert json.loads((tmp_path / "turned" / "dataset.json").read_text())["positive"] == {"class": ["normal"]}
    assert "CAUTION" not in build(BuildOptions(out=tmp_path / "right", positive=("glaucoma",), **options))
