"""Union-find and equal texts give the groups that a plain search finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecord_tools import grouping
from tfrecord_tools.grouping import components, connected, equal_groups

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=25)


def searched(count: int, edges: list[tuple[int, int]]) -> list[list[int]]:
    """Groups of 0..count-1, by merging sets until nothing changes."""
    groups = [{node} for node in range(count)]
    for first, second in edges:
        one, other = (next(group for group in groups if node in group) for node in (first, second))
        if one is not other:
            groups.remove(other)
            one |= other
    return sorted(map(sorted, groups))


@settings(deadline=None)
@given(PAIRS)
def test_connected_nodes_are_those_that_a_search_finds(edges: list[tuple[int, int]]):
    expected = searched(20, edges)
    assert [group.tolist() for group in connected(20, edges)] == expected
    named = [(100 * first - 500, 100 * second - 500) for first, second in edges]
    found = components((100 * node - 500 for node in range(20)), named)
    assert found == [[100 * node - 500 for node in group] for group in expected]
    assert components([], []) == [] and list(connected(0, [])) == []


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdef"), max_size=30))
def test_equal_texts_are_grouped(texts: list[str]):
    indices = list(range(3, 3 + len(texts)))
    found = sorted(equal_groups(indices, lambda index: texts[index - 3]))
    groups = [[index for index in indices if texts[index - 3] == text] for text in sorted(set(texts))]
    assert found == sorted(group for group in groups if len(group) > 1)


def test_texts_of_one_digest_are_kept_apart(monkeypatch):
    monkeypatch.setattr(grouping, "digest_of", lambda text: len(text))
    texts = ["ab", "cd", "ab", "e", "cd", "fg"]
    assert sorted(equal_groups(range(6), texts.__getitem__)) == [[0, 2], [1, 4]]
