"""android_bench.report, plots and compare: what is written is what was measured, and nothing else."""

from __future__ import annotations

import csv
import io
import json

import pytest

from android_bench import compare, matrix, plots, report, rows
from dr_edge import metadata


@pytest.fixture
def make_row(make_cell):
    """make_row(centres, ...): an 'ok' row with one session per centre, as a phone without raw samples gives it."""

    def make(centres=(10.0, 10.4), environment="phone", median=True, **choice):
        row = matrix.empty_row(make_cell(**choice), environment)
        for centre in centres:
            latency = {"median": centre if median else None, "p5": None, "p95": None, "p90": None}
            latency |= {"mean": centre * 1.1, "min": centre * 0.9, "max": centre * 2, "std": 1.0, "runs": 50}
            row["sessions"].append(
                {
                    "latency_ms": latency, "samples_ms": [], "runtime": "benchmark_model",
                    "init_ms": 5.0, "first_ms": None,
                    "actual": {"accelerator": "CPU/XNNPACK", "delegated": 58, "total": 60, "partitions": 2},
                    "memory_mb": {"init": 3.0, "overall": 7.0, "peak_process": None},
                }
            )  # fmt: skip
        rows.conclude([row], len(centres))
        return row

    return make


def content(measured, **choice):
    return {
        "bundle": {"name": "bundle", "task": {}, "image_size": 512, "metadata_sha256": "0" * 64,
                   "accuracy_data": "test split"},
        "target": "adb", "started": "2026-11-20T00:00:00+00:00", "finished": "2026-11-20T00:10:00+00:00",
        "incomplete": None, "settings": {"sessions": 2, "runs": 50}, "tool": None,
        "device": {"label": "Maker Model", "kind": "phone",
                   "before": {"thermal_status": 0}, "after": {"thermal_status": None}},
        "rows": measured, **choice,
    }  # fmt: skip


@pytest.fixture
def several_rows(make_row, make_cell):
    failed = matrix.empty_row(make_cell(delegate="gpu"), "phone")
    matrix.set_aside(failed, "no_delegate", "GPU took 0 of 60 nodes. | No latency recorded.")
    slow, fast = make_row((30.0, 31.0), threads=1), make_row((10.0, 10.4), threads=4, core_mask="f0")
    fast["sustained"] = [
        {
            "minute": m,
            "latency_ms": {"median": 10.0 + m, "p90": None, "mean": 11.0, "runs": 5},
            "thermal_status": 0,
        }
        for m in (1.0, 2.0)
    ]
    operator = {"type": "CONV_2D", "count": 60, "ms": 8.0, "percent": 80.0}
    fast["op_profile"] = {"by_type": [operator], "nodes": [], "total_ms": 10.0}
    return [slow, failed, fast, make_row((20.0,), median=False, variant="static_int8")]


def test_a_whole_report(several_rows, tmp_path):
    report.write(tmp_path, content(several_rows))
    assert metadata.read_manifest(tmp_path, "bench")["rows"] == json.loads(json.dumps(several_rows))
    lines = (tmp_path / "bench.md").read_text().splitlines()
    table = [line for line in lines if line.startswith(("| float32", "| static_int8")) and "| ms |" not in line]
    # Fastest first; what has no figure is not among them.
    assert [line.split("|")[3].strip() for line in table[:3]] == ["4, mask f0", "1", "1"]
    assert "10.2" in table[0] and "58/60" in table[0] and "22 (mean)" in table[1] and "30.5" in table[2]
    text = "\n".join(lines)
    assert "GPU took 0 of 60 nodes. \\| No latency recorded." in text
    assert "Sustained: float32.tflite-t4-xnnpack-f0" in text and "CONV_2D" in text
    for name in ("latency.png", "sustained.png", "accuracy_latency_size.png"):
        assert f"![{name}]({name})" in text and (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_csv(several_rows):
    read = list(csv.DictReader(io.StringIO(report.to_csv(several_rows))))
    assert [line["median_ms"] for line in read] == ["30.5", "", "10.2", ""]
    assert [line["status"] for line in read] == ["ok", "no_delegate", "ok", "ok"]
    assert read[2]["core_mask"] == "f0" and read[2]["delegated_nodes"] == "58" and read[3]["p90_ms"] == ""
    assert tuple(read[0]) == tuple(report.COLUMNS)


@pytest.mark.parametrize(
    "damage",
    [
        {"status": "pending"},
        {"status": "failed", "reason": None, "latency_ms": None},
        {"status": "failed", "reason": "why"},
        {"latency_ms": None},
    ],
)
def test_a_row_that_contradicts_itself_is_never_written(make_row, tmp_path, damage):
    row = {**make_row(), **damage}
    with pytest.raises(ValueError, match="Row"):
        report.write(tmp_path, content([row]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("environment", ["emulated", "host"])
def test_what_is_no_phone_is_labelled(make_row, environment):
    text = report.to_markdown(content([make_row(environment=environment)]), [])
    assert "rank with no phone's" in text


def test_without_a_figure(make_cell, tmp_path):
    row = matrix.empty_row(make_cell(), "phone")
    matrix.set_aside(row, "not_measured", "the device went away")
    report.write(tmp_path, content([row], incomplete="the device went away"))
    text = (tmp_path / "bench.md").read_text()
    assert "No artifact gave a figure" in text and "Incomplete: the device went away" in text
    assert not list(tmp_path.glob("*.png"))


def test_conclude_keeps_the_sessions_apart(make_row):
    row = make_row((10.0, 14.0, 11.0))
    assert row["latency_ms"]["median"] == 11.0 and row["latency_ms"]["session_range"] == [10.0, 14.0]
    assert row["memory_mb"] == {"init": 3.0, "overall": 7.0, "peak_process": None} and row["init_ms"] == 5.0


def test_the_choice_is_drawn_once_per_artifact(make_row, tmp_path):
    measured = [make_row((value,), threads=t) for t, value in ((1, 30.0), (2, 20.0), (4, 10.0))]
    assert plots.draw(tmp_path, content(measured)) == ["latency.png", "accuracy_latency_size.png"]


def test_an_artifact_without_an_accuracy_is_no_number(make_row):
    bare = make_row(variant="static_int8")
    bare["accuracy"] = {}
    text = report.to_markdown(content([make_row(), bare]), [])
    assert "nan" not in text and "| unknown |" in text


def test_a_session_that_ran_elsewhere_keeps_no_figure(make_row):
    session = rows.without_figure(make_row()["sessions"][0])
    assert session["latency_ms"] is session["memory_mb"] is session["init_ms"] is None
    assert session["actual"]["accelerator"] == "CPU/XNNPACK" and not session["samples_ms"]


@pytest.fixture
def written(tmp_path):
    """written(name, rows, ...): a directory with the bench.json of these rows."""

    def write(name, measured, **choice):
        (tmp_path / name).mkdir()
        metadata.write_manifest(tmp_path / name, "bench", content(measured, **choice))
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(
    ("a", "b", "said", "ratio"),
    [
        ((10.0, 10.5), (8.0, 8.5), "faster", "0.805"),
        ((10.0, 10.5), (12.0, 12.5), "slower", "1.195"),
        ((10.0, 12.0), (11.0, 13.0), "within the spread", "1.091"),
        ((10.0,), (8.0,), "no spread to judge by", "0.800"),
    ],
)
def test_compare(make_row, written, a, b, said, ratio):
    text = compare.main([written("a", [make_row(a)]), written("b", [make_row(b)])])
    line = next(line for line in text.splitlines() if line.startswith("| float32"))
    assert said in line and ratio in line and "Different devices" not in text


def test_compare_never_ranks_a_computer_with_a_phone(make_row, written):
    text = compare.main([written("a", [make_row()]), written("b", [make_row(environment="host")])])
    line = next(line for line in text.splitlines() if line.startswith("| float32"))
    assert "not comparable: phone and host" in line and "|  |" in line


def test_compare_says_what_else_differs(make_row, make_cell, written):
    other = make_row((8.0, 8.1))
    other["artifact"]["sha256"] = "cd" * 32
    mean = make_row((20.0,), median=False, threads=2)
    failed = matrix.empty_row(make_cell(threads=8), "phone")
    matrix.set_aside(failed, "failed", "why")
    device = {"label": "Other", "kind": "phone", "before": {}, "after": {}}
    a = written("a", [make_row(), make_row(threads=2), make_row(threads=8)])
    b = written("b", [other, mean, failed, make_row(threads=16)], device=device)
    text = compare.main([a, b])
    assert "(phone), 2026-11-20T00:00:00+00:00, thermal status 0\n" in text
    assert "Different devices (label)" in text and "faster; other bytes" in text
    assert "not comparable: median and mean" in text and "no figure to compare" in text
    assert "Only in B: float32.tflite-t16-xnnpack." in text


def test_compare_refuses(make_row, written, tmp_path):
    a, b = written("a", [make_row()]), written("b", [make_row(threads=3)])
    with pytest.raises(ValueError, match="no row in common"):
        compare.main([a, b])
    with pytest.raises(ValueError, match="two report"):
        compare.main([a])
    with pytest.raises(ValueError, match=r"bench\.json"):
        compare.main([a, str(tmp_path)])


@pytest.mark.parametrize("accuracy", [(0.9998, 0.9997), (0.91, 0.78)])
def test_the_axis_of_a_share_ends_at_one(accuracy):
    from matplotlib import pyplot

    rows = [
        {
            "name": f"m{index}",
            "artifact": {"file": f"m{index}", "bytes": 3e5},
            "accuracy": {"auc": value},
            "latency_ms": {"median": 2.0 + index},
        }
        for index, value in enumerate(accuracy)
    ]
    figure = plots._choice(pyplot, rows, "auc", "test", "here")
    low, high = figure.axes[0].get_ylim()
    pyplot.close(figure)
    assert low < min(accuracy) and max(accuracy) < high
    assert high <= 1 + 0.13 * (high - low) and high - low > 0.0199


def test_names_of_strangers_keep_the_report_as_it_is(several_rows):
    """The directory's name and the phone's come from elsewhere, and a reason holds what a tool printed."""
    from markdown_it import MarkdownIt

    def structure(name: str) -> list[str]:
        told = content(several_rows)
        told["bundle"]["name"] = told["device"]["label"] = told["device"]["model"] = told["incomplete"] = name
        text = report.to_markdown(told, [])
        assert "<b>" not in text
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        return [kind.type for token in tokens for kind in (token, *(token.children or [])) if kind.type[:4] != "text"]

    plain = structure("a phone")
    assert "table_open" in plain
    for strange in ("a|b", "<b>x</b>", "[x](http://y)\n# Head", "`", "![x](y)", "**", "- a\n\n1. b"):
        assert structure(strange) == plain, strange
