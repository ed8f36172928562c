"""The evaluate command on records that the run was not trained on, or where its own are gone or lack a split."""

from __future__ import annotations

import shutil

import pytest

from dr_edge import metadata
from dr_edge.calibration import store
from dr_edge.data import tasks
from dr_edge.evaluation import flow, request


@pytest.fixture
def run_dir(stand_in_run, tmp_path):
    """A run of which nothing was fitted yet; that of the session may have been exported by another test."""
    return shutil.copytree(stand_in_run, tmp_path / "run", ignore=shutil.ignore_patterns(store.DIRECTORY))


def lose_records(run_dir):
    """As where a run directory was copied to another machine."""
    content = metadata.read_manifest(run_dir, "run")
    metadata.write_manifest(run_dir, "run", content | {"records": str(run_dir / "gone")})


def test_external_records_are_judged_by_the_runs_own_validation(run_dir, hospital):
    """Thresholds, temperature and distance must not come from the images of another hospital."""
    other = hospital
    for path in [*other.glob("val-*"), *other.glob("train-*")]:
        path.unlink()
    quick = flow.Settings(records=str(other), examples=0, heatmap_checks=False, stability=False)
    content = flow.evaluate(run_dir, quick)
    own = flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    for part in ("operating_points", "calibration", "out_of_distribution"):
        assert content[part] == own[part]
    assert not content["trained_on_these_records"] and own["trained_on_these_records"]
    flow.evaluate(run_dir, quick)
    assert "not the records" in (run_dir / "evaluation" / "test" / "report.html").read_text()


@pytest.mark.parametrize("with_validation", [True, False])
def test_a_run_without_its_records_keeps_its_own_thresholds(run_dir, hospital, with_validation):
    own = flow.evaluate(run_dir, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    lose_records(run_dir)
    if not with_validation:
        next(hospital.glob("val-*")).unlink()
    content = flow.evaluate(
        run_dir, flow.Settings(records=str(hospital), examples=2, heatmap_checks=False, stability=False)
    )
    for part in ("operating_points", "calibration", "out_of_distribution"):  # its test photographs are the same
        assert content[part] == own[part]
    assert content["fitted"] == {"on_own_records": True, "reason": ""} and content["notes"] == []
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert "The exported model has this temperature built in" in page and "of these records" not in page


def test_thresholds_that_come_from_the_judged_records_are_called_so(run_dir, hospital, caplog):
    lose_records(run_dir)
    content = flow.evaluate(
        run_dir, flow.Settings(records=str(hospital), examples=2, heatmap_checks=False, stability=False)
    )
    assert content["operating_points"] and content["fitted"]["on_own_records"] is False
    assert not (run_dir / store.DIRECTORY).exists()
    assert any("which it was not trained on" in record.getMessage() for record in caplog.records)
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert content["notes"] == [request.FITTED_HERE] and request.FITTED_HERE in page
    assert "36 validation images of these records" in page and "training images of these records" in page
    assert "The exported model" not in page


def test_thresholds_are_not_chosen_on_another_hospital(write_run, make_model, hospital, stand_in_records, tmp_path):
    """Diseases: their thresholds are not stored, so that they are left out where the run's records are gone; grades:
    they are.
    """
    grades = write_run(tmp_path / "grades", tasks.dr_grade(), make_model(5))
    own = flow.evaluate(grades, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    lose_records(grades)
    elsewhere = flow.evaluate(
        grades, flow.Settings(records=str(hospital), examples=0, heatmap_checks=False, stability=False)
    )
    thresholds = [[point["threshold"] for point in content["operating_points"]] for content in (own, elsewhere)]
    assert len(thresholds[0]) > 1 and thresholds[0] == thresholds[1] and elsewhere["notes"] == []
    task = tasks.diseases(("glaucoma",))
    run = write_run(tmp_path / task.name, task, make_model(len(task.class_names)))
    own = flow.evaluate(run, flow.Settings(examples=0, heatmap_checks=False, stability=False))
    lose_records(run)
    elsewhere = flow.evaluate(
        run, flow.Settings(records=str(hospital), examples=0, heatmap_checks=False, stability=False)
    )
    assert own["operating_points"] and elsewhere["operating_points"] == []
    assert elsewhere["notes"] == [flow.NO_THRESHOLDS] and elsewhere["calibration"] == own["calibration"]
    assert flow.NO_THRESHOLDS in (run / "evaluation" / "test" / "report.html").read_text()
    moved = flow.evaluate(
        run, flow.Settings(records=str(stand_in_records), examples=0, heatmap_checks=False, stability=False)
    )
    assert moved["operating_points"] == own["operating_points"] and moved["notes"] == []
    shutil.rmtree(run / store.DIRECTORY)
    there = flow.evaluate(run, flow.Settings(records=str(hospital), examples=0, heatmap_checks=False, stability=False))
    assert there["operating_points"] and there["notes"] == [request.FITTED_HERE]


def test_records_that_are_gone_or_lack_validation(run_dir, stand_in_records, tmp_path):
    other = shutil.copytree(stand_in_records, tmp_path / "records")
    next(other.glob("val-*")).unlink()
    lose_records(run_dir)
    with pytest.raises(ValueError, match="--records=DIR"):
        flow.evaluate(run_dir, flow.Settings())
    content = flow.evaluate(
        run_dir, flow.Settings(records=str(other), examples=2, heatmap_checks=False, stability=False)
    )
    assert content["operating_points"] == [] and content["calibration"]["temperature"] is None
    assert "no validation split" in content["out_of_distribution"]["reason"]
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert page.count("no validation split") == 2 and "Familiar images" in page
