"""Records built again share photographs with those that a model was trained on: a verdict on them is worth nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dr_edge import metadata
from dr_edge.evaluation import seen_before
from dr_edge.evaluation.seen_before import is_unseen

ROWS = {"a": "train", "b": "train", "c": "val", "d": "test"}
STATED: dict[str, Any] = {"image_size": 64, "preprocess": "crop", "labels": {}, "splits": {}}


def written(directory: Path, rows: dict[str, str], name: str) -> Path:
    """Writes what is compared of records: dataset.json and splits.csv, with a digest of one letter each."""
    directory.mkdir()
    lines = ["image,patient,split,sha256", *(f"{key}.png,{key},{split},{key}" for key, split in rows.items())]
    (directory / "splits.csv").write_text("\n".join(lines), encoding="utf-8")
    metadata.write_manifest(directory, "dataset", STATED | {"dataset": name})
    return directory


def a_run(records: Path) -> Any:
    digest = metadata.sha256_file(metadata.manifest_path(records, "dataset"))
    return SimpleNamespace(records=str(records), content={"dataset_sha256": digest})


def test_photographs_of_training_and_validation_are_counted(tmp_path: Path):
    run = a_run(written(tmp_path / "own", ROWS, "own"))
    again = written(tmp_path / "again", {"a": "test", "b": "train", "c": "test", "d": "test", "e": "test"}, "again")
    assert seen_before.count_seen(run, again, "test") == 2 and seen_before.count_seen(run, again, "train") == 1
    other = written(tmp_path / "other", {"x": "test", "y": "train"}, "other")
    assert seen_before.count_seen(run, other, "test") == 0
    assert "2 of these 4 photographs" in seen_before.sentence(2, 4)[0] and not seen_before.sentence(0, 4)


def test_where_nobody_can_know_nothing_is_counted(tmp_path: Path):
    own = written(tmp_path / "own", ROWS, "own")
    run = a_run(own)
    bare = written(tmp_path / "bare", {"a": "test"}, "bare")
    (bare / "splits.csv").unlink()
    assert seen_before.count_seen(run, bare, "test") is None
    synthetic = written(tmp_path / "drawn", {"": "test"}, "drawn")
    assert seen_before.count_seen(run, synthetic, "test") == 0
    metadata.write_manifest(own, "dataset", STATED | {"dataset": "built anew in the same place"})
    assert seen_before.count_seen(run, synthetic, "test") is None and not seen_before.sentence(None, 4)


def test_such_photographs_are_not_unseen():
    other = {"split": "test", "trained_on_these_records": False}
    assert (
        is_unseen(other | {"seen_in_training": 0})
        and is_unseen(other | {"seen_in_training": None})
        and is_unseen(other)
    )
    assert not is_unseen(other | {"seen_in_training": 1})
    own = {"trained_on_these_records": True, "seen_in_training": None}
    assert is_unseen(own | {"split": "test"}) and not is_unseen(own | {"split": "val"})
