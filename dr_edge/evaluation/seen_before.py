"""Which photographs of records that a model is judged on had a part in its training: the same files, in other records.

Records that were built again with another seed, or of a data set that holds the first one, have a test split of their
own; a model judged on photographs that it was trained on looks better than it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dr_edge import spreadsheet
from dr_edge.calibration import store
from dr_edge.runs import TrainedRun


def judged_on(run: TrainedRun, records: str | os.PathLike, split: str) -> dict[str, Any]:
    """Returns what decides if a verdict can be good (`is_unseen`): split, trained_on_these_records, seen_in_training.

    Args:
      run: the finished run.
      records, split: what it is judged on.
    """
    own = store.is_trained_on(run, records)
    seen = None if own else count_seen(run, records, split)
    return {"split": split, "trained_on_these_records": own, "seen_in_training": seen}


def is_unseen(content: Mapping[str, Any]) -> bool:
    """Says whether the judged images had no part in training or in choosing the best epoch.

    Args:
      content: from `judged_on`, or a metrics.json.
    """
    if content["trained_on_these_records"]:
        return content["split"] == "test"
    return not content.get("seen_in_training")


def count_seen(run: TrainedRun, records: str | os.PathLike, split: str) -> int | None:
    """Returns how many files of a split stand in the training or validation split of the run's own records; None where
    those are not there, or do not say.

    Args:
      run: the finished run.
      records: other records than those that it was trained on.
      split: of `records`, the one that is judged.
    """
    if not store.has_own_records(run):
        return None
    trained, judged = _files(run.records), _files(records)
    if trained is None or judged is None:
        return None
    seen = {digest for digest, part in trained if part in ("train", "val")}
    return sum(digest in seen for digest, part in judged if part == split)


def sentence(count: int | None, images: int) -> list[str]:
    """Returns what the reader of the figures must know of `count` of `images`; [] where none was seen, or nobody can
    know (the report says of all other records that no patient may be in both)."""
    if not count:
        return []
    return [
        f"{count} of these {images} photographs are files that the model was trained on, or its best epoch chosen by. "
        "The figures look better than they are for new patients."
    ]


def _files(records: str | os.PathLike) -> list[tuple[str, str]] | None:
    """Returns (SHA-256, split) of each photograph that has a file; None where the records hold no such table."""
    try:
        rows = [(row["sha256"], row["split"]) for row in spreadsheet.read(Path(records) / "splits.csv")]
    except (OSError, KeyError):
        return None
    return [(digest, split) for digest, split in rows if digest]
