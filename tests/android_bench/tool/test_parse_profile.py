"""android_bench.tool.parse_profile: the operator tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_bench.errors import ParseError
from android_bench.tool.parse_profile import parse_profile

NODES = [
    ("Convert (NC)", 0.11),
    ("TfLiteXNNPackDelegate", 21.5),
    ("CONV_2D", 3.25),
    ("CONV_2D", 1.75),
    ("SOFTMAX", 0.003),
]


def profile(nodes, start=True):
    """What StatsCalculator prints; older builds have a [start] column."""
    head = "\t             [node type]\t" + ("  [start]\t" if start else "")
    head += "  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]"
    lines = ["Profiling Info for Benchmark Initialization:", "=== noise"]
    lines += ["============================== Run Order ==============================", head, "\tx", ""]
    lines += ["", "Operator-wise Profiling Info for Regular Benchmark Runs:"]
    for title, order in (
        ("Run Order", nodes),
        ("Top by Computation Time", sorted(nodes, key=lambda n: -n[1])),
    ):
        lines += [f"============================== {title} ==============================", head]
        for number, (kind, ms) in enumerate(order):
            begin = "    0.000\t" if start else ""
            lines.append(
                f"\t{kind:>24}\t{begin}{ms + 0.2:9.3f}\t{ms:9.3f}\t  9.000%\t  9.000%\t     0.000\t       "
                f" 1\t[out/{number}]:{number}"
            )
        lines.append("")
    lines += ["Number of nodes executed: 5"]
    lines += ["============================== Summary by node type =============================="]
    lines += ["\t             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]\t[times called]"]
    for kind in dict(nodes):
        these = [ms for name, ms in nodes if name == kind]
        lines.append(
            f"\t{kind:>24}\t{len(these):9d}\t{sum(these):10.3f}\t    1.000%\t    1.000%\t     0.000\t        1"
        )
    lines += [
        "",
        "Timings (microseconds): count=50 first=1 curr=1 min=1 max=1 avg=1 std=0",
        "Memory (bytes): count=0",
        "",
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("start", [True, False])
def test_tables(start):
    found = parse_profile(profile(NODES, start))
    assert [(n["type"], n["ms"]) for n in found["nodes"]] == NODES
    assert found["nodes"][1]["name"] == "[out/1]:1"
    assert found["total_ms"] == pytest.approx(sum(ms for _, ms in NODES))
    assert [(k["type"], k["count"]) for k in found["by_type"]][:2] == [
        ("TfLiteXNNPackDelegate", 1),
        ("CONV_2D", 2),
    ]
    assert sum(k["percent"] for k in found["by_type"]) == pytest.approx(100)


@given(st.lists(st.tuples(st.sampled_from(["CONV_2D", "ADD", "Teflon Delegate"]), st.integers(0, 99999)), min_size=1))
def test_any_network(nodes):
    nodes = [(kind, thousandths / 1000) for kind, thousandths in nodes]
    found = parse_profile(profile(nodes))
    assert [(n["type"], n["ms"]) for n in found["nodes"]] == nodes


def test_cut_off_anywhere():
    text = profile(NODES)
    whole = parse_profile(text)
    for end in range(len(text)):
        try:
            found = parse_profile(text[:end])
        except ParseError:
            continue
        assert found == whole


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\t   21.500\t", "\t   2.1500\t"),
        ("   21.500\t    1.000%", "   91.500\t    1.000%"),
        ("Regular Benchmark Runs", "Other Runs"),
        ("[avg ms]", "[avg us]"),
        ("    3.250\t", "    x.250\t"),
    ],
)
def test_damage(old, new):
    text = profile(NODES, start=False)
    assert old in text
    with pytest.raises(ParseError):
        parse_profile(text.replace(old, new, 1) if old != "[avg ms]" else text.replace(old, new))


def test_two_profiles():
    with pytest.raises(ParseError, match="found 2"):
        parse_profile(profile(NODES) * 2)
