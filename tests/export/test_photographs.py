"""The photographs that artifacts are judged on: read anew at each pass, in the order of the records."""

from __future__ import annotations

import numpy as np

from dr_edge.data import pipeline, tasks
from export.photographs import StoredPhotographs


def test_each_pass_gives_the_photographs_of_the_records_in_their_order(records):
    task = tasks.referable_dr()
    (batch,) = pipeline.evaluation_batches(records, "test", task, 64, photograph=True)
    stored = batch["photograph"].numpy()
    photographs = StoredPhotographs(records, "test", task, len(stored))
    assert len(photographs) == 16
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(photographs)), stored)
    some = photographs.at([5, 2])
    assert set(some) == {2, 5} and all((some[row] == stored[row][None]).all() for row in some)
    assert photographs.at([]) == {}
