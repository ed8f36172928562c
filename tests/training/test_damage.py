"""A checkpoint, a best model or a log that was cut off, emptied or changed is noticed, and nothing more is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from plain_training import STEPS, arguments, armed, check_equal, die

from dr_edge import metadata, runs
from dr_edge.training import best_model, checkpoints, initial, loop, metrics_log, run_directory

EPOCHS = 3
NEWEST, BEFORE = f"step-{2 * STEPS:08d}", f"step-{STEPS:08d}"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path, place: float = 0.5, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(coloured_records, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    loop.train(**arguments(coloured_records, run_dir, epochs=EPOCHS))
    return run_dir


@pytest.fixture(scope="module")
def killed(coloured_records, tmp_path_factory) -> Path:
    """A run that was killed in its third epoch; copy it before writing."""
    run_dir = tmp_path_factory.mktemp("killed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        armed(patch)(2 * STEPS + 1, die)
        with pytest.raises(KeyboardInterrupt):
            loop.train(**arguments(coloured_records, run_dir, epochs=EPOCHS))
    assert [path.name for path in checkpoints.existing(run_dir / "checkpoints")] == [BEFORE, NEWEST]
    return run_dir


@pytest.fixture
def cut(killed, tmp_path) -> Path:
    return shutil.copytree(killed, tmp_path / "cut")


def go_on(records: Path, run_dir: Path) -> dict:
    return loop.train(**arguments(records, run_dir, epochs=EPOCHS))


def check_same_best(expected: Path, actual: Path) -> None:
    left, right = (keras.models.load_model(run / "best.keras") for run in (expected, actual))
    for one, other in zip(left.weights, right.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(other), np.asarray(one), err_msg=one.path)
    stated = [metadata.read_manifest(run, "run")["best"] for run in (expected, actual)]
    assert all(stated[0][key] == stated[1][key] for key in ("metric", "value", "epoch", "step"))
    assert stated[1]["sha256"] == metadata.sha256_file(actual / "best.keras")
    runs.load_run(actual)


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (flip, "variables.npz"),
        (empty, "checkpoint.json"),
        *[
            pytest.param(damage, file, marks=pytest.mark.slow)
            for damage in (truncate, empty, flip, Path.unlink)
            for file in ("variables.npz", "checkpoint.json")
            if (damage, file) not in ((flip, "variables.npz"), (empty, "checkpoint.json"))
        ],
    ],
)
def test_the_one_before_is_taken_and_the_run_ends_with_the_same_weights(
    damage, file, whole, cut, coloured_records, caplog
):
    damage(cut / "checkpoints" / NEWEST / file)
    with caplog.at_level("WARNING", logger="absl"):
        go_on(coloured_records, cut)
    assert f"{NEWEST} does not read" in caplog.text and f"the run goes on from {BEFORE}" in caplog.text
    assert (cut / "checkpoints" / f"damaged-{NEWEST}").is_dir()
    check_equal(whole, cut)
    check_same_best(whole, cut)


def test_no_bit_of_a_checkpoint_flips_unnoticed(cut):
    newest = cut / "checkpoints" / NEWEST
    before = checkpoints.read_state(newest)
    rng = np.random.default_rng(0)
    for name in ("checkpoint.json", "variables.npz"):
        path = newest / name
        content = path.read_bytes()
        places = range(len(content)) if name == "checkpoint.json" else rng.integers(0, len(content), 200)
        for place in places:
            changed = bytearray(content)
            changed[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            try:
                assert checkpoints.read_state(newest) == before and name == "checkpoint.json", (name, place)
            except checkpoints.Damaged:
                continue
            assert chr(content[place]).isspace(), f"{name}: byte {place}"  # the layout of JSON says nothing
        for length in (0, 1, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            if content[length:] != b"\n":
                with pytest.raises(checkpoints.Damaged):
                    checkpoints.read_state(newest)
        path.write_bytes(content)
    assert checkpoints.read_state(newest) == before


@pytest.mark.slow
def test_without_another_checkpoint_the_run_begins_anew(whole, cut, coloured_records, caplog):
    for name in (BEFORE, NEWEST):
        flip(cut / "checkpoints" / name / "variables.npz", 0.7)
    with caplog.at_level("WARNING", logger="absl"):
        go_on(coloured_records, cut)
    assert "starts from the beginning: there is no other checkpoint" in caplog.text
    check_equal(whole, cut)
    check_same_best(whole, cut)


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(cut, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(metadata, "sha256_file", refuse)
    with pytest.raises(PermissionError):
        checkpoints.restore_newest(cut / "checkpoints", [], own=True)
    assert (cut / "checkpoints" / NEWEST).is_dir()


def test_a_checkpoint_of_a_later_release_is_not_set_aside(cut):
    manifest = cut / "checkpoints" / NEWEST / "checkpoint.json"
    content = json.loads(manifest.read_text()) | {"version": 2}
    del content["sha256"]
    manifest.write_text(json.dumps({**content, "sha256": checkpoints._digest(content)}))
    with pytest.raises(ValueError, match="checkpoint of version 2, this release reads version 1"):
        checkpoints.restore_newest(cut / "checkpoints", [], own=True)


def as_before(run_dir: Path) -> None:
    """Makes a run look as one of an earlier release: no digests."""
    for path in checkpoints.existing(run_dir / "checkpoints"):
        content = json.loads((path / "checkpoint.json").read_text())["state"]
        content["best"].pop("sha256")
        (path / "state.json").write_text(json.dumps(content))
        (path / "checkpoint.json").unlink()
    run = json.loads((run_dir / "run.json").read_text())
    run["best"].pop("sha256")
    (run_dir / "run.json").write_text(json.dumps(run))


def test_a_run_of_an_earlier_release_goes_on_with_a_caution(whole, cut, coloured_records, caplog):
    as_before(cut)
    flip(cut / "checkpoints" / NEWEST / "variables.npz")  # what its own checksums tell
    with caplog.at_level("WARNING", logger="absl"):
        go_on(coloured_records, cut)
    assert f"{NEWEST} does not read" in caplog.text
    assert f"{BEFORE} is a checkpoint of an earlier release" in caplog.text
    check_equal(whole, cut)
    check_same_best(whole, cut)


def test_a_finished_run_of_an_earlier_release_is_read_with_a_caution(whole, tmp_path, caplog):
    run_dir = shutil.copytree(whole, tmp_path / "run")
    as_before(run_dir)
    with caplog.at_level("WARNING", logger="absl"):
        runs.load_run(run_dir)
    assert "best.keras is of an earlier release" in caplog.text
    flip(run_dir / "best.keras")
    with pytest.raises(ValueError, match="best.keras cannot be read as a Keras model"):
        runs.load_run(run_dir)


@pytest.mark.parametrize("damage", [truncate, empty, flip])
def test_later_stages_refuse_a_damaged_model(damage, whole, tmp_path):
    run_dir = shutil.copytree(whole, tmp_path / "run")
    damage(run_dir / "best.keras")
    said = "best.keras is not the file that training wrote .* Restore it from a copy, or train again"
    with pytest.raises(metadata.ManifestError, match=said):
        runs.load_run(run_dir)
    with pytest.raises(metadata.ManifestError, match=said):
        initial.load(None, str(run_dir))


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_a_best_model_is_written_anew_from_the_checkpoint_of_its_epoch(damage, whole, cut, coloured_records, caplog):
    best = metadata.read_manifest(cut, "run")["best"]
    holder = checkpoints.at_epoch(cut / "checkpoints", best["epoch"])
    assert holder is not None
    damage(cut / "best.keras")
    with caplog.at_level("WARNING", logger="absl"):
        go_on(coloured_records, cut)
    assert f"The checkpoint of epoch {best['epoch']} holds that model" in caplog.text
    check_equal(whole, cut)
    check_same_best(whole, cut)


def test_a_best_model_that_no_checkpoint_holds_is_not_replaced_by_a_worse_one(cut, coloured_records):
    best = metadata.read_manifest(cut, "run")["best"]
    shutil.rmtree(checkpoints.at_epoch(cut / "checkpoints", best["epoch"]))
    for path in checkpoints.existing(cut / "checkpoints"):  # the other one knows that epoch, too
        state = checkpoints.read_state(path) | {"best": best}
        checkpoints._write_manifest(path, {"variables.npz": metadata.sha256_file(path / "variables.npz")}, state)
    flip(cut / "best.keras")
    with pytest.raises(ValueError, match=r"no checkpoint holds the model of epoch \d, the best so far"):
        go_on(coloured_records, cut)


@pytest.mark.parametrize("moment", [pytest.param("before the model", marks=pytest.mark.slow), "before run.json"])
def test_a_kill_between_the_best_model_and_what_speaks_for_it(moment, whole, coloured_records, tmp_path, monkeypatch):
    real, calls = run_directory.write_run, []

    def write(run_dir, content):
        named = content.get("next_best")
        calls.append("next" if named else "run")
        if moment == "before run.json" and calls[-2:] == ["next", "run"]:
            die()
        real(run_dir, content)
        if moment == "before the model" and named:
            die()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_directory, "write_run", write)
        go_on(coloured_records, tmp_path / "cut")
    assert (tmp_path / "cut" / "best.keras").exists() == (moment == "before run.json")
    go_on(coloured_records, tmp_path / "cut")
    check_equal(whole, tmp_path / "cut")
    check_same_best(whole, tmp_path / "cut")


def test_a_file_of_neither_digest_is_not_taken_for_the_best_model(tmp_path):
    metadata.write_json(tmp_path / "run.json", {})
    (tmp_path / "best.keras").write_bytes(b"another")
    best = {"metric": "auc", "value": 0.9, "epoch": 2, "step": 6, "sha256": "0" * 64}
    assert best_model.recover(tmp_path, best, lambda: {**best, "sha256": "1" * 64})["sha256"] == "1" * 64
    with pytest.raises(ValueError, match="is damaged, or was replaced"):
        best_model.recover(tmp_path, best, lambda: None)
    assert best_model.recover(tmp_path, {}, lambda: None) == {}


def test_a_damaged_line_does_not_drop_the_rows_after_it(whole, cut, coloured_records, caplog):
    path = cut / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    broken = b"\xff\x00" + lines[1][2:]
    path.write_bytes(b"".join([lines[0], broken, b'["epoch"]\n', *lines[2:], b'{"step": 9, "ep']))
    with caplog.at_level("WARNING", logger="absl"):
        assert [row["step"] for row in metrics_log.read_metrics(cut)] == [3, 6, 6]
        assert "metrics.jsonl: 2 lines are damaged and left out" in caplog.text
        go_on(coloured_records, cut)
    assert "2 lines are damaged. They are set aside in metrics.damaged.jsonl" in caplog.text
    assert (cut / "metrics.damaged.jsonl").read_bytes() == broken + b'["epoch"]\n'
    expected = metrics_log.read_metrics(whole)
    assert metrics_log.read_metrics(cut) == [expected[0], *expected[2:]]


def test_a_damaged_run_json_of_a_run_that_goes_on_is_written_again(whole, cut, coloured_records, caplog):
    truncate(cut / "run.json")
    with caplog.at_level("WARNING", logger="absl"):
        assert go_on(coloured_records, cut)["status"] == "finished"
    assert "run.json is damaged. It is written again" in caplog.text
    check_same_best(whole, cut)


def test_what_speaks_for_a_checkpoint_reaches_the_disk_last(tmp_path, monkeypatch):
    """The order of syncs and renames: what was renamed before it was synced may be empty after a power cut."""
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def named(path: str) -> str:
        return "checkpoint.json" if "checkpoint.json" in path else Path(path).name

    def note_sync(descriptor):
        events.append("sync " + named(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def note_replace(source, target):
        events.append("rename " + named(str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    variables = [keras.Variable(np.arange(4.0), name="weights")]
    path = checkpoints.save(tmp_path / "checkpoints", 7, variables, {"epoch": 1}, keep=1)
    manifest, final = events.index("sync checkpoint.json"), events.index(f"rename {path.name}")
    written = events.index("sync variables.npz")
    listed = next(n for n, event in enumerate(events) if event.endswith(".tmp"))  # the directory, by its first name
    assert written < listed < manifest < events.index("rename checkpoint.json") < final
    assert events[final + 1] == "sync checkpoints"


def test_a_damaged_config_gin_is_another_configuration_and_no_traceback(cut, coloured_records):
    (cut / "config.gin").write_bytes(b"\xff" + (cut / "config.gin").read_bytes())
    with pytest.raises(ValueError, match="already holds a run of another configuration"):
        go_on(coloured_records, cut)
