"""Which epoch is the best, and when to stop looking for a better one. No TensorFlow import: `tune` reads it, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOWER_IS_BETTER = ("loss", "log_loss")


def is_better(values: Mapping[str, Any], best: Mapping[str, Any], select_by: str) -> bool:
    """Says whether the validation `values` beat the best so far; an undefined one never does, unless it is the first.

    Args:
      values: of an epoch's validation.
      best: {"metric", "value", ...}, or {} before the first epoch.
      select_by: name of the metric.

    Raises:
      ValueError: validation gives no such metric.
    """
    if select_by not in values:
        raise ValueError(f"train.select_by = {select_by!r}, but validation gives {sorted(values)}.")
    value = values[select_by]
    if not best or best["value"] is None:
        return True
    if value is None:
        return False
    return value < best["value"] if select_by in LOWER_IS_BETTER else value > best["value"]


def undefined(select_by: str, values: Mapping[str, Any]) -> str:
    """Says why the validation `values` cannot choose an epoch by `select_by`, which is None there, and what to do."""
    known = sorted(key for key, value in values.items() if isinstance(value, (int, float)))
    return (
        f"validation gives no {select_by}, by which the best epoch is chosen: the validation images hold one class "
        "only, or no such mask. Until one gives it, best.keras is that of the latest epoch. Build the records again "
        "with every class in validation (a larger --val_fraction, or other rows called val in the table's split "
        f"column), or bind train.select_by to one of {known}."
    )


def is_exhausted(epoch: int, best: Mapping[str, Any], patience: int | None) -> bool:
    """Says whether `patience` epochs have passed since the best one; None: never."""
    return patience is not None and bool(best) and epoch - best["epoch"] >= patience


def check_direction(metric: str, maximize: bool) -> None:
    """Raises ValueError where a search for the largest value has a metric that is good when small, or the reverse."""
    if (metric in LOWER_IS_BETTER) == maximize:
        raise ValueError(f"train.select_by is {metric!r}: give {'--nomaximize' if maximize else '--maximize'}.")
