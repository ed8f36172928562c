"""Weights & Biases, offline: what the loop logs stands in the files that W&B keeps in the run directory."""

from __future__ import annotations

import functools

import pytest

from dr_edge.data import tasks
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from dr_edge.training import loop, optimizers


def train(records, run_dir):
    return loop.train(
        records=str(records), run_dir=str(run_dir), task=tasks.referable_dr(), wandb_project="screening", epochs=1,
        model=functools.partial(resnet_v2_slim, channels=(4,)), batch_size=16,
        learning_rate=optimizers.constant(learning_rate=1e-3),
    )  # fmt: skip


def test_a_run_is_logged_offline(coloured_records, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason='needs the extra: pip install "dr_edge[wandb]"')
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(coloured_records, tmp_path / "run")
    offline = list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(offline) == 1 and run["status"] == "finished"
    logged = offline[0].read_bytes()  # records of protobuf, with each value as JSON text
    assert b"val/auc" in logged and str(run["best"]["value"]).encode() in logged and b"train/loss" in logged


def test_without_wandb_the_install_command_is_said(coloured_records, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(RuntimeError, match=r'pip install "dr_edge\[wandb\]"'):
        train(coloured_records, tmp_path / "run")
