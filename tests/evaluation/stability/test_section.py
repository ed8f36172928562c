"""The stability section of an evaluation: on stored crops, on the files that records were made from, and refused."""

from __future__ import annotations

import hashlib
import shutil

import cv2
import numpy as np
import pytest

from dr_edge import metadata, runs
from dr_edge.calibration import store
from dr_edge.data import tasks
from dr_edge.data.records import encode, shard_name
from dr_edge.data.wire import frame
from dr_edge.evaluation import flow, number_text
from dr_edge.evaluation.stability import figures, measure, sample, section
from dr_edge.perturbations.catalogue import PERTURBATIONS
from export.bundle import card_stability

QUICK = {"examples": 2, "heatmap_checks": False}
LEFT_OUT = {each.title for each in PERTURBATIONS.values() if not each.on_crops}


@pytest.fixture
def run_dir(fitted_run, tmp_path):
    return shutil.copytree(fitted_run, tmp_path / "run")


@pytest.fixture(scope="module")
def fitted_run(stand_in_run, tmp_path_factory):
    """The stand-in, trained on other pictures than its records' photographs: of these none is too unlike them."""
    directory = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(stand_in_run, directory, ignore=shutil.ignore_patterns(store.DIRECTORY, "evaluation"))
    run = runs.load_run(directory)
    store.fit_of(run, run.records)
    stored = metadata.read_manifest(directory / store.DIRECTORY, "reliability")
    stored["ood"]["threshold"] = 1e6
    metadata.write_manifest(directory / store.DIRECTORY, "reliability", stored)
    return directory


@pytest.fixture(scope="module")
def with_files(stand_in_records, tmp_path_factory):
    """Records whose test split of 8 photographs was made from files, and the directory of these."""
    from stand_in import _stand_in_record

    directory = tmp_path_factory.mktemp("with_files")
    records = shutil.copytree(stand_in_records, directory / "records")
    photographs = directory / "photographs"
    (photographs / "test").mkdir(parents=True)
    frames, rng = b"", np.random.default_rng(5)
    for index in range(8):
        record = _stand_in_record(rng, "test", index)
        crop = cv2.imdecode(np.frombuffer(record.photograph, np.uint8), cv2.IMREAD_COLOR)
        whole = cv2.copyMakeBorder(cv2.resize(crop, (256, 256)), 0, 0, 64, 64, cv2.BORDER_CONSTANT)
        data = cv2.imencode(".png", whole)[1].tobytes()
        (photographs / record.path).write_bytes(data)
        object.__setattr__(record, "sha256", hashlib.sha256(data).hexdigest())
        frames += frame(encode(record))
    (records / shard_name("test", 0, 1)).write_bytes(frames)
    manifest = metadata.read_manifest(records, "dataset")
    manifest["splits"]["test"] |= {
        "examples": 8,
        "classes": {"dr_grade": {"0": 3, "1": 1, "2": 2, "3": 1, "4": 1}, "glaucoma": {"0": 3, "1": 3, "-1": 2}},
    }
    metadata.write_manifest(records, "dataset", manifest)
    return records, photographs


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (["distance"], "1 photograph is refused as it is and left out (unlike training: 1)."),
        (
            ["too dark", "quality", "too dark"],
            "3 photographs are refused as they are and left out (too dark: 2, too poor: 1).",
        ),
    ],
)
def test_photographs_that_are_refused_as_they_are_are_counted_in_words(refused, said):
    content = {"refused_before": figures.counted(refused), "out_of_time": 0}
    rows = [(str(index), reason) for index, reason in enumerate(refused)]
    notes = section._notes(content, sample.Sample([], False), measure.Measured([], rows, (), len(rows), 0.0))
    assert notes == [said]


def test_stored_crops_are_measured_and_what_means_nothing_on_them_is_left_out_by_name(run_dir):
    content = flow.evaluate(run_dir, flow.Settings(**QUICK, stability_photographs=6))
    found = content["stability"]
    assert found["on_crops"] and found["photographs"] + sum(found["refused_before"].values()) == 6
    assert found["patients"] == found["photographs"] > 2  # one of each patient before a second of any
    assert {row["title"] for row in found["rows"]} | set(found["left_out"]) == {p.title for p in PERTURBATIONS.values()}
    assert set(found["left_out"]) == LEFT_OUT and any("stored crops" in note for note in found["notes"])
    for row in found["rows"]:
        assert row["answered"] + row["refused"] == row["photographs"] == found["photographs"]
        assert row["flips"] == row["to_negative"] + row["to_positive"] <= row["answered"]
        assert row["median"] is None or 0 <= row["median"] <= row["percentile_95"] <= 1
    assert len(found["worst"]) == 3
    assert found["sentence"] in number_text.said(content)
    page = (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert "The same eye, the same answer?" in page and "Gamma 1.25" in page and "The largest changes" in page
    card = "\n".join(card_stability.lines(runs.load_run(run_dir)))
    worst = [row for row in found["rows"] if row["name"] in found["worst"]]
    assert all(f"- {row['title']}: {row['flips']} of {row['answered']}" in card for row in worst)
    assert "stored crops, not the files" in card


def test_files_are_measured_as_they_are_and_those_that_changed_are_not(run_dir, with_files, tmp_path):
    records, directory = with_files
    photographs = shutil.copytree(directory, tmp_path / "photographs")
    files = sorted((photographs / "test").iterdir())
    files[0].unlink()
    files[1].write_bytes(files[2].read_bytes())
    settings = flow.Settings(**QUICK, records=str(records), photographs=str(photographs), stability_minutes=10)
    found = flow.evaluate(run_dir, settings)["stability"]
    assert not found["on_crops"] and found["left_out"] == [] and len(found["rows"]) == len(PERTURBATIONS)
    assert (found["missing"], found["changed"], found["drawn"]) == (1, 1, 6)
    assert found["photographs"] == 6 - sum(found["refused_before"].values()) > 0
    assert any("another content" in note for note in found["notes"])
    by_name = {row["name"]: row for row in found["rows"]}
    for name in ("exif_3", "exif_6", "exif_8"):
        assert by_name[name]["flips"] == 0 and by_name[name]["refused"] == 0
        assert by_name[name]["percentile_95"] <= by_name["jpeg_95"]["percentile_95"] + 0.02


def test_where_the_files_are_not_those_of_the_records_it_says_so(run_dir, with_files, tmp_path):
    records, _ = with_files
    (tmp_path / "empty").mkdir()
    for directory, said in ((tmp_path / "nowhere", "is no directory"), (tmp_path / "empty", "holds none of the photo")):
        with pytest.raises(ValueError, match=said):
            flow.evaluate(run_dir, flow.Settings(**QUICK, records=str(records), photographs=str(directory)))
    assert not (run_dir / "evaluation" / "test").exists()


def test_a_path_that_leads_out_of_the_directory_is_not_followed(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.png").write_bytes(b"x")
    assert sample._inside(tmp_path / "inside", "../outside.png") is None
    assert sample._inside(tmp_path / "inside", "eye.png") == (tmp_path / "inside" / "eye.png").resolve()


def test_where_no_photograph_is_answered_as_it_is_the_report_says_so(stand_in_run, tmp_path):
    """The stand-in calls all stored photographs unlike those that it was trained on."""
    run = shutil.copytree(stand_in_run, tmp_path / "run", ignore=shutil.ignore_patterns(store.DIRECTORY))
    found = flow.evaluate(run, flow.Settings(**QUICK, stability_photographs=3))["stability"]
    assert found == {"reason": "none of 3 stored crops is answered as it is (distance)"}
    assert "none of 3 stored crops is answered" in (run / "evaluation" / "test" / "report.html").read_text()


def test_switched_off_it_is_named_so_in_report_and_card(run_dir, tmp_path):
    content = flow.evaluate(run_dir, flow.Settings(**QUICK, stability=False))
    assert "--nostability" in content["stability"]["reason"]
    assert "Not measured: it was switched off" in (run_dir / "evaluation" / "test" / "report.html").read_text()
    assert "switched off" in card_stability.lines(runs.load_run(run_dir))[0]
    with pytest.raises(ValueError, match="--nostability switches off"):
        flow.evaluate(run_dir, flow.Settings(**QUICK, stability=False, photographs=str(tmp_path)))


def test_without_an_evaluation_of_this_model_the_card_says_how_to_get_one(run_dir):
    assert "Not measured" in card_stability.lines(runs.load_run(run_dir))[0]


def test_masks_are_not_measured_and_the_report_says_why(write_run, tmp_path):
    import keras

    image = keras.Input((64, 64, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="logits")(image))
    run = write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model)
    content = flow.evaluate(run, flow.Settings(examples=0))
    assert "masks and points move" in content["stability"]["reason"]
    assert "masks and points move" in (run / "evaluation" / "test" / "report.html").read_text()
    with pytest.raises(ValueError, match="Leave it out"):
        flow.evaluate(run, flow.Settings(examples=0, photographs=str(tmp_path)))


def test_a_sample_takes_one_photograph_of_each_patient_before_a_second():
    patients = np.array(["a"] * 5 + ["b"] * 2 + ["c"])
    drawn = sample.order(patients)
    assert sorted(drawn) == list(range(8))
    assert set(patients[drawn[:3]]) == {"a", "b", "c"} and set(patients[drawn[3:5]]) == {"a", "b"}
    assert np.array_equal(drawn, sample.order(patients))
    first = {int(sample.order(patients, seed)[0]) for seed in range(40)}
    assert len(first) > 3  # drawn, not read off the order of the records
