"""Random filters that bring copies together: how many there are, and which photographs pass which.

A filter is a random picture of independent normal values. A photograph of length 1 passes it in a position if its
product with the filter, brought into that position, is at least alpha; a fixed share of photographs does, whatever they
show. Two photographs of correlation r pass the same filter much more often than strangers do, by a law that knows
nothing of them but r: their two products are normal, with correlation r. So for every pair, whatever it shows, the
chance that it is never compared is known: `Plan.missed`.

Two lists of filters are drawn, each in groups: a pair is compared where it passes the same filter of a group of the
first list and, seen from that filter's position, the same of the same group of the second.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from tfrecord_tools.copy_basis import BACK, KINDS, POSITIONS, PRODUCTS, Basis
from tfrecord_tools.duplicates import COARSE_CORRELATION

SHARED = 16.0  # filters of one list that a pair at the threshold shares on average
GROUPS = 16
_BLOCK = 128  # photographs whose products are held at once
# Nanoseconds, on one x86-64 core: a product of a photograph with a filter, an entry of a couple of filters, a
# comparison. They only choose how long the lists are.
_PRODUCT, _ENTRY, _COMPARISON = 5.0, 500.0, 14.0
_LIKENESS = 2.0  # strangers meet that much more often than independent random pictures do


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many filters there are.

    Attributes:
      share: of photographs that pass a filter in one position.
      alpha: the product from which on they pass.
      filters: of each list, each in eight positions.
    """

    share: float
    alpha: float
    filters: int

    def group(self, which: np.ndarray | int) -> np.ndarray | int:
        """Returns the group of a filter."""
        return which * GROUPS // self.filters

    def missed(self, correlation: float = COARSE_CORRELATION) -> float:
        """Returns the chance that a pair of that correlation, unlike itself turned or mirrored, is never compared."""
        shared = POSITIONS * self.filters * both_pass(self.alpha, correlation) / GROUPS
        return (1 - (1 - math.exp(-shared)) ** 2) ** GROUPS


def plan_filters(photographs: int) -> Plan:
    """Chooses the lists that take the least time for that many photographs."""
    best, plan = math.inf, None
    for step in range(40):
        share = 0.05 * 0.9**step
        alpha = NormalDist().inv_cdf(1 - share)
        both = both_pass(alpha, COARSE_CORRELATION)
        filters = max(math.ceil(SHARED / both / POSITIONS), GROUPS)
        passed = POSITIONS * filters * share  # filters of one list that a photograph passes
        entries = passed**2 / GROUPS
        met = entries * POSITIONS * share**2 * photographs * _LIKENESS
        cost = 2 * POSITIONS * filters * _PRODUCT + entries * _ENTRY + met * _COMPARISON
        if cost < best:
            best, plan = cost, Plan(share, alpha, filters)
    if plan is None:
        raise RuntimeError("No plan was tried.")
    return plan


def both_pass(alpha: float, correlation: float) -> float:
    """Returns the chance that two normal values of that correlation are both at least alpha."""
    if correlation >= 1:
        return 1 - NormalDist().cdf(alpha)
    values = np.linspace(alpha, alpha + 8, 4001)
    rest = (alpha - correlation * values) / math.sqrt(1 - correlation**2)
    above = np.array([math.erfc(value / math.sqrt(2)) / 2 for value in rest])
    density = np.exp(-(values**2) / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(density * above, values))


@dataclasses.dataclass(frozen=True)
class Passed:
    """Which photographs pass which filters of a list, in which position; sorted by photograph, then by filter.

    Attributes:
      photographs: [E] int32.
      codes: [E] uint32, 8 * filter + position.
    """

    photographs: np.ndarray
    codes: np.ndarray

    def by_filter(self, filters: int) -> tuple[Passed, np.ndarray]:
        """Returns the same sorted by filter, and [F + 1] int64, where the entries of each begin."""
        of = self.codes // POSITIONS
        order = np.argsort(of, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=filters))])
        return Passed(self.photographs[order], self.codes[order]), starts

    def group_starts(self, count: int, plan: Plan) -> np.ndarray:
        """Returns [N * groups + 1] int64: where the entries of each photograph in each group begin."""
        starts = np.zeros(count * GROUPS + 1, np.int64)
        for begin in range(0, len(self.codes), 1 << 24):
            part = slice(begin, begin + (1 << 24))
            place = self.photographs[part].astype(np.int64) * GROUPS + plan.group(self.codes[part] // POSITIONS)
            starts[1:] += np.bincount(place, minlength=count * GROUPS)
        return np.cumsum(starts, out=starts)


def pass_filters(
    unit: Callable[[int, int], np.ndarray],
    count: int,
    basis: Basis,
    plan: Plan,
    seed: int,
    on_progress: Callable[[int], None],
) -> list[Passed]:
    """Multiplies every photograph with every filter, and returns who passes those of the two lists.

    Args:
      unit: gives [B, D] float32, the coordinates of photographs start..stop, of length 1.
      count: of photographs.
      seed: of the filters.
      on_progress: told how many photographs are done.
    """
    of = [np.flatnonzero(basis.kinds == kind) for kind in range(KINDS)]
    table = basis.table[BACK].astype(np.float32)  # a filter in a position, for a photograph in the one that undoes it
    drawn = np.random.default_rng(seed)
    lists = []
    for _ in range(2):
        filters = drawn.standard_normal((plan.filters, len(basis.kinds)), np.float32)
        lists.append([np.ascontiguousarray(filters[:, columns].T) for columns in of])
    work = np.empty((2, POSITIONS, _BLOCK, plan.filters), np.float32)  # fresh pages for each block would take longer
    found: list[list[np.ndarray]] = [[], [], [], []]
    for start in range(0, count, _BLOCK):
        block = unit(start, min(start + _BLOCK, count))
        parts = [np.ascontiguousarray(block[:, columns]) for columns in of]
        for number, own in enumerate(lists):
            row, code = _who_passes(parts, own, table, plan.alpha, work[:, :, : len(block)])
            found[2 * number].append((start + row).astype(np.int32))
            found[2 * number + 1].append(code.astype(np.uint32))
        on_progress(len(block))
    rows, codes = ([np.concatenate(part) for part in found[first::2]] for first in range(2))
    return [Passed(*both) for both in zip(rows, codes, strict=True)]


def _who_passes(
    parts: Sequence[np.ndarray], filters: Sequence[np.ndarray], table: np.ndarray, alpha: float, work: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row and the code of each pass, sorted; `parts` are the coordinates of each kind."""
    products, values = work
    for number, (mine, its) in enumerate(PRODUCTS):
        np.matmul(parts[mine], filters[its], out=products[number])
    if products.shape[1] == _BLOCK:
        np.matmul(table, products.reshape(POSITIONS, -1), out=values.reshape(POSITIONS, -1))
    else:  # the last block: parts of the work space do not lie in one piece
        values[:] = np.tensordot(table, products, 1)
    position, row, which = np.nonzero(values >= alpha)
    code = POSITIONS * which + position
    order = np.argsort(row * (POSITIONS * products.shape[2]) + code)
    return row[order], code[order]
