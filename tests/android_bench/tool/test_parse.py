"""android_bench.tool.parse: both tools, every form, and nothing from damaged output."""

from __future__ import annotations

import statistics

import pytest
import tool_output
from hypothesis import given, settings
from hypothesis import strategies as st

from android_bench.errors import ParseError
from android_bench.tool import parse

TIMES = st.lists(st.integers(1, 4_000_000), min_size=1, max_size=40)
WARMUP, MEASURED = [18535, 14462, 14390], [14575, 14600, 14390, 15002, 14410, 14388, 14401, 14577]


@given(TIMES, TIMES, st.booleans())
def test_interpreter_tool(warmup, times, percentiles):
    found = parse.parse_output("interpreter", tool_output.interpreter(warmup, times, percentiles=percentiles), "")
    latency = found["latency_ms"]
    assert latency["runs"] == len(times) and found["warmup_runs"] == len(warmup)
    assert (latency["min"], latency["max"]) == (min(times) / 1e3, max(times) / 1e3)
    assert latency["mean"] == pytest.approx(statistics.fmean(times) / 1e3, rel=1e-5)
    assert found["first_ms"] == warmup[0] / 1e3 and found["init_ms"] == 5.331
    assert found["memory_mb"] == {"init": 6.14844, "overall": 109.848, "peak_process": None}
    assert latency["p90"] is None
    if percentiles:
        assert latency["median"] == sorted(times)[len(times) // 2] / 1e3
    else:
        assert latency["median"] is latency["p95"] is None


@given(TIMES, TIMES, st.booleans())
def test_compiled_model_tool(warmup, times, counts):
    out, err = tool_output.compiled_model(warmup, times, counts)
    found = parse.parse_output("compiled_model", out, err)
    latency = found["latency_ms"]
    assert latency["runs"] == len(times)
    assert latency["mean"] == pytest.approx(statistics.fmean(times) / 1e3, rel=1e-5, abs=0.00501)
    assert (latency["median"] is not None) == counts
    if counts:
        assert latency["min"] == min(times) / 1e3
    assert found["memory_mb"] == {"init": 20.5, "overall": 33.25, "peak_process": 61.0}


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_either_stream(stream):
    text = tool_output.interpreter(WARMUP, MEASURED, peak=True)
    out, err = (text, "WARNING: noise\n") if stream == "stdout" else ("noise\n", text)
    found = parse.parse_output("interpreter", out, err)
    assert found["latency_ms"]["min"] == 14.388 and found["memory_mb"]["peak_process"] == 141.25


def test_the_oldest_form():
    found = parse.parse_output("interpreter", tool_output.oldest(MEASURED), "")
    assert found["latency_ms"]["mean"] == pytest.approx(statistics.fmean(MEASURED) / 1e3, rel=1e-5)
    assert found["first_ms"] is None and found["memory_mb"]["overall"] is None and found["init_ms"] == 0.712


def test_logcat_and_carriage_returns():
    text = tool_output.interpreter(WARMUP, MEASURED).replace("INFO: ", "07-08 15:34:26.202 I/tflite  ( 5395): ")
    assert parse.parse_output("interpreter", text.replace("\n", "\r\n"), "")["latency_ms"]["runs"] == 8


def test_exponents():
    found = parse.parse_output("interpreter", tool_output.interpreter([2_000_000], [1_200_001, 1_200_003]), "")
    assert found["latency_ms"]["mean"] == pytest.approx(1200.0)


def test_no_warm_up():
    found = parse.parse_output("interpreter", tool_output.interpreter([], [5, 6]).replace("nan, Inf", "0, Inf"), "")
    assert found["warmup_runs"] == 0 and found["first_ms"] is None


def numbers(found):
    """Every number that a session yields."""
    flat = {**found["latency_ms"], **found["memory_mb"]}
    return flat | {name: found[name] for name in ("init_ms", "first_ms", "warmup_runs")}


def same_or_error(kind, out, err, whole):
    """A damaged output gives the very numbers of the whole one (or fewer of them), or a ParseError."""
    try:
        found = numbers(parse.parse_output(kind, out, err))
    except ParseError:
        return
    for name, value in found.items():
        # Without its exact lines, the compiled_model tool's rounded ones remain.
        slack = 0.0051 if kind == "compiled_model" else 0
        assert value is None or abs(value - whole[name]) <= slack, f"{name}: {value} instead of {whole[name]}"


OUTPUTS = {
    "interpreter": (tool_output.interpreter(WARMUP, MEASURED, peak=True), ""),
    "interpreter without percentiles": (tool_output.interpreter(WARMUP, MEASURED, percentiles=False), ""),
    "interpreter, oldest": (tool_output.oldest(MEASURED), ""),
    "interpreter, all the same": (tool_output.interpreter([77, 77], [123] * 50), ""),
    "compiled_model": tool_output.compiled_model(WARMUP, MEASURED),
    "compiled_model without counts": tool_output.compiled_model(WARMUP, MEASURED, counts=False),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_cut_off_anywhere(name):
    out, err = OUTPUTS[name]
    kind = name.split()[0].rstrip(",")
    whole = numbers(parse.parse_output(kind, out, err))
    for end in range(len(out)):
        same_or_error(kind, out[:end], err, whole)
        same_or_error(kind, out[:end], "", whole)
    for end in range(len(err)):
        same_or_error(kind, out, err[:end], whole)
    with pytest.raises(ParseError):
        parse.parse_output(kind, "", "")


LINES = st.sampled_from(
    [
        "ERROR: driver\n",
        "\n",
        "1\n",
        "count=3 curr=5(all same)\n",
        "x",
        "INFO: ",
        "avg=12 ",
        "00",
        "W/libc ( 12): y\n",
    ]
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(OUTPUTS)), st.data())
def test_another_programs_output_in_between(name, data):
    out, err = OUTPUTS[name]
    kind = name.split()[0].rstrip(",")
    whole = numbers(parse.parse_output(kind, out, err))
    text = err or out
    # Where a stream is cut by another, it is cut between two writes or where a buffer was full.
    place, piece = data.draw(st.integers(0, len(text))), data.draw(LINES)
    after, before = text[place - 1 : place].isdigit(), text[place : place + 1].isdigit()
    if (piece in ("00", "1\n") and after) or (piece == "1\n" and before):
        # digits after digits, or a line of digits in front of them, make another number, which no reader can tell
        return
    mixed = text[:place] + piece + text[place:]
    same_or_error(kind, *((out, mixed) if err else (mixed, err)), whole)


def test_a_number_that_goes_over_two_lines_is_refused():
    out, err = OUTPUTS["interpreter without percentiles"]
    assert not err and "overall=109.848" in out
    for broken in ("overall=1\n09.848", "overall=109.\n848", "overall=109\r\n.848"):
        with pytest.raises(ParseError, match="one goes over two lines"):
            parse.parse_output("interpreter", out.replace("overall=109.848", broken), err)


@settings(max_examples=200)
@given(st.sampled_from(sorted(OUTPUTS)), st.sampled_from(sorted(OUTPUTS)), st.data())
def test_two_runs_in_one_log(one, other, data):
    """Two runs interleaved by lines are an error, whichever tool they are of."""
    first, second = ("".join(OUTPUTS[name]).splitlines(keepends=True) for name in (one, other))
    mixed = []
    while first or second:
        take = first if (first and (not second or data.draw(st.booleans()))) else second
        mixed.append(take.pop(0))
    for kind in ("interpreter", "compiled_model"):
        with pytest.raises(ParseError):
            parse.parse_output(kind, "".join(mixed), "")


@given(st.sampled_from(["interpreter", "compiled_model"]), st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_an_error(kind, out, err):
    with pytest.raises(ParseError):
        parse.parse_output(kind, out, err)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("avg=14542.9 std", "avg=1454.9 std", "contradicts"),
        ("min=14388", "min=15388", "contradicts"),
        ("median=14575", "median=16575", "contradicts"),
        ("Inference (avg): 14542.9", "Inference (avg): 14642.9", "contradicts"),
        ("Inference (avg): 14542.9", "Inference (avg): nan", "incomplete"),
        ("first=14575", "first=99", "outside min"),
        ("count=8", "count=0", "damaged"),
    ],
)
def test_contradictions(old, new, match):
    text = tool_output.interpreter(WARMUP, MEASURED)
    assert old in text
    with pytest.raises(ParseError, match=match):
        parse.parse_output("interpreter", text.replace(old, new), "")


def test_the_compiled_models_two_places_must_agree():
    out, err = tool_output.compiled_model(WARMUP, MEASURED)
    with pytest.raises(ParseError, match="runs"):
        parse.parse_output("compiled_model", out, err.replace("(8 runs)", "(9 runs)"))
    with pytest.raises(ParseError, match="contradicts"):
        parse.parse_output("compiled_model", out, err.replace("14.54 ms (8", "14.44 ms (8"))


def test_a_count_of_thousands_of_digits():
    with pytest.raises(ParseError):
        parse.parse_output(
            "interpreter", tool_output.interpreter([9], [5, 6]).replace("count=2", "count=" + "2" * 5000), ""
        )


def test_one_tool_is_not_read_as_the_other():
    out, err = tool_output.compiled_model(WARMUP, MEASURED)
    with pytest.raises(ParseError, match="Inference timings"):
        parse.parse_output("interpreter", out, err)
    with pytest.raises(ParseError, match="BENCHMARK RESULTS"):
        parse.parse_output("compiled_model", tool_output.interpreter(WARMUP, MEASURED), "")
    with pytest.raises(ValueError, match="kind"):
        parse.parse_output("other", out, err)
