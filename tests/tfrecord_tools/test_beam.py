"""The builder on Apache Beam's DirectRunner, over several processes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tfrecord_tools.beam import WorkerBlind, make_chunk, make_shard, read_note
from tfrecord_tools.beam_runner import check_options, read_options, runner_path
from tfrecord_tools.items import Item
from tfrecord_tools.process import Settings
from tfrecord_tools.writer import ShardTask

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


@pytest.mark.parametrize(
    ("runner", "option"),
    [
        ("DaskRunner", "dask_client_address=tcp://host:8786"),  # Beam's own name of it: address
        ("dask", "dask_npartitions=4"),  # its flags load with the runner
        ("FlinkRunner", "worker_machine_type=n1-standard-4"),  # machine_type
        ("FlinkRunner", "no_use_public_ips"),
        ("PortableRunner", "flink_master=host:8081"),
    ],
)
def test_flags_are_known_by_the_name_that_they_are_written_with(runner: str, option: str):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    assert runner_path(runner).startswith("apache_beam.runners.")
    values = read_options([option], [f"--{option}"])
    name, _, value = option.partition("=")
    written = {
        "dask_client_address": "address",
        "dask_npartitions": "npartitions",
        "worker_machine_type": "machine_type",
        "no_use_public_ips": "use_public_ips",
    }
    expected = {"no_use_public_ips": False, "dask_npartitions": 4}.get(name, value or True)
    assert values[written.get(name, name)] == expected


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("address=tcp://host:8786", "no option 'address'. Did you mean dask_client_address"),
        ("dask_client_adress=tcp://host:8786", "Did you mean dask_client_address"),
        ("dask_npartitions=many", "Beam does not take it: argument --dask_npartitions: invalid int value: 'many'"),
        ("dask_client_address", "Beam does not take it: argument --dask_client_address: expected one argument"),
        ("runner=FlinkRunner", "the runner is named by --runner"),
    ],
)
def test_what_beam_would_drop_or_end_at_is_one_sentence(option: str, said: str):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    runner_path("DaskRunner")
    with pytest.raises(ValueError, match=re.escape(said)):
        read_options([option], [f"--{option}"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("DaskRunner", "apache_beam.runners.dask.dask_runner.DaskRunner"),
        ("daskrunner", "apache_beam.runners.dask.dask_runner.DaskRunner"),
        ("direct", "apache_beam.runners.direct.direct_runner.DirectRunner"),
        ("FlinkRunner", "apache_beam.runners.portability.flink_runner.FlinkRunner"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner",) * 2,
    ],
)
def test_a_runner_goes_by_its_short_name(name: str, path: str):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    assert runner_path(name) == path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DaksRunner", "no runner 'DaksRunner'. Did you mean DaskRunner"),
        ("NoSuch", "It has: .*DaskRunner, .*FlinkRunner"),
        ("apache_beam.runners.dask.dask_runner.Runner", "has no Runner"),
        ("nowhere.Runner", "cannot be loaded: No module named 'nowhere'"),
    ],
)
def test_a_runner_that_is_not_there_is_one_sentence(name: str, said: str):
    pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[beam]"')
    with pytest.raises(ValueError, match=said):
        runner_path(name)


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """A staging directory of the build "key"."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "records").mkdir()
    (tmp_path / "build.json").write_text(json.dumps({"key": "key"}), encoding="utf-8")
    return tmp_path


def test_a_worker_without_the_photographs_rejects_none_of_them(staging: Path):
    element = (str(staging / "spool"), "key", 0, [Item("a", "a.png", "a")], Settings(str(staging / "eyes"), 96, "crop"))
    with pytest.raises(WorkerBlind, match=rf"Worker \S+ does not see {staging}/eyes/a.png"):
        make_chunk(element)
    assert not list((staging / "spool").iterdir())


@pytest.mark.parametrize("kind", ["absent", "another", "damaged"])
def test_a_worker_with_another_directory_of_that_path_writes_nothing(staging: Path, kind: str):
    note = staging / "build.json"
    note.unlink() if kind == "absent" else note.write_text('{"key": "other"}' if kind == "another" else '{"key')
    settings, shard = Settings("", 96, "crop"), ShardTask("train", 0, 1, np.zeros((0, 3), np.int64))
    for run in (
        lambda: make_chunk((str(staging / "spool"), "key", 0, [Item("a", "", "a", seed=0)], settings)),
        lambda: make_shard((str(staging), "key", shard, str(staging / "000000.json"))),
    ):
        with pytest.raises(WorkerBlind, match="build.json, as the launcher does"):
            run()
    assert not list((staging / "spool").iterdir()) and not list((staging / "records").iterdir())


def test_a_chunk_that_stands_whole_is_not_made_again(staging: Path):
    element = (str(staging / "spool"), "key", 0, [Item("a", "", "a", seed=0)], Settings("", 96, "crop"))
    for _ in range(2):
        assert make_chunk(element) == 1
        times = {path.name: path.stat().st_mtime_ns for path in (staging / "spool").iterdir()}
    make_chunk(element)
    assert times == {path.name: path.stat().st_mtime_ns for path in (staging / "spool").iterdir()} and len(times) == 3


def test_worker_that_wrote_elsewhere_is_named(tmp_path: Path):
    with pytest.raises(RuntimeError, match="must be on a file system that every worker sees"):
        read_note(tmp_path / "000000.json")
