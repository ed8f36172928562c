"""SLURM's variables against TensorFlow's reading; a killed worker ends the other by name, a restart resumes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as reference

from dr_edge.config import own_message
from dr_edge.training import strategies, workers

REPOSITORY = Path(__file__).resolve().parents[2]
WITHIN_SECONDS = 60

SETTINGS = """
train.task = @tasks.referable_dr()
train.model = @models.resnet_v2_slim
train.strategy = @strategies.multi_worker
models.resnet_v2_slim.channels = (4,)
models.resnet_v2_slim.stem_channels = 4
train.epochs = EPOCHS
train.batch_size = 8
train.keep_checkpoints = 100
train.learning_rate = @schedules.constant()
schedules.constant.learning_rate = 0.001
"""


@pytest.mark.parametrize("text", ["n1", "n[1-3]", "gpu[08-11]", "a1,b[1,3],c[5-6]", "gpu[01-03,07],login"])
def test_node_lists_are_read_as_tensorflow_reads_them(text):
    assert workers.expand_nodes(text) == reference.expand_hostlist(text)


def test_a_node_list_with_two_brackets():
    assert workers.expand_nodes("r[1-2]n[08-09]x") == ["r1n08x", "r1n09x", "r2n08x", "r2n09x"]


@pytest.mark.parametrize("text", ["2", "2(x3),1", "1,4(x2)"])
def test_tasks_per_node_are_read_as_tensorflow_reads_them(text):
    assert workers.expand_counts(text) == reference.expand_tasks_per_node(text)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{'cluster': 1}", "TF_CONFIG is no JSON (Expecting property name enclosed in double quotes, character 2)"),
        ("[]", "needs a cluster and a task"),
        ("{}", "needs a cluster and a task"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "needs a cluster and a task"),
        (
            '{"cluster": {"chief": ["a:1"], "worker": ["b:2"]}, "task": {"type": "chief", "index": 0}}',
            "must call every machine a worker",
        ),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}', "must call every machine a worker"),
        (
            '{"cluster": {"worker": ["a", "b:2"]}, "task": {"type": "worker", "index": 0}}',
            "different addresses host:port",
        ),
        (
            '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
            "different addresses host:port",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
            "a number from 0 to 1. Received: 2.",
        ),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": "first"}}', "Received: 'first'."),
    ],
)
def test_a_wrong_tf_config_is_one_sentence_that_shows_the_right_one(config, says, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError) as caught:
        strategies.multi_worker()
    said = own_message(caught.value)  # without the call that gin adds
    assert says in said and "On each machine, with its own index: TF_CONFIG='{" in said and "\n" not in said


def test_an_index_in_quotes_is_a_number():
    text = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": "1"}}'
    assert workers.check_config(text) == ["a:1", "b:2"]


def test_a_worker_that_would_train_alone_says_so(monkeypatch, caplog):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}')
    with caplog.at_level("WARNING", logger="absl"):
        strategies.one_device()
    assert "TF_CONFIG names 2 workers" in caplog.text and "@strategies.multi_worker" in caplog.text
    caplog.clear()
    monkeypatch.setenv("TF_CONFIG", "no JSON, and nobody's")
    strategies.one_device()
    assert not caplog.text


def test_each_task_of_a_job_gets_the_same_cluster_and_its_own_place():
    job = {
        "SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "gpu[1-4]", "SLURM_STEP_NODELIST": "gpu[1-2]",
        "SLURM_TASKS_PER_NODE": "2(x4)", "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }  # fmt: skip
    configs = [json.loads(workers.config_from_slurm({**job, "SLURM_PROCID": str(n)})) for n in range(3)]
    port = 20000 + 1234567 % 20000
    assert configs[0]["cluster"]["worker"] == [f"gpu1:{port}", f"gpu1:{port + 1}", f"gpu2:{port}"]
    assert [config["task"]["index"] for config in configs] == [0, 1, 2]
    assert configs[0]["cluster"] == configs[2]["cluster"]
    assert workers.config_from_slurm({"PATH": "/bin"}) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"SLURM_STEP_NODELIST": ""}, "not SLURM_STEP_NODELIST"),
        ({"SLURM_STEP_NODELIST": "n[1-"}, "Not a SLURM node list"),
        ({"SLURM_STEP_NODELIST": "n[1-3]"}, "names 3 nodes .* tasks for 2"),
        ({"SLURM_STEP_TASKS_PER_NODE": "two"}, "Not SLURM's tasks per node"),
        ({"SLURM_DISTRIBUTION": "cyclic"}, "--distribution=block"),
    ],
)
def test_what_slurm_cannot_have_meant_is_refused(changes, says):
    job = {"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    with pytest.raises(ValueError, match=says):
        workers.config_from_slurm({**job, **changes})


def test_a_job_of_one_task_is_refused_with_what_to_set(monkeypatch):
    for name, value in {"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "n1", "SLURM_STEP_TASKS_PER_NODE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_CONFIG", "{}")  # restored after the test, whatever is set
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(ValueError, match=r"two or more workers \(or srun\), found \['n1:20000'\]"):
        strategies.multi_worker()


def free_job_number(workers_of_node: int) -> int:
    """Returns a SLURM job number whose ports are free."""
    for number in range(os.getpid() % 9000, 20000):
        ports = [workers.FIRST_PORT + number + task for task in range(workers_of_node)]
        sockets = [socket.socket() for _ in ports]
        try:
            for one, port in zip(sockets, ports, strict=True):
                one.bind(("127.0.0.1", port))
            return number
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise RuntimeError("no free ports")


def start(
    records: Path, run_dir: Path, settings: Path, logs: Path, other: Path | None = None
) -> list[subprocess.Popen]:
    """Starts two tasks as srun would on one node; the second sees `other` in place of `run_dir`."""
    logs.mkdir()
    number = free_job_number(2)
    processes = []
    for index in range(2):
        environment = {
            **os.environ, "SLURM_PROCID": str(index), "SLURM_JOB_ID": str(number), "SLURM_STEP_NODELIST": "127.0.0.1",
            "SLURM_STEP_TASKS_PER_NODE": "2",
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "dr_edge.train",
            f"--gin_file={settings}",
            f"--records={records}",
            f"--run_dir={other if other is not None and index else run_dir}",
        ]
        with open(logs / f"{index}.log", "w") as log:
            processes.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=log, stdout=log))
    return processes


def rows(run_dir: Path) -> int:
    log = run_dir / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.is_file() else 0


@pytest.mark.slow
def test_two_workers_go_on_from_the_same_checkpoint_or_not_at_all(coloured_records, tmp_path):
    settings, run_dir = tmp_path / "small.gin", tmp_path / "run"
    settings.write_text(SETTINGS.replace("EPOCHS", "24"))
    processes = start(coloured_records, run_dir, settings, tmp_path / "logs")
    deadline = time.monotonic() + 200
    while rows(run_dir) < 6 and time.monotonic() < deadline and all(process.poll() is None for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()
    before, newest = sorted((run_dir / "checkpoints").glob("step-*"))[-2:]

    other = shutil.copytree(run_dir, tmp_path / "other")
    shutil.rmtree(other / "checkpoints" / newest.name)
    processes = start(coloured_records, run_dir, settings, tmp_path / "apart", other)
    codes = [process.wait(timeout=200) for process in processes]
    for index in range(2):
        said = " ".join((tmp_path / "apart" / f"{index}.log").read_text().split())
        assert codes[index] == 1 and f"worker {index} of 2 stands at epoch" in said, said[-3000:]
        assert "The workers do not see the same" in said and "Traceback" not in said

    content = bytearray((newest / "variables.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "variables.npz").write_bytes(content)
    processes = start(coloured_records, run_dir, settings, tmp_path / "again")
    codes = [process.wait(timeout=300) for process in processes]
    said = [" ".join((tmp_path / "again" / f"{index}.log").read_text().split()) for index in range(2)]
    assert codes == [0, 0], said[0][-3000:]
    assert f"set aside as damaged-{newest.name}, and the run goes on from {before.name}" in said[0]
    assert f"damaged-{newest.name}" not in said[1], "a worker that does not write the run moved its checkpoint"
    run = json.loads((run_dir / "run.json").read_text())
    assert run["status"] == "finished" and run["epochs_run"] == 24 and rows(run_dir) == 48


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_other_and_a_restart_resumes(victim, coloured_records, tmp_path):
    settings = tmp_path / "small.gin"
    settings.write_text(SETTINGS.replace("EPOCHS", "24"))
    processes = start(coloured_records, tmp_path / "run", settings, tmp_path / "logs")
    try:
        deadline = time.monotonic() + 200
        while rows(tmp_path / "run") < 4 and time.monotonic() < deadline:
            assert all(process.poll() is None for process in processes), (tmp_path / "logs" / "0.log").read_text()[
                -3000:
            ]
            time.sleep(0.05)
        processes[victim].send_signal(signal.SIGKILL)
        survivor = processes[1 - victim].wait(timeout=WITHIN_SECONDS)
    finally:
        for process in processes:
            process.kill()
    said = (tmp_path / "logs" / f"{1 - victim}.log").read_text()
    assert survivor == 1, said[-3000:]
    assert re.search(rf"Worker {1 - victim} stops: worker {victim} \(127.0.0.1:\d+\) of 2 does not answer", said), said[
        -3000:
    ]
    assert "run the same command on every machine again" in said.replace("\n", " ") and "Traceback" not in said
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"

    if victim == 0:
        return  # the restart is the same: what it needs is on the disk
    processes = start(coloured_records, tmp_path / "run", settings, tmp_path / "again")
    codes = [process.wait(timeout=300) for process in processes]
    said = (tmp_path / "again" / "0.log").read_text()
    assert codes == [0, 0] and "Resuming" in said, said[-3000:]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["status"] == "finished" and run["epochs_run"] == 24
    assert rows(tmp_path / "run") == 48
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    with np.load(newest / "variables.npz") as arrays:
        assert all(np.isfinite(arrays[key]).all() for key in arrays.files)
