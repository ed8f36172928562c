"""The constant answer that masks must do better than: how it is chosen, and on which photographs."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.evaluation.masks import constant
from dr_edge.evaluation.masks.constant import LabelledMasks

TASK = tasks.optic_disc_and_cup()


def test_the_constant_mask_is_the_best_cut_of_the_mean():
    rng = np.random.default_rng(8)
    truth = (rng.uniform(size=(9, 12, 12, 2)) < np.linspace(0, 1, 12)[:, None, None]).astype(np.float32)
    truth[3, ..., 1], truth[4, ..., 0] = -1, 0  # no such mask; an empty one
    labelled = LabelledMasks()
    labelled.add(truth[:5])
    labelled.add(truth[5:])
    found = labelled.dice()
    assert found.shape == (9, 2) and np.isnan(found[3, 1]) and np.isnan(found[4, 0]) and np.isfinite(found).sum() == 16
    for index in range(2):
        known = truth[..., index].min(axis=(1, 2)) >= 0
        own = truth[known, ..., index]
        best = -1.0
        for level in (0.1, 0.2, 0.3, 0.4, 0.5):
            mask = own.mean(axis=0) >= level
            filled = own[own.any(axis=(1, 2))]
            best = max(best, np.mean([2 * (one * mask).sum() / (one.sum() + mask.sum()) for one in filled]))
        assert np.nanmean(found[:, index]) == pytest.approx(best)


def synthetic_masks(count: int, *boxes: tuple[int, int] | None) -> np.ndarray:
    """[count, 12, 12, M] of masks, each of its rows [first, last); None: no such mask is labelled."""
    truth = np.zeros((count, 12, 12, len(boxes)), np.float32)
    for index, box in enumerate(boxes):
        truth[:, slice(*box) if box else slice(None), :, index] = 1 if box else -1
    return truth


def test_a_mask_that_was_chosen_elsewhere_keeps_its_place():
    elsewhere, judged = LabelledMasks(), LabelledMasks()
    elsewhere.add(synthetic_masks(8, (0, 4), (0, 2)))
    judged.add(synthetic_masks(3, (2, 6), (0, 2)))
    assert judged.dice(elsewhere.best()).tolist() == [[0.5, 1.0]] * 3
    assert judged.dice().tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize(("count", "cup"), [(8, None), (8, (0, 0)), (constant.FEWEST - 1, (0, 2))])
def test_what_too_few_photographs_show_is_chosen_on_the_judged_ones(count, cup):
    """An empty constant mask would make any model better than it."""
    elsewhere, judged = LabelledMasks(), LabelledMasks()
    elsewhere.add(synthetic_masks(count, (0, 4), cup))
    judged.add(synthetic_masks(3, (2, 6), (0, 2)))
    chosen = elsewhere.best(constant.FEWEST)
    assert chosen[1] is None and (chosen[0] is None) == (count < constant.FEWEST)
    assert judged.dice(chosen)[:, 1].tolist() == [1.0] * 3


def test_it_is_chosen_on_the_validation_photographs(stand_in_records, tmp_path):
    chosen = constant.of_validation(stand_in_records, TASK)
    assert chosen.ratio == pytest.approx(7 / 15, abs=0.01)  # radii 3 and 7, the same in each
    sizes = [int(mask.sum()) for mask in chosen.masks]
    assert sizes == pytest.approx([np.pi * 7**2, np.pi * 3**2], rel=0.15)
    assert constant.of_validation(None, TASK) is None
    without = shutil.copytree(stand_in_records, tmp_path / "without")
    next(without.glob("val-*")).unlink()
    assert constant.of_validation(without, TASK) is None
