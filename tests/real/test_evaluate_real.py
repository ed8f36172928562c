"""Distance from the training images on real photographs, and real overlays: what a drawn image cannot
show.
"""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from dr_edge import reliability

SIZE = 224


def prepared(path):
    """Returns a photograph as the network sees it; what is no fundus, as the square in its middle."""
    from dr_edge.fundus import fov, graham, photograph

    whole = photograph.read_photograph(path, min_side=SIZE)
    try:
        crop = fov.crop_square(whole, fov.find_fov(whole), SIZE)
    except fov.NotFundusError:
        crop = middle_square(whole)
    return graham.preprocess(crop, "graham").astype(np.float32)


def middle_square(picture):
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(
        picture[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )


def natural_photographs():
    """Returns the two pictures that scikit-learn ships, whole and in six tiles each."""
    from sklearn.datasets import load_sample_images

    from dr_edge.fundus import graham

    squares = []
    for picture in load_sample_images().images:
        squares.append(middle_square(picture))
        squares += [middle_square(picture[y : y + 213, x : x + 213]) for y in (0, 213) for x in (0, 213, 426)]
    return [graham.preprocess(square, "graham").astype(np.float32) for square in squares]


@pytest.fixture(scope="module")
def features(real_weights):
    """A function from images to pooled ImageNet features: an untrained head has the penultimate layer of
    slim ResNets.
    """
    import keras

    from dr_edge.models import backbones

    inputs = keras.Input((SIZE, SIZE, 3))
    weights = str(real_weights / "mobilenet_v2_imagenet_notop.weights.h5")
    trunk = backbones.mobilenet_v2(inputs, weights=weights)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="penultimate")(trunk))
    return lambda images: model.predict(np.stack(images), batch_size=16, verbose=0)


@pytest.mark.slow
def test_what_is_no_fundus_lies_far_from_idrid(real_data, features):
    root = real_data / "idrid" / "B. Disease Grading"
    train = sorted((root / "1. Original Images" / "a. Training Set").glob("*.jpg"))[:160]
    test = sorted((root / "1. Original Images" / "b. Testing Set").glob("*.jpg"))[:60]
    labels_file = next((root / "2. Groundtruths").glob("a.*.csv"))
    with open(labels_file, newline="", encoding="utf-8-sig") as file:
        grades = {row[0]: int(row[1]) for row in csv.reader(file) if row[1].isdigit()}
    labels = np.array([grades[path.stem] >= 2 for path in train]).astype(int)
    statistics = reliability.fit_features(features([prepared(path) for path in train]), labels)
    odd = [
        path
        for start in ("oct_", "black_", "vessel_", "not_fundus", "no_retina", "greyscale")
        for path in sorted((real_data / "odd").glob(f"{start}*"))
    ]
    strange = [prepared(path) for path in odd] + natural_photographs()
    familiar = reliability.mahalanobis_distance(features([prepared(path) for path in test]), statistics)
    far = reliability.mahalanobis_distance(features(strange), statistics)
    from sklearn.metrics import roc_auc_score

    area = roc_auc_score(np.r_[np.zeros(len(familiar)), np.ones(len(far))], np.r_[familiar, far])
    print(f"AUROC {area:.3f}, {len(familiar)} fundus photographs against {len(far)} others")
    assert area >= 0.95


def test_explain_reads_real_photographs_and_lists_the_rest(real_data, write_run, make_model, tmp_path):
    from dr_edge.data import tasks
    from dr_edge.explanation import flow

    run = write_run(tmp_path / "run", tasks.referable_dr(), make_model(2))
    done = flow.explain(run, str(real_data / "odd" / "*.*"), ["gradcam"], tmp_path / "maps")
    page = (tmp_path / "maps" / "index.html").read_text()
    left_out = page[page.index("Left out") :]
    for name in (
        "empty.jpeg",
        "truncated.jpeg",
        "truncated.dcm",
        "oct_1.jpg",
        "vessel_mask.png",
        "black_1.jpeg",
    ):
        assert name in left_out
    for name in ("hrf_wide.jpg", "drive_565x584.png", "cmyk.jpg", "png16.png", "filmstrip_1.png"):
        assert name not in left_out
    assert done["images"] >= 15 and done["images"] + done["rejected"] == len(
        list((real_data / "odd").glob("*.*"))
    )
