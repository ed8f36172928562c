"""Distance from the training images on real pictures, kind by kind: what is no fundus photograph must lie far out.

Frozen ImageNet features take the place of a trained network, so that the test needs no training; the statistics are
fitted on IDRiD and then on EyePACS, and each is judged on both. As in `predict`, a picture without a field of view is
refused before its distance is asked: both numbers are printed, the distance's own and that of the two together.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest
from odd_pictures import LIKE_FUNDUS, ODD, area, read, seen, strange_pictures

from dr_edge.calibration import statistics

SIZE = 128
FITTED, JUDGED = 60, 40  # photographs of each source


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
        crops, refused = zip(*(seen(picture, SIZE, "graham") for picture in pictures), strict=True)
        return model.predict(np.stack(crops), batch_size=16, verbose=0), np.array(refused)

    return measure


@pytest.fixture(scope="module")
def strange(real_data, features):
    return {kind: features(pictures) for kind, pictures in strange_pictures(real_data / "odd", SIZE).items()}


@pytest.fixture(scope="module")
def sources(real_data, features):
    """Source -> (statistics of its training photographs, features and refusals of its judged ones)."""
    found = {}
    for name, source in (("IDRiD", idrid), ("EyePACS", eyepacs)):
        train, referable, test = source(real_data)
        values, refused = features([read(path, SIZE) for path in train])
        labels = np.array(referable).astype(int)
        found[name] = (
            statistics.fit_features(values[~refused], labels[~refused]),
            features([read(path, SIZE) for path in test]),
        )
    return found


def answered(distances, refused):
    """Returns what `predict` makes of distances: what shows no field of view is farther than any distance."""
    return np.where(refused, 1e6, distances)


@pytest.mark.slow
@pytest.mark.parametrize("judged", ["IDRiD", "EyePACS"])
@pytest.mark.parametrize("fitted_on", ["IDRiD", "EyePACS"])
def test_what_is_no_fundus_lies_far_out(fitted_on, judged, sources, strange):
    fitted = sources[fitted_on][0]
    values, refused = sources[judged][1]
    near = statistics.mahalanobis_distance(values, fitted)
    distances = {kind: statistics.mahalanobis_distance(part, fitted) for kind, (part, _) in strange.items()}
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
        # An almost black photograph is one of a fundus, and EyePACS holds many: the field of view tells it, not the
        # distance.
        assert min(alone[kind] for kind in (*no_fundus, "all but generated") if not kind.startswith("black")) >= 0.95
