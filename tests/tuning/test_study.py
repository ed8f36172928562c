"""The study: every combination once, over restarts, dead processes and several workers, on SQLite and a journal."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from dr_edge.tuning import report, space, trials
from dr_edge.tuning.study import REASON, Search, beating

REPOSITORY = Path(__file__).resolve().parents[2]
GRID = (space.parse_grid("a.rate=[0.1, 0.01, 0.001]"), space.parse_grid("a.batch=[2, 4]"))
RANGES = (space.parse_search("a.rate=loguniform(1e-5,1e-2)"), space.parse_search("a.batch=int(2, 8)"))


@pytest.fixture(params=["sqlite", "journal"])
def storage(request, tmp_path) -> str:
    return f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else str(tmp_path / "study.log")


def open_search(storage, dimensions=GRID, sampler="grid", trials=None, **changes):
    arguments = {"name": "s", "seed": 3, "maximize": True, "content": {"gin": "x"}}
    return Search(storage, sampler=sampler, dimensions=dimensions, trials=trials, **{**arguments, **changes})


def score(values) -> float:
    return -abs(float(values["a.rate"]) - 0.01) - float(values["a.batch"]) / 100


def test_a_grid_is_gone_through_once_over_restarts(storage):
    seen = []
    for _ in range(3):  # each time a new process would open the study
        search = open_search(storage)
        for _ in range(2):
            trial, values = search.next_trial()
            seen.append((values["a.rate"], values["a.batch"]))
            search.finish(trial, score(values), "", {"metric": "auc", "epoch": 1, "seconds": 0.1})
    assert sorted(seen) == sorted(itertools.product(GRID[0].values, GRID[1].values))
    assert open_search(storage).next_trial() is None
    rows = report.table(search.counted(), GRID)
    assert report.best(rows, True)["a.rate"] == "0.01" and report.best(rows, True)["a.batch"] == "2"
    assert report.best(rows, False)["a.rate"] == "0.1"


def test_two_that_share_a_grid_divide_it(storage):
    one, two = open_search(storage), open_search(storage)
    taken, done = [], 0
    for search in itertools.cycle([one, two]):
        found = search.next_trial()
        if found is None:
            break
        taken.append(tuple(found[1].values()))  # both stay under way until the end
        done += 1
    assert done == 6 and len(set(taken)) == 6


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_ranges_are_searched_within_their_bounds_and_never_twice_the_same(sampler, storage):
    drawn = []
    for _ in range(2):
        search = open_search(storage, RANGES, sampler, trials=12)
        for _ in range(6):
            trial, values = search.next_trial()
            drawn.append((values["a.rate"], values["a.batch"]))
            search.finish(trial, score(values), "", {})
    assert search.next_trial() is None and len(set(drawn)) == 12
    assert all(1e-5 <= rate <= 1e-2 and batch in range(2, 9) for rate, batch in drawn)
    below = sum(rate < 3e-4 for rate, _ in drawn)
    assert 1 <= below <= 11  # uniform in the logarithm: half are expected


def test_a_failed_trial_keeps_its_reason_and_is_not_tried_again(storage):
    search = open_search(storage)
    trial, values = search.next_trial()
    search.finish(trial, None, "The loss became nan", {})
    others = []
    while (found := search.next_trial()) is not None:
        others.append(found[1])
        search.finish(found[0], 0.5, "", {})
    assert values not in others and len(others) == 5
    row = report.table(search.counted(), GRID)[0]
    assert (row["state"], row["reason"], row["value"]) == ("failed", "The loss became nan", None)
    assert search.study.get_trials()[0].user_attrs[REASON] == "The loss became nan"


def test_the_values_of_a_dead_process_are_tried_again(storage):
    """A process takes a trial and dies; the next search takes up the same values, and the table shows them once."""
    program = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_study, os\n"
        f"trial, values = test_study.open_search({storage!r}).next_trial()\n"
        "print(values['a.rate'], values['a.batch'], flush=True); os.kill(os.getpid(), 9)"
    )
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert dead.returncode == -9, dead.stderr
    search = open_search(storage)
    trial, values = search.next_trial()
    assert [values["a.rate"], values["a.batch"]] == dead.stdout.split()
    search.finish(trial, 0.9, "", {"metric": "auc"})
    count = 1
    while (found := search.next_trial()) is not None:
        assert found[1] != values
        search.finish(found[0], 0.5, "", {})
        count += 1
    assert count == 6 and len(report.table(search.counted(), GRID)) == 6


def test_a_living_process_keeps_its_trial(storage):
    first = open_search(storage)
    _, values = first.next_trial()
    assert open_search(storage).next_trial()[1] != values


def test_another_machine_is_given_up_when_its_beat_stops(storage, monkeypatch):
    from dr_edge.tuning import study

    monkeypatch.setattr(study, "BEAT_SECONDS", 0.05)
    search = open_search(storage)
    trial, values = search.next_trial()
    trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "start": "7"})
    with beating(trial):
        time.sleep(0.3)
    beat = search.study.get_trials()[0].user_attrs["beat"]
    assert abs(beat - time.time()) < 5
    assert open_search(storage).next_trial()[1] != values
    trial.set_user_attr("beat", time.time() - study.LOST_SECONDS - 1)
    assert open_search(storage).next_trial()[1] == values


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"content": {"gin": "y"}}, "of another search: gin differ"),
        ({"dimensions": GRID[:1]}, "dimensions differ"),
        ({"dimensions": RANGES}, "A grid needs listed values"),
        ({"dimensions": (), "sampler": "tpe"}, "needs --grid or --search"),
        ({"dimensions": RANGES, "sampler": "tpe"}, "needs --trials=N"),
        ({"sampler": "best"}, "--sampler must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(changes, says, storage):
    open_search(storage)
    with pytest.raises(ValueError, match=says):
        open_search(storage, **changes)


@pytest.mark.parametrize(("metric", "maximize"), [("loss", True), ("auc", False)])
def test_a_search_in_the_wrong_direction_is_refused(metric, maximize):
    from dr_edge.training.selection import check_direction

    check_direction(metric, not maximize)
    with pytest.raises(ValueError, match=f"'{metric}': give --(no)?maximize"):
        check_direction(metric, maximize)


def test_the_table_and_the_plot_are_written(tmp_path, storage):
    search = open_search(storage)
    for number in range(4):
        trial, values = search.next_trial()
        search.finish(
            trial,
            None if number == 2 else score(values),
            "out of memory",
            {"metric": "auc", "epoch": 2, "seconds": 1.5},
        )
    rows = report.table(search.counted(), GRID)
    report.write(tmp_path, rows, GRID, maximize=True)
    lines = (tmp_path / report.CSV_FILE).read_text().splitlines()
    assert lines[0] == "trial,state,value,metric,epoch,seconds,a.rate,a.batch,run_dir,reason" and len(lines) == 5
    assert lines[3].endswith("out of memory") and lines[1].startswith("0,finished,")
    import cv2

    picture = cv2.imread(str(tmp_path / report.PLOT_FILE))
    assert picture is not None and picture.shape[1] > 800 and picture.std() > 5
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_a_search_of_which_every_trial_failed_gives_way_to_a_corrected_one(storage, tmp_path):
    for name in ("trials", "logs"):
        (tmp_path / name).mkdir()
    search = open_search(storage, trials=2)
    for _ in range(2):
        search.finish(search.next_trial()[0], None, "no such binding", {})
    again = open_search(storage, trials=2)
    assert again.next_trial() is None, "the same search goes on where it was: at its end"
    changed = open_search(storage, maximize=False, content={"gin": "y"}, set_aside=lambda: trials.set_aside(tmp_path))
    assert sorted(path.name for path in (tmp_path / "before-1").iterdir()) == ["logs", "trials"]
    assert changed.counted() == [] and changed.study.direction.name == "MINIMIZE"
    assert changed.next_trial() is not None
    assert open_search(storage, maximize=False, content={"gin": "y"}).study.user_attrs["search"]["gin"] == "y"


def test_a_search_that_has_something_is_not_replaced(storage):
    def refused():
        pytest.fail("it was set aside")

    search = open_search(storage)
    trial, _ = search.next_trial()  # under way
    with pytest.raises(ValueError, match="gin differ"):
        open_search(storage, content={"gin": "y"}, set_aside=refused)
    search.finish(trial, 0.5, "", {"metric": "auc", "epoch": 1, "seconds": 0.1})
    with pytest.raises(ValueError, match="gin differ"):
        open_search(storage, content={"gin": "y"}, set_aside=refused)
    with pytest.raises(ValueError, match="--maximize differ"):
        open_search(storage, maximize=False, set_aside=refused)
    lost = open_search(storage, name="lost")
    lost.study.tell(lost.next_trial()[0], state=optuna.trial.TrialState.FAIL)  # its process died; its training is saved
    with pytest.raises(ValueError, match="gin differ"):
        open_search(storage, name="lost", content={"gin": "y"}, set_aside=refused)
