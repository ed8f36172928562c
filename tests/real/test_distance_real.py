"""Distance from the training images on real pictures, kind by kind: what is no fundus photograph must lie far out.

Frozen ImageNet features take the place of a trained network, so that the test needs no training; the statistics are
fitted on IDRiD and then on EyePACS, and each is judged on both. As in `predict`, a picture without a field of view is
refused before its distance is asked: both numbers are printed, the distance's own and that of the two together.
"""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dr_edge import reliability
from dr_edge.fundus import fov, graham, photograph

SIZE = 128
FITTED, JUDGED = 60, 40  # photographs of each source
ODD = {  # kind -> how its files in odd/ begin
    "OCT": ("oct_",),
    "black or no retina": ("black_", "no_retina"),
    "greyscale": ("greyscale",),
    "document": ("vessel_mask",),
    "natural photograph": ("not_fundus",),
    "generated fundus": ("generated_",),
}
LIKE_FUNDUS = ("generated fundus",)  # drawn to look like one: stated, not judged


def seen(picture):
    """Returns [S, S, 3] as the network sees a picture, and whether it shows no field of view; of such a one, the square
    in its middle.
    """
    try:
        crop, refused = fov.crop_square(picture, fov.find_fov(picture), SIZE), False
    except fov.NotFundusError:
        height, width = picture.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        middle = picture[top : top + side, left : left + side]
        crop, refused = cv2.resize(middle, (SIZE, SIZE), interpolation=cv2.INTER_AREA), True
    return graham.preprocess(crop, "graham").astype(np.float32), refused


def read(path):
    return photograph.read_photograph(path, min_side=SIZE)


def page(seed):
    """Draws a typed page, [1100, 800, 3] uint8: odd/ holds no scanned letter."""
    rng = np.random.default_rng(seed)
    paper = np.full((1100, 800, 3), int(rng.integers(225, 256)), np.uint8)
    for y in range(60, 1040, 26):
        x = 60
        while x < 700 and rng.random() > 0.03:
            word = "".join(chr(letter) for letter in rng.integers(97, 123, int(rng.integers(2, 9))))
            cv2.putText(paper, word, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
            x += 12 * len(word) + 14
    return paper


def natural_photographs():
    """Returns the two pictures that scikit-learn ships, whole and in six tiles each."""
    from sklearn.datasets import load_sample_images

    found = []
    for picture in load_sample_images().images:
        found += [picture, *(picture[y : y + 213, x : x + 213] for y in (0, 213) for x in (0, 213, 426))]
    return found


def strange_pictures(directory):
    """Returns kind -> pictures that are no fundus photographs, or drawn ones."""
    found = {
        kind: [read(path) for start in starts for path in sorted(directory.glob(f"{start}*"))]
        for kind, starts in ODD.items()
    }
    found["document"] += [page(seed) for seed in range(6)]
    found["natural photograph"] += natural_photographs()
    return found


def idrid(root):
    """Returns photographs to fit on with their referable label, and photographs to judge."""
    grading = root / "idrid" / "B. Disease Grading"
    with open(next((grading / "2. Groundtruths").glob("a.*.csv")), newline="", encoding="utf-8-sig") as file:
        grades = {row[0]: int(row[1]) for row in csv.reader(file) if row[1].isdigit()}
    train = spread((grading / "1. Original Images" / "a. Training Set").glob("*.jpg"), FITTED)
    test = spread((grading / "1. Original Images" / "b. Testing Set").glob("*.jpg"), JUDGED)
    return train, [grades[path.stem] >= 2 for path in train], test


def eyepacs(root):
    """The same of EyePACS; left eyes only, so that no patient is in both parts."""
    with open(root / "eyepacs" / "trainLabels.csv", newline="", encoding="utf-8") as file:
        grades = {row["image"]: int(row["level"]) for row in csv.DictReader(file)}
    left = spread((root / "eyepacs" / "train").glob("*_left.jpeg"), FITTED + JUDGED)
    test = left[:: len(left) // JUDGED][:JUDGED]
    train = [path for path in left if path not in test]
    return train, [grades[path.stem] >= 2 for path in train], test


def spread(paths, count):
    """Returns `count` of the paths, evenly over their order by name."""
    paths = sorted(paths)
    return [paths[place] for place in np.linspace(0, len(paths) - 1, count).astype(int)]


@pytest.fixture(scope="module")
def features(real_weights):
    """A function from pictures to pooled ImageNet features, the penultimate layer of an untrained head."""
    import keras

    from dr_edge.models import backbones

    inputs = keras.Input((SIZE, SIZE, 3))
    trunk = backbones.mobilenet_v2(inputs, weights=str(real_weights / "mobilenet_v2_imagenet_notop.weights.h5"))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="penultimate")(trunk))

    def measure(pictures):
        crops, refused = zip(*map(seen, pictures), strict=True)
        return model.predict(np.stack(crops), batch_size=16, verbose=0), np.array(refused)

    return measure


@pytest.fixture(scope="module")
def strange(real_data, features):
    return {kind: features(pictures) for kind, pictures in strange_pictures(real_data / "odd").items()}


@pytest.fixture(scope="module")
def sources(real_data, features):
    """Source -> (statistics of its training photographs, features and refusals of its judged ones)."""
    found = {}
    for name, source in (("IDRiD", idrid), ("EyePACS", eyepacs)):
        train, referable, test = source(real_data)
        values, refused = features(map(read, train))
        labels = np.array(referable).astype(int)
        found[name] = reliability.fit_features(values[~refused], labels[~refused]), features(map(read, test))
    return found


def area(near, far):
    return float(roc_auc_score(np.r_[np.zeros(len(near)), np.ones(len(far))], np.r_[near, far]))


def answered(distances, refused):
    """Returns what `predict` makes of distances: what shows no field of view is farther than any distance."""
    return np.where(refused, 1e6, distances)


@pytest.mark.slow
@pytest.mark.parametrize("judged", ["IDRiD", "EyePACS"])
@pytest.mark.parametrize("fitted_on", ["IDRiD", "EyePACS"])
def test_what_is_no_fundus_lies_far_out(fitted_on, judged, sources, strange):
    statistics = sources[fitted_on][0]
    values, refused = sources[judged][1]
    near = reliability.mahalanobis_distance(values, statistics)
    distances = {kind: reliability.mahalanobis_distance(part, statistics) for kind, (part, _) in strange.items()}
    refusals = {kind: flags for kind, (_, flags) in strange.items()}
    no_fundus = [kind for kind in ODD if kind not in LIKE_FUNDUS]
    for each in (distances, refusals):
        each["all but generated"] = np.concatenate([each[kind] for kind in no_fundus])
    print(
        f"\nfitted on {fitted_on}, against {len(near)} of {judged}: median distance {np.median(near):.1f}, "
        f"{refused.sum()} without a field of view"
    )
    alone, together = {}, {}
    for kind, far in distances.items():
        alone[kind] = area(near, far)
        together[kind] = area(answered(near, refused), answered(far, refusals[kind]))
        print(
            f"  {kind:19} n = {len(far):2}, AUROC of the distance {alone[kind]:.3f}, with refusals {together[kind]:.3f}"
        )
    assert min(together[kind] for kind in (*no_fundus, "all but generated")) >= 0.95
    if fitted_on == judged:  # another camera's photographs lie far out as well: printed, not asked
        # An almost black photograph is one of a fundus, and EyePACS holds many: the field of view tells it, not the distance.
        assert min(alone[kind] for kind in (*no_fundus, "all but generated") if not kind.startswith("black")) >= 0.95
