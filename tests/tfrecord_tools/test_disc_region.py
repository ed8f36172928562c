"""Regions around the optic disc: geometry by hand, and whole records that verify."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dr_edge import metadata
from dr_edge.data.tasks import optic_disc_and_cup, referable_dr
from tfrecord_tools import disc_region
from tfrecord_tools.reading import read_examples
from tfrecord_tools.verify import verify


def test_the_region_is_centred_on_the_largest_part():
    probability = np.zeros((100, 100))
    y, x = np.mgrid[:100, :100]
    probability[(x - 70) ** 2 + (y - 30) ** 2 <= 10**2] = 0.9
    probability[90:92, 5:7] = 0.9  # a speck
    region = disc_region.disc_region(probability, margin=2.0)
    assert ((region.top + region.bottom) / 2, (region.left + region.right) / 2) == (30, 70)
    assert region.right - region.left == region.bottom - region.top == pytest.approx(2 * 20.1, abs=2)
    assert disc_region.disc_region(np.zeros((10, 10)), 2.0) is None
    assert disc_region.in_photograph(region, (-20.0, 40.0, 180.0, 240.0), 100)[:2] == (
        -20 + 2 * region.top,
        40 + 2 * region.left,
    )


class Painter:
    """Stands in for a network: paints the labelled discs in the order of the records; the first one it overlooks."""

    def __init__(self, records, blind=False):
        self.blind = blind
        self.masks = [
            example.mask("optic_disc")
            for split in ("train", "val", "test")
            if metadata.read_manifest(records, "dataset")["splits"][split]["examples"]
            for example in read_examples(records, split)
        ]
        self.masks[0] = np.zeros_like(self.masks[0])

    def predict_on_batch(self, images):
        masks = [self.masks.pop(0) for _ in images]
        disc = np.stack(masks) & (not self.blind)
        return np.where(np.stack([disc, disc], -1), 9.0, -9.0)


def stand_in(records, directory, task=None, blind=False):
    task = task or optic_disc_and_cup()
    (directory / "best.keras").write_bytes(b"weights")
    return SimpleNamespace(
        task=task, probabilities=task.probabilities, directory=directory, image_size=96,
        preprocess={"method": "crop"}, model=Painter(records, blind),
    )  # fmt: skip


def test_regions_are_records_of_the_same_images(synthetic_records, tmp_path):
    run = stand_in(synthetic_records, tmp_path)
    content = disc_region.cut_records(synthetic_records, run, tmp_path / "regions", size=64, margin=2.0)
    assert verify(tmp_path / "regions") == []
    assert content["rejected"] == 1 and "no optic disc" in (tmp_path / "regions" / "rejected.csv").read_text()
    whole = {example.text("image/id"): example for example in read_examples(synthetic_records, "train")}
    regions = list(read_examples(tmp_path / "regions", "train"))
    assert len(regions) == len(whole) - 1
    for example in regions:
        source = whole[example.text("image/id")]
        assert example.label("glaucoma") == source.label("glaucoma") and example.picture().shape == (64, 64, 3)
        # The labelled centre of the disc lies near the middle of the region, in the photograph's pixels.
        top, left, bottom, right = example.numbers("image/crop_box")
        old = source.numbers("image/crop_box")
        x, y = source.numbers("centre/optic_disc")
        scale = (old[2] - old[0]) / 96
        centre = ((top + bottom) / 2, (left + right) / 2)
        assert np.hypot(centre[0] - old[0] - y * scale, centre[1] - old[1] - x * scale) < 0.15 * (right - left)
        # The disc is the brightest thing there: its middle is brighter than the rim of the region.
        picture = example.picture().astype(float).mean(-1)
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert picture[28:36, 28:36].mean() > rim.mean()


def test_what_does_not_fit_is_refused(synthetic_records, tmp_path):
    with pytest.raises(ValueError, match="Give a run of system C"):
        disc_region.cut_records(
            synthetic_records, stand_in(synthetic_records, tmp_path, referable_dr()), tmp_path / "a", 64, 2.0
        )
    run = stand_in(synthetic_records, tmp_path)
    run.image_size = 128
    with pytest.raises(ValueError, match="--image_size=128"):
        disc_region.cut_records(synthetic_records, run, tmp_path / "b", 64, 2.0)
    with pytest.raises(ValueError, match="finds no optic disc in any"):
        disc_region.cut_records(
            synthetic_records, stand_in(synthetic_records, tmp_path, blind=True), tmp_path / "c", 64, 2.0
        )
    assert not (tmp_path / "c").exists()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not empty"):
        disc_region.cut_records(synthetic_records, stand_in(synthetic_records, tmp_path), tmp_path / "d", 64, 2.0)


def test_help_needs_no_tensorflow():
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\ntry:\n    runpy.run_module('tfrecord_tools.disc_region', "
        "run_name='__main__')\n"
    )
    code += "except SystemExit:\n    sys.exit(9 if 'tensorflow' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--margin" in done.stdout, done.stderr
