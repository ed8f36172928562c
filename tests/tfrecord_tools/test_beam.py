"""The builder on Apache Beam's DirectRunner, over several processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tfrecord_tools.beam import check_options, read_note

OPTIONS = {
    "limit": 40,
    "image_size": 96,
    "preprocess": "graham",
    "shard_examples": 8,
    "runner": "DirectRunner",
}


def digests(records: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(records.iterdir())}


def test_shards_are_the_same_byte_for_byte_over_two_processes(small_records: Path, tmp_path: Path, run_build):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    out = run_build("synthetic", None, tmp_path / "beam", workers=2, **OPTIONS)
    assert digests(out) == digests(small_records)


@pytest.mark.slow
def test_beam_goes_on_where_a_local_build_was_cut_off(small_records: Path, tmp_path: Path, run_build, monkeypatch):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    from tfrecord_tools import assembly

    def stop(*_: object) -> None:
        raise RuntimeError("cut off")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="cut off"):
        patch.setattr(assembly, "read_facts", stop)
        run_build("synthetic", None, tmp_path / "out", **{**OPTIONS, "runner": "local"})
    spool = tmp_path / ".out.building" / "spool"
    kept = (spool / "chunk-000000.json").stat().st_mtime_ns
    (spool / "chunk-000001.json").unlink()
    seen = []
    monkeypatch.setattr(assembly, "read_facts", lambda path, items: seen.append(
        (path / "chunk-000000.json").stat().st_mtime_ns) or read_facts(path, items))  # fmt: skip
    from tfrecord_tools.spool import read_facts

    run_build("synthetic", None, tmp_path / "out", workers=2, **OPTIONS)
    assert seen == [kept], "the finished chunk was not made again"
    assert digests(tmp_path / "out") == digests(small_records)


def test_unknown_runner_is_an_answer(tmp_path: Path, run_build):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    with pytest.raises(ValueError, match="NoRunner"):
        run_build("synthetic", None, tmp_path / "out", **{**OPTIONS, "runner": "NoRunner"})


def test_mistyped_option_is_refused_with_the_nearest():
    check_options(["direct_num_workers=2", "--streaming"], ["direct_num_workers", "streaming"])
    with pytest.raises(ValueError, match="no option 'direct_num_wrokers'. Did you mean direct_num_workers"):
        check_options(["direct_num_wrokers=2"], ["direct_num_workers"])


def test_worker_that_wrote_elsewhere_is_named(tmp_path: Path):
    with pytest.raises(RuntimeError, match="must be on a file system that every worker sees"):
        read_note(tmp_path / "000000.json")
