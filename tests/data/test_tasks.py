"""Tasks: relabelling tables reach every class, survive JSON, and bad ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special

from dr_edge.data import tasks


@pytest.mark.parametrize(
    ("task", "grades", "classes"),
    [
        (tasks.referable_dr(), range(5), (0, 0, 1, 1, 1)),
        (tasks.any_dr(), range(5), (0, 1, 1, 1, 1)),
        (tasks.messidor_any_dr(), range(4), (0, 1, 1, 1)),
    ],
)
def test_grades_become_classes(task, grades, classes):
    assert tuple(task.mapping[grade] for grade in grades) == classes
    assert tasks.Task.from_json(json.loads(json.dumps(task.to_json()))) == task


def test_probabilities_are_softmax_or_sigmoid():
    logits = np.array([[1.0, -2.0]])
    np.testing.assert_allclose(tasks.any_dr().probabilities(logits), special.softmax(logits, -1))
    np.testing.assert_allclose(tasks.diseases().probabilities(logits), 1 / (1 + np.exp(-logits)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "regression"}, "kind must be one of"),
        ({"labels": ()}, "needs one label"),
        ({"mapping": (0, 0, 0)}, "must reach each of 2 classes"),
    ],
)
def test_bad_tasks_are_refused(changes, says):
    content = {"name": "x", "kind": "classification", "class_names": ("a", "b"), "labels": ("grade",)}
    with pytest.raises(ValueError, match=says):
        tasks.Task(**{**content, **changes})
