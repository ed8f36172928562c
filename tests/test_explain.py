"""The explain command on stand-in records, drawn photographs and bad input."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from dicom_jpeg import save_dicom

from dr_edge import metadata
from dr_edge.data import tasks
from dr_edge.explanation import flow


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two drawn fundus photographs, a text file and a plain grey picture."""
    from tfrecord_tools.synthetic import draw

    directory = tmp_path_factory.mktemp("photographs")
    for seed in (1, 2):
        image = draw.draw_fundus(seed, size=256).image
        cv2.imwrite(str(directory / f"eye [{seed}] <b>.png"), image[..., ::-1])
    (directory / "notes.txt").write_text("no picture")
    cv2.imwrite(str(directory / "wall.png"), np.full((200, 300, 3), 180, np.uint8))
    return directory


def test_records_give_one_picture_per_image_and_method(stand_in_run, stand_in_records, tmp_path):
    out = tmp_path / "maps"
    done = flow.explain(stand_in_run, str(stand_in_records), ["gradcam", "saliency"], out, limit=10, heat_maps="all")
    assert done == {"images": 10, "pictures": 20, "rejected": 0}
    files = sorted(path.name for path in out.iterdir())
    assert len(files) == 21 and "test_eye_000.gradcam.png" in files and "index.html" in files
    picture = cv2.imread(str(out / "test_eye_000.gradcam.png"))
    assert picture.shape[1] > 2 * 448 and picture.std() > 20
    page = (out / "index.html").read_text()
    assert page.count("<img") == 30 and "labelled non-referable" in page and "http" not in page
    rows = page.split("<article>")[1:]
    assert len(rows) == 10
    for row in rows:  # the photograph once, the answer once, then what each method shows
        assert row.count('alt="The photograph"') == 1 and len(re.findall(r"referable · ", row)) == 1
        assert re.findall(r"<figcaption>([^<]*)", row) == ["photograph", "Grad-CAM", "Saliency"]


def test_photographs_that_are_no_fundus_are_listed(stand_in_run, photographs, tmp_path):
    done = flow.explain(stand_in_run, f"{photographs}/*", ["gradcam"], tmp_path / "maps")
    assert done == {"images": 2, "pictures": 2, "rejected": 2}
    page = (tmp_path / "maps" / "index.html").read_text()
    assert "Left out" in page and "wall.png" in page and "notes.txt" in page
    assert "&lt;b&gt;" in page and "<b>.png" not in page  # names are escaped


def test_a_photograph_is_cropped_as_an_answer_and_a_record_are(stand_in_run, tmp_path):
    """A small disc in a large JPEG, which is decoded whole; one decoded at a quarter of its size, and so in a DICOM."""
    from dr_edge.explanation import pictures
    from dr_edge.fundus.read_crop import read_crop
    from dr_edge.runs import load_run
    from tfrecord_tools.synthetic import draw

    synthetic = draw.draw_fundus(3, size=512).image[..., ::-1]
    frame = np.zeros((1500, 2000, 3), np.uint8)
    frame[600:900, 800:1100] = cv2.resize(synthetic, (300, 300), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "small.jpg"), frame)
    cv2.imwrite(str(tmp_path / "large.jpg"), cv2.resize(synthetic, (2000, 2000)))
    save_dicom(tmp_path / "large.dcm", cv2.resize(synthetic, (2048, 2048))[..., ::-1])
    paths = sorted(tmp_path.iterdir())
    found = list(pictures.from_photographs(paths, load_run(stand_in_run)))
    assert [picture.name for picture in found] == ["large.dcm", "large.jpg", "small.jpg"]
    assert read_crop(paths[0].read_bytes(), 64).size == (2048, 2048)
    for path, picture in zip(paths, found, strict=True):
        np.testing.assert_array_equal(picture.photograph, read_crop(path.read_bytes(), 64).crop)


def test_what_predict_would_not_answer_is_said_beside_the_label(stand_in_run, photographs, tmp_path):
    """Drawn fundus images are unlike the stand-in's discs, once a distance is stored; a blurred one is too poor."""
    from dr_edge.calibration import store
    from dr_edge.runs import load_run

    run = shutil.copytree(stand_in_run, tmp_path / "run")
    shutil.rmtree(run / store.DIRECTORY, ignore_errors=True)
    pictures = shutil.copytree(photographs, tmp_path / "pictures")
    sharp = cv2.imread(str(pictures / "eye [1] <b>.png"))
    cv2.imwrite(str(pictures / "blurred.png"), cv2.GaussianBlur(sharp, (0, 0), 12))

    def said(name):
        flow.explain(run, str(pictures), ["gradcam"], tmp_path / name)
        rows = (tmp_path / name / "index.html").read_text().split("<article>")[1:]
        return {re.search(r"eye \[\d\]|blurred", row)[0]: re.search(r"no label given[^<]*", row)[0] for row in rows}

    assert said("before") == {
        "eye [1]": "no label given",
        "eye [2]": "no label given",
        "blurred": "no label given; too poor to grade",
    }
    loaded = load_run(run)
    store.fit_of(loaded, loaded.records)
    after = said("after")
    assert after["eye [1]"] == after["eye [2]"] == "no label given; unlike the training images"
    assert after["blurred"].startswith("no label given; too poor to grade")


def test_a_directory_and_a_name_with_brackets_work(stand_in_run, photographs, tmp_path):
    assert flow.explain(stand_in_run, str(photographs), ["gradcam"], tmp_path / "a")["images"] == 2
    one = str(photographs / "eye [1] <b>.png")
    assert flow.explain(stand_in_run, one, ["gradcam"], tmp_path / "b")["images"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "/nowhere/*.jpg"}, "matches no file"),
        ({"methods": ["gradcam", "lime"]}, "no lime for a classification run"),
        ({"methods": ["mask"]}, "no mask for a classification run"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_bad_input_is_refused(stand_in_run, stand_in_records, tmp_path, change, message):
    arguments = {"images": str(stand_in_records), "methods": ["gradcam"], "limit": 1} | change
    with pytest.raises(ValueError, match=message):
        flow.explain(stand_in_run, out=tmp_path / "maps", **arguments)
    assert not (tmp_path / "maps").exists()


def test_nothing_but_rejected_files_is_an_error(stand_in_run, photographs, tmp_path):
    with pytest.raises(ValueError, match="None of 1 files"):
        flow.explain(stand_in_run, str(photographs / "wall.png"), ["gradcam"], tmp_path / "maps")
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_directory_is_left_alone(stand_in_run, stand_in_records, tmp_path):
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        flow.explain(stand_in_run, str(stand_in_records), ["gradcam"], tmp_path, limit=1)
    assert [path.name for path in tmp_path.iterdir()] == ["keep.txt"]


def test_a_segmentation_run_shows_its_masks(write_run, stand_in_records, tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((64, 64, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 3, padding="same", name="logits")(inputs))
    run = write_run(tmp_path / "run", tasks.optic_disc_and_cup(), model)
    done = flow.explain(run, str(stand_in_records), [], tmp_path / "masks", limit=3)
    assert done["pictures"] == 3 and (tmp_path / "masks" / "test_eye_000.mask.png").is_file()
    with pytest.raises(ValueError, match="no gradcam for a segmentation run"):
        flow.explain(run, str(stand_in_records), ["gradcam"], tmp_path / "other", limit=3)


def halves_model():
    """The first output reads the left half of the image only, the second one the right half."""
    import keras
    from keras import layers

    inputs = keras.Input((64, 64, 3))
    features = layers.AveragePooling2D(8, name="cam_features")(layers.Rescaling(1 / 255)(inputs))  # 8x8
    sides = [layers.Cropping2D(((0, 0), crop))(features) for crop in ((0, 4), (4, 0))]
    both = layers.Concatenate()([layers.GlobalAveragePooling2D()(side) for side in sides])  # [B, 6]
    model = keras.Model(inputs, layers.Dense(2, name="logits")(both))
    weights = np.zeros((6, 2), np.float32)
    weights[:3, 0], weights[3:, 1] = 1, 1
    model.layers[-1].set_weights([weights, np.array([-4, 4], np.float32)])
    return model


@pytest.fixture(scope="module")
def two_diseases(write_run, tmp_path_factory):
    """A multilabel run that never finds glaucoma and always retinopathy."""
    task = tasks.diseases(("glaucoma", "dr_grade"), ("glaucoma", "any DR"))
    return write_run(tmp_path_factory.mktemp("diseases") / "run", task, halves_model())


def test_each_disease_has_its_own_heat_map(two_diseases, stand_in_records, tmp_path):
    out = tmp_path / "maps"
    done = flow.explain(two_diseases, str(stand_in_records), ["saliency", "gradcam"], out, limit=10, heat_maps="all")
    assert done == {"images": 10, "pictures": 40, "rejected": 0}
    for disease, side in (("glaucoma", 0), ("any_DR", 1)):
        picture = cv2.imread(str(out / f"test_eye_001.saliency.{disease}.png")).astype(float)
        shown = picture[20:468, 20 + 448 + 20 :][:, :448]
        left, right = shown[:, :224].mean(), shown[:, 224:].mean()
        assert (right - left > 40) == bool(side) and (left - right > 40) == (not side)
    page = (out / "index.html").read_text()
    assert page.count("<img") == 40 + 10 and page.count("<article>") == 10
    assert page.count('alt="The photograph"') == 10
    # of ten images every fifth lacks the label of glaucoma; the grade is known of all
    assert page.count("<span>no label given for glaucoma</span>") == 2
    assert page.count("<span>labelled no glaucoma</span>") + page.count("<span>labelled glaucoma</span>") == 8
    assert page.count("<span>labelled any DR</span>") == 7 and "labelled answers right" in page
    assert page.count("no glaucoma · ") == 10 and page.count("<figcaption>Saliency of glaucoma<") == 10
    assert page.count("<figcaption>Grad-CAM of any DR<") == 10


def test_what_speaks_against_a_disease_is_not_drawn_unless_asked_for(
    stand_in_run, two_diseases, stand_in_records, tmp_path
):
    """Half of a healthy eye would be covered by a map that points to nothing."""
    done = flow.explain(stand_in_run, str(stand_in_records), ["gradcam", "saliency"], tmp_path / "one", limit=10)
    page = (tmp_path / "one" / "index.html").read_text()
    rows = page.split("<article>")[1:]
    found = [bool(re.search(r">referable · ", row)) for row in rows]
    assert 0 < sum(found) < 10 and done["pictures"] == 2 * sum(found) + (10 - sum(found))
    for row, positive in zip(rows, found, strict=True):
        assert (">Grad-CAM<" in row) == positive and ("No heat map" in row) != positive
        assert row.count('alt="The photograph"') == 1
    assert f"({10 - sum(found)} of these answers)" in page
    done = flow.explain(two_diseases, str(stand_in_records), ["gradcam"], tmp_path / "two", limit=4)
    page = (tmp_path / "two" / "index.html").read_text()  # never glaucoma, always retinopathy
    assert page.count("<figcaption>Grad-CAM of any DR<") == 4 and page.count("No heat map") == 4
    hidden = cv2.imread(str(tmp_path / "two" / "test_eye_001.gradcam.glaucoma.png"))
    shown = cv2.imread(str(tmp_path / "two" / "test_eye_001.gradcam.any_DR.png"))
    assert hidden.shape == shown.shape  # the page cuts both in the same places
    assert np.unique(hidden[40:180, 500:900].reshape(-1, 3), axis=0).shape[0] == 1


def test_the_page_says_how_good_the_model_is(stand_in_run, stand_in_records, tmp_path):
    from dr_edge import runs
    from dr_edge.evaluation import flow as evaluation
    from dr_edge.runs import load_run

    run = shutil.copytree(stand_in_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))

    def page(name):
        flow.explain(run, str(stand_in_records), ["gradcam"], tmp_path / name, limit=1)
        return (tmp_path / name / "index.html").read_text()

    assert "Not evaluated: nobody has measured this model" in page("before")
    content = evaluation.evaluate(run, evaluation.Settings(examples=0, heatmap_checks=False, stability=False))
    assert content["verdict"]["text"].replace("\u00a0", " ") in page("after").replace("\u00a0", " ")
    (run / "best.keras").write_bytes(b"another model than the one that was judged")
    assert runs.verdict_of(dataclasses.replace(load_run(stand_in_run), directory=run))["status"] == "not_evaluated"


def test_chosen_diseases_only(two_diseases, stand_in_run, stand_in_records, tmp_path):
    def explain(run, out, *diseases):
        return flow.explain(run, str(stand_in_records), ["gradcam"], out, 2, diseases=diseases)

    assert explain(two_diseases, tmp_path / "one", "any DR")["pictures"] == 2
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["index.html", "test_eye_000.gradcam.any_DR.png", "test_eye_001.gradcam.any_DR.png"]
    with pytest.raises(ValueError, match="knows no cataract. Known: glaucoma, any DR"):
        explain(two_diseases, tmp_path / "two", "glaucoma", "cataract")
    with pytest.raises(ValueError, match="--diseases is for a multilabel run"):
        explain(stand_in_run, tmp_path / "three", "referable")


def test_an_unfinished_run_is_refused(stand_in_run, stand_in_records, tmp_path):
    content = metadata.read_manifest(stand_in_run, "run")
    metadata.write_manifest(tmp_path, "run", content | {"status": "training"})
    with pytest.raises(metadata.ManifestError, match="not 'finished'"):
        flow.explain(tmp_path, str(stand_in_records), ["gradcam"], tmp_path / "maps")


def test_records_of_another_size_are_refused(stand_in_run, tmp_path, stand_in_records):
    content = metadata.read_manifest(stand_in_records, "dataset")
    metadata.write_manifest(tmp_path, "dataset", content | {"image_size": 512})
    with pytest.raises(ValueError, match="512 px"):
        flow.explain(stand_in_run, str(tmp_path), ["gradcam"], tmp_path / "maps")


def test_help_teaches_and_is_instant(starts):
    command = [sys.executable, "-m", "dr_edge.explain", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert starts(lambda: subprocess.run(command, capture_output=True, timeout=120)) < 40
    assert "python -m dr_edge.explain --run_dir=RUN" in result.stdout
    assert "--methods" in result.stdout and "--diseases" in result.stdout
