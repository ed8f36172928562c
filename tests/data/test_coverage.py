"""Classes that a split lacks are said, and training without one is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dr_edge import metadata
from dr_edge.data import coverage, tasks
from dr_edge.data.records_info import RecordsInfo

LABEL = tasks.label("class").resolve(("healthy", "sick", "other"))


def info_of(**splits: dict) -> RecordsInfo:
    content = {
        "labels": {"class": ["healthy", "sick", "other"], "glaucoma": ["absent", "present"]},
        "masks": ["optic_disc", "optic_cup"],
        "splits": {name: {"examples": 0, "classes": {}, **content} for name, content in splits.items()},
    }
    return RecordsInfo("R", 64, {"method": "crop"}, content)


def counts(**classes: dict) -> dict:
    return {"examples": sum(next(iter(classes.values())).values()), "classes": classes}


WITHOUT_SICK = info_of(
    train=counts(**{"class": {"0": 5, "2": 3, "1": 0}}),
    val=counts(**{"class": {"0": 1, "1": 1, "2": 1}}),
    test=counts(**{"class": {"0": 1}}),
)


def test_a_class_without_training_photograph_is_refused_by_name():
    with pytest.raises(
        ValueError, match=r"R holds no training photograph of 'sick' \(val hold some\).*smaller --val_fraction"
    ):
        coverage.check_training_classes(WITHOUT_SICK, LABEL)
    coverage.check_training_classes(info_of(train=counts(**{"class": {"0": 1, "1": 1, "2": 1}})), LABEL)


def test_a_mapping_needs_each_of_its_classes():
    healthy = tasks.Task("t", "classification", ("well", "ill"), labels=("class",), mapping=(0, 1, 1))
    coverage.check_training_classes(WITHOUT_SICK, healthy)
    with pytest.raises(ValueError, match="'ill'"):
        coverage.check_training_classes(info_of(train=counts(**{"class": {"0": 9}})), healthy)


def test_a_disease_needs_both_answers():
    task = tasks.diseases(("glaucoma",))
    coverage.check_training_classes(info_of(train=counts(glaucoma={"0": 3, "1": 1})), task)
    with pytest.raises(ValueError, match="'glaucoma' present"):
        coverage.check_training_classes(info_of(train=counts(glaucoma={"0": 3, "1": 0})), task)


def test_masks_that_no_training_photograph_has_are_refused():
    task = tasks.optic_disc_and_cup()
    held = {"examples": 4, "masks": {"optic_disc": 4, "optic_cup": 0}}
    with pytest.raises(ValueError, match="mask of 'optic_cup'"):
        coverage.check_training_classes(info_of(train=held), task)
    coverage.check_training_classes(info_of(train={"examples": 4}), task)  # records of before did not count them


def test_cautions_of_the_other_splits():
    assert coverage.cautions(WITHOUT_SICK, "val", LABEL) == []
    assert "test split of R holds no 'sick', 'other'" in coverage.cautions(WITHOUT_SICK, "test", LABEL)[0]
    empty = info_of(test={})
    assert "no test example" in coverage.cautions(empty, "test", LABEL)[0]
    with pytest.raises(ValueError, match="larger --test_fraction"):
        coverage.check_not_empty(empty, "test", LABEL)


@pytest.fixture
def thinned(stand_in_records: Path, tmp_path: Path) -> Path:
    """`stand_in_records` whose manifest states no training photograph of grades 2 to 4 and an empty test split."""
    other = shutil.copytree(stand_in_records, tmp_path / "thinned")
    content = metadata.read_manifest(other, "dataset")
    content["splits"]["train"]["classes"]["dr_grade"] = {"0": 30, "1": 6}
    content["splits"]["test"] |= {"examples": 0, "classes": {}}
    metadata.write_manifest(other, "dataset", content)
    return other


def test_train_refuses_before_it_writes(thinned: Path, tmp_path: Path):
    from dr_edge.training import loop, optimizers

    with pytest.raises(ValueError, match=r"no training photograph of 'referable' \(val hold some\)"):
        loop.train(
            records=str(thinned), run_dir=str(tmp_path / "run"), task=tasks.referable_dr(), model=lambda *_: None,
            epochs=1, batch_size=4, learning_rate=optimizers.constant,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_evaluate_refuses_an_empty_split(thinned: Path, stand_in_run: Path, tmp_path: Path):
    from dr_edge.evaluation import flow

    run = shutil.copytree(stand_in_run, tmp_path / "run")
    with pytest.raises(ValueError, match="no test example for the task 'referable_dr'"):
        flow.evaluate(run, flow.Settings("test", str(thinned), 8, 0, False))


def test_records_that_do_not_say_what_kinds_of_photographs_they_hold_are_named():
    (said,) = coverage.kinds_not_stated(WITHOUT_SICK)
    assert "colour, greyscale or normalised" in said and "Build the records again" in said
    stated = RecordsInfo("R", 64, {"method": "crop"}, {**WITHOUT_SICK.content, "pictures": {"colour": 9}})
    graham = RecordsInfo("R", 64, {"method": "graham"}, WITHOUT_SICK.content)  # takes photographs in colour alone
    assert coverage.kinds_not_stated(stated) == coverage.kinds_not_stated(graham) == []
