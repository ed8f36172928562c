"""Pictures that are no fundus photographs, for what judges the out-of-distribution distance (test_distance_real, the
benchmark distance_by_kind)."""

from __future__ import annotations

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from dr_edge.fundus import graham, photograph
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError

ODD = {  # kind -> how its files in odd/ begin
    "OCT": ("oct_",),
    "black or no retina": ("black_", "no_retina"),
    "greyscale": ("greyscale",),
    "document": ("vessel_mask",),
    "natural photograph": ("not_fundus",),
    "generated fundus": ("generated_",),
}
LIKE_FUNDUS = ("generated fundus",)  # drawn to look like one: stated, not judged


def seen(picture, size, method):
    """Returns a picture [S, S, 3] float32 as a network of that size and preprocessing sees it, and whether it shows no
    field of view; of such a one, the square in its middle.
    """
    try:
        crop, refused = crop_square(picture, find_fov(picture), size), False
    except NotFundusError:
        height, width = picture.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        middle = picture[top : top + side, left : left + side]
        crop, refused = cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA), True
    return graham.preprocess(crop, method).astype(np.float32), refused


def read(path, size):
    """Returns a file as `build` and `predict` read it for a network of that size."""
    return photograph.read_photograph(path, min_side=size)


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


def strange_pictures(directory, size):
    """Returns kind -> pictures that are no fundus photographs, or drawn ones: from the directory (files named as in
    ODD), from scikit-learn, and drawn here.
    """
    found = {
        kind: [read(path, size) for start in starts for path in sorted(directory.glob(f"{start}*"))]
        for kind, starts in ODD.items()
    }
    found["document"] += [page(seed) for seed in range(6)]
    found["natural photograph"] += natural_photographs()
    return found


def area(near, far):
    """Returns the AUROC of distances: how often a strange picture lies farther out than a photograph."""
    return float(roc_auc_score(np.r_[np.zeros(len(near)), np.ones(len(far))], np.r_[near, far]))
