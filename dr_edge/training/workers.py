"""Several machines: who they are (TF_CONFIG or SLURM's variables), and what is said when one of them is lost."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dr_edge.framework import tf

FIRST_PORT, PORTS = 20000, 20000  # of a SLURM job: its number decides, so that jobs of one node do not collide
LOST = (
    tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
)  # fmt: skip


FORM = (
    "On each machine, with its own index: "
    """TF_CONFIG='{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'"""
)


class WorkerLost(RuntimeError):
    """Another worker of this run does not answer any more."""


def check_config(text: str) -> list[str]:
    """Checks the TF_CONFIG of a run of several machines and returns the addresses of its workers.

    Raises:
      ValueError: it cannot be read, or names something else than workers and this one among them; says what came.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as err:
        raise ValueError(f"TF_CONFIG is no JSON ({err.msg}, character {err.pos + 1}): {text[:100]}. {FORM}") from err
    cluster = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise ValueError(f"TF_CONFIG needs a cluster and a task. Received: {text[:100]}. {FORM}")
    others = sorted(set(cluster) - {"worker"})
    named = cluster.get("worker")
    if others or not isinstance(named, list) or task.get("type") != "worker":
        what = f"the cluster {sorted(cluster)} and a task of type {task.get('type')!r}"
        raise ValueError(f"TF_CONFIG must call every machine a worker, the first one too. Received: {what}. {FORM}")
    wrong = [
        address for address in named if not isinstance(address, str) or not re.fullmatch(r"[^\s/]+:\d{1,5}", address)
    ]
    if wrong or len(set(named)) < len(named):
        raise ValueError(f"TF_CONFIG needs different addresses host:port. Received: {named}. {FORM}")
    index = task.get("index")
    # TensorFlow takes text as an index, too.
    place = int(index) if isinstance(index, int | str) and re.fullmatch(r"\d+", str(index)) else -1
    if not 0 <= place < len(named):
        raise ValueError(
            f"TF_CONFIG needs the index of this worker, a number from 0 to {len(named) - 1}. Received: {index!r}. "
            f"{FORM}"
        )
    return named


def config_from_slurm(environment: Mapping[str, str]) -> str | None:
    """Returns the TF_CONFIG of this task of a SLURM job step, or None outside SLURM.

    Each task of `srun` is one worker; tasks are taken to be numbered node by node (--distribution=block, the default).
    Task n of a node listens on port 20000 + job number modulo 20000 + n.

    Args:
      environment: os.environ; reads SLURM_PROCID, SLURM_JOB_ID, SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE (or,
        of the job, SLURM_JOB_NODELIST and SLURM_TASKS_PER_NODE), SLURM_DISTRIBUTION.

    Raises:
      ValueError: a variable is missing or cannot be read, or the tasks are numbered otherwise.
    """
    if "SLURM_PROCID" not in environment:
        return None
    distribution = environment.get("SLURM_DISTRIBUTION", "block")
    if not distribution.startswith(("block", "unknown")):
        raise ValueError(f"SLURM numbers the tasks by {distribution!r}. Start with srun --distribution=block.")
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE")
    if not nodes or not tasks:
        raise ValueError(
            "SLURM_PROCID is set, but not SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE. Start with srun."
        )
    names, counts = expand_nodes(nodes), expand_counts(tasks)
    if len(names) != len(counts):
        raise ValueError(f"SLURM names {len(names)} nodes ({nodes}), but tasks for {len(counts)} ({tasks}).")
    port = FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % PORTS
    workers = [f"{name}:{port + task}" for name, count in zip(names, counts, strict=True) for task in range(count)]
    task = {"type": "worker", "index": int(environment["SLURM_PROCID"])}
    return json.dumps({"cluster": {"worker": workers}, "task": task})


def expand_nodes(text: str) -> list[str]:
    """Returns the host names of a SLURM node list, such as "gpu[01-03,07],login" -> gpu01, gpu02, gpu03, gpu07, login.

    Raises:
      ValueError: brackets that do not close or are empty.
    """
    found = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+|.", text):
        if part == ",":
            continue
        match = re.fullmatch(r"([^\[\]]*)(?:\[([\d,-]+)\](.*))?", part)
        if not match:
            raise ValueError(f"Not a SLURM node list: {text!r}.")
        prefix, numbers, rest = match.groups()
        if numbers is None:
            found.append(prefix)
            continue
        for entry in numbers.split(","):
            first, _, last = entry.partition("-")
            if not first:
                raise ValueError(f"Not a SLURM node list: {text!r}.")
            for number in range(int(first), int(last or first) + 1):
                found += [f"{prefix}{number:0{len(first)}d}{tail}" for tail in (expand_nodes(rest) if rest else [""])]
    return found


def expand_counts(text: str) -> list[int]:
    """Returns the tasks of each node of SLURM's short form, for example "2(x3),1" -> 2, 2, 2, 1.

    Raises:
      ValueError: another form.
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if not match:
            raise ValueError(f"Not SLURM's tasks per node: {text!r}.")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


@contextmanager
def named_loss(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turns the errors with which TensorFlow ends a step whose partner is gone into one that says which and what to do.

    Raises:
      WorkerLost: TensorFlow noticed it, usually 5 to 15 seconds after the loss.
    """
    try:
        yield
    except LOST as err:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        resolver = strategy.cluster_resolver
        workers = resolver.cluster_spec().as_dict()["worker"]
        own = int(resolver.task_id)
        lost = _named_in(err.message, own, workers) or [
            n for n in range(len(workers)) if n != own and not _answers(workers[n])
        ]
        if not lost:
            raise
        names = " and ".join(f"worker {number} ({workers[number]})" for number in lost)
        raise WorkerLost(
            f"Worker {own} stops: {names} of {len(workers)} does not answer any more. Look at its log. Then run the "
            "same command on every machine again; the run goes on from its last checkpoint."
        ) from err


def _named_in(message: str, own: int, workers: list[str]) -> list[int]:
    """Returns the workers other than `own` that TensorFlow's error message names as lost."""
    named = {
        int(n)
        for n in re.findall(r"(?:remote target |heartbeats\):?\s*)/job:worker/(?:replica:\d+/)?task:(\d+)", message)
    }
    return sorted(number for number in named if number != own and number < len(workers))


def _answers(address: str, seconds: float = 3.0) -> bool:
    """Says whether something listens at "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds):
            return True
    except OSError:
        return False
