"""The search itself: which values come next (Optuna), who works on them, and what came of them.

All that is known stands in Optuna's storage, so that the search goes on after `kill -9`, and several processes or
machines share it. A trial whose process is gone is given up in the storage, which only one of several can do, and its
values are queued again; its run directory is named by the values, so the training goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import optuna
from absl import logging
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dr_edge.tuning.space import Dimension

BEAT_SECONDS = 15.0
LOST_SECONDS = 120.0  # without a sign of life from another machine
SAMPLERS = ("grid", "random", "tpe")
REASON = "reason"  # user attribute of a trial that failed by itself
CONTINUES = "continues"  # user attribute: the number of the lost trial whose values are tried again


def check_sampler(sampler: str, dimensions: Sequence[Dimension], trials: int | None) -> None:
    """Raises ValueError where a sampler does not fit what is searched."""
    if not dimensions:
        raise ValueError("A search needs --grid or --search, which name the bindings to vary. Received: neither.")
    if sampler not in SAMPLERS:
        raise ValueError(f"--sampler must be one of {', '.join(SAMPLERS)}. Received: {sampler!r}.")
    if sampler == "grid" and any(dimension.kind != "choice" for dimension in dimensions):
        raise ValueError("A grid needs listed values: --grid. Ranges (--search) need --sampler=tpe or random.")
    if sampler != "grid" and (trials is None or trials < 1):
        raise ValueError(f"The sampler {sampler!r} needs --trials=N.")


class Search:
    """One search: its dimensions, its sampler and its study."""

    def __init__(
        self, storage: str, name: str, sampler: str, dimensions: Sequence[Dimension], trials: int | None, seed: int,
        maximize: bool, content: Mapping[str, Any], set_aside: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Opens the study of this search, or makes it.

        Args:
          storage: an SQLAlchemy URL (sqlite:///FILE, postgresql://...) or the path of a journal file.
          name: of the study in the storage.
          sampler: one of SAMPLERS.
          dimensions: what is searched.
          trials: how many, over all processes; None for a grid: all of it.
          seed: of the sampler.
          maximize: whether a higher value is better.
          content: what makes this search this one; a study of another search is refused, unless all of its trials
            failed by themselves: then it is replaced.
          set_aside: called before a study is replaced, to move what its trials left.

        Raises:
          ValueError: a sampler that does not fit the dimensions, or a study of another search.
        """
        check_sampler(sampler, dimensions, trials)
        self.dimensions, self._sampler, self._seed = tuple(dimensions), sampler, seed
        self._grid = [dict(zip([d.name for d in dimensions], values, strict=True)) for values in self._product()]
        self.total = len(self._grid) if sampler == "grid" and trials is None else int(trials or 0)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        self.study = optuna.create_study(
            storage=_storage(storage), study_name=name, direction=direction, load_if_exists=True
        )
        wanted = json.loads(
            json.dumps({**content, "dimensions": [d.to_json() for d in dimensions], "sampler": sampler})
        )
        before = self.study.user_attrs.get("search")
        differing = sorted(key for key in wanted if before is not None and before.get(key) != wanted[key])
        # Optuna keeps a study's first direction.
        differing += ["--maximize"] if self.study.direction != direction else []
        if differing and self._all_failed():
            set_aside()
            opened = _storage(storage)
            optuna.delete_study(study_name=name, storage=opened)
            self.study = optuna.create_study(storage=opened, study_name=name, direction=direction)
            logging.info(
                "No trial of the search before has finished; it is replaced (%s differ).", ", ".join(differing)
            )
            before, differing = None, []
        if before is None:
            self.study.set_user_attr("search", wanted)
        elif differing:
            raise ValueError(
                f"The study {name!r} in {storage} is of another search: {', '.join(differing)} differ. Give the same "
                "flags as before, or another --run_dir."
            )

    def _all_failed(self) -> bool:
        """Says whether every trial, of one or more, failed by itself: none finished, runs, or was interrupted."""
        trials = self.study.get_trials(deepcopy=False)
        nothing = (TrialState.PRUNED, TrialState.WAITING)
        return bool(trials) and all(t.state in nothing or (t.state == TrialState.FAIL and not _lost(t)) for t in trials)

    def _product(self) -> Iterator[tuple[str, ...]]:
        return itertools.product(*(d.values for d in self.dimensions)) if self._sampler == "grid" else iter(())

    def next_trial(self) -> tuple[optuna.Trial, dict[str, Any]] | None:
        """Returns the next trial to work on and its values, lost ones first; None where all are done or under way."""
        while True:
            self._queue_lost()
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if (
                not waiting
                and not self._queue_grid()
                and (self._sampler == "grid" or len(self.counted()) >= self.total)
            ):
                return None
            self.study.sampler = self._fresh_sampler()
            trial = self.study.ask()
            trial.set_user_attr(
                "owner", {"host": socket.gethostname(), "pid": os.getpid(), "start": _start_of(os.getpid())}
            )
            values = self._suggest(trial)
            others = [t for t in self.counted() if t.number < trial.number and t.params == trial.params]
            if not others:
                return trial, values
            self.study.tell(trial, state=TrialState.PRUNED)  # another process drew the same at the same moment

    def _fresh_sampler(self) -> optuna.samplers.BaseSampler:
        """Returns a sampler whose draws depend on the seed and the number of trials: new ones after a restart."""
        seed = (self._seed * 1_000_003 + len(self.study.get_trials(deepcopy=False))) % 2**32
        return (
            optuna.samplers.TPESampler(seed=seed)
            if self._sampler == "tpe"
            else optuna.samplers.RandomSampler(seed=seed)
        )

    def _queue_grid(self) -> bool:
        """Queues the next values of the grid that nobody has taken; says whether there were any."""
        taken = [trial.params or trial.system_attrs.get("fixed_params") for trial in self.counted()]
        free = [values for values in self._grid if values not in taken]
        if free and len(taken) < self.total:
            self.study.enqueue_trial(free[0])
            return True
        return False

    def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Returns the trial's values: name -> number, or gin text of a choice."""
        values: dict[str, Any] = {}
        for dimension in self.dimensions:
            log = dimension.kind.startswith("log")
            if dimension.kind == "choice":
                values[dimension.name] = trial.suggest_categorical(dimension.name, list(dimension.values))
            elif dimension.kind in ("int", "logint"):
                values[dimension.name] = trial.suggest_int(
                    dimension.name, int(dimension.low), int(dimension.high), log=log
                )
            else:
                values[dimension.name] = trial.suggest_float(dimension.name, dimension.low, dimension.high, log=log)
        return values

    def counted(self) -> list[FrozenTrial]:
        """Returns the trials that stand for themselves: neither lost and tried again nor drawn twice."""
        trials = self.study.get_trials(deepcopy=False)
        continued = {trial.user_attrs.get(CONTINUES) for trial in trials}
        return [t for t in trials if t.state != TrialState.PRUNED and t.number not in continued and not _lost(t)]

    def _queue_lost(self) -> None:
        """Gives up the running trials whose process does not live any more, and queues their values again."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _alive(trial):
                try:
                    self.study.tell(trial.number, state=TrialState.FAIL)  # one process can: the others get an error
                except (ValueError, RuntimeError):
                    continue
                self._again(trial)
        continued = {trial.user_attrs.get(CONTINUES) for trial in self.study.get_trials(deepcopy=False)}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            ended = trial.datetime_complete.timestamp() if trial.datetime_complete else time.time()
            if _lost(trial) and trial.number not in continued and time.time() - ended > BEAT_SECONDS:
                self._again(trial)  # a process died between the two lines above

    def _again(self, trial: FrozenTrial) -> None:
        if trial.params:
            self.study.enqueue_trial(trial.params, user_attrs={CONTINUES: trial.number})

    def finish(self, trial: optuna.Trial, value: float | None, reason: str, details: Mapping[str, Any]) -> None:
        """Records what came of a trial: a value, or None and the reason."""
        for key, detail in details.items():
            trial.set_user_attr(key, detail)
        if value is None:
            trial.set_user_attr(REASON, reason)
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)


def _storage(url: str) -> Any:
    if "://" in url:
        return optuna.storages.RDBStorage(url)
    return optuna.storages.JournalStorage(JournalFileBackend(url))


def _lost(trial: FrozenTrial) -> bool:
    """Says whether a trial ended because its process did."""
    return trial.state == TrialState.FAIL and REASON not in trial.user_attrs


def _alive(trial: FrozenTrial) -> bool:
    """Says whether the process that works on a running trial lives, as far as can be known here."""
    owner = trial.user_attrs.get("owner")
    started = trial.datetime_start.timestamp() if trial.datetime_start else time.time()
    if owner is not None and owner["host"] == socket.gethostname() and owner["start"] is not None:
        return _start_of(owner["pid"]) == owner["start"]
    return time.time() - trial.user_attrs.get("beat", started) < LOST_SECONDS


def _start_of(pid: int) -> str | None:
    """Returns when a process started, in kernel ticks: its number may be used again; None: not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


@contextmanager
def beating(trial: optuna.Trial) -> Iterator[None]:
    """Writes a sign of life into the storage every BEAT_SECONDS, for processes on other machines."""
    done = Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            trial.set_user_attr("beat", time.time())

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
