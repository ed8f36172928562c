"""The command line's search space: what is read, what it becomes in gin, and what is refused."""

from __future__ import annotations

import ast

import pytest

from dr_edge.tuning import space, trials


def test_a_grid_becomes_gin_bindings():
    rate = space.parse_grid("schedules.constant.learning_rate=[1e-2, 1e-05]")
    optimizer = space.parse_grid("train.optimizer = ['@optimizers.adam', '@optimizers.sgd']")
    name = space.parse_grid("train.select_by=['auc', None, (1, 2)]")
    assert rate.values == ("0.01", "1e-05") and optimizer.values == ("@optimizers.adam", "@optimizers.sgd")
    assert [ast.literal_eval(value) for value in name.values] == ["auc", None, (1, 2)]
    made = space.bindings(
        {rate.name: "0.01", optimizer.name: "@optimizers.sgd", name.name: "'auc'"}, [rate, optimizer, name]
    )
    assert made == [
        "schedules.constant.learning_rate = 0.01",
        "train.optimizer = @optimizers.sgd",
        "train.select_by = 'auc'",
    ]


@pytest.mark.parametrize(
    ("text", "kind", "bounds"),
    [
        ("a.b=loguniform(1e-5,1e-2)", "loguniform", (1e-5, 1e-2)),
        ("a.b = uniform(-1, 0.5)", "uniform", (-1, 0.5)),
        ("a.b=int(2, 9)", "int", (2, 9)),
        ("MACRO=logint(1, 64)", "logint", (1, 64)),
    ],
)
def test_ranges_are_read(text, kind, bounds):
    dimension = space.parse_search(text)
    assert (dimension.kind, (dimension.low, dimension.high)) == (kind, bounds)
    assert space.bindings({dimension.name: 3}, [dimension]) == [f"{dimension.name} = 3"]


def test_a_trials_name_depends_on_its_values_alone():
    one, two = space.parse_grid("a.b=[1, 2]"), space.parse_search("c.d=uniform(0, 1)")
    names = {space.trial_name({"a.b": a, "c.d": c}, [one, two]) for a in ("1", "2") for c in (0.25, 0.5)}
    assert len(names) == 4 and space.trial_name({"c.d": 0.25, "a.b": "1"}, [one, two]) in names


@pytest.mark.parametrize(
    "text", ["a.b", "a.b=3", "a.b=[]", "a.b=[1, 1]", "=[1]", "a b=[1]", "a.b=[@x]", "a.b=[1", "a.b={1}"]
)
def test_bad_grids_are_refused(text):
    with pytest.raises(ValueError, match="a.b|=|twice"):
        space.parse_grid(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.b=uniform(1, 1)", "a.b=loguniform(0, 1)", "a.b=int(0.5, 2)", "a.b=normal(0, 1)", "a.b=uniform(1)",
        "a.b=uniform('a', 2)", "a.b=choice(1, 2)", "a.b=choice([])", "a.b", "a.b=__import__('os')",
    ],
)  # fmt: skip
def test_bad_ranges_are_refused(text):
    with pytest.raises(ValueError, match="Received|Cannot read"):
        space.parse_search(text)


def test_the_reason_of_a_failure_is_the_trainings_own_words():
    said = "epoch 1: 3 of 9 step\nerror: The loss became nan at step 3.\nmore\n"
    assert trials.failure(1, said) == "The loss became nan at step 3."
    assert trials.failure(1, "Traceback\nKeyError: 'x'\n") == "KeyError: 'x' (exit status 1)"
    assert (
        trials.failure(-9, "")
        == "killed by signal 9 (SIGKILL), often for lack of memory: try a smaller train.batch_size"
    )
    assert "it said nothing" in trials.failure(3, "")
