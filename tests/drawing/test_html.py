"""The frame of reports: strict, escaping, and without TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import jinja2
import pytest

from dr_edge.drawing import html


def test_a_template_is_escaped_and_an_unknown_name_is_an_error(tmp_path):
    (tmp_path / "page.j2").write_text("{{ name }}{{ 0.5 | twice }}{{ known }}")
    made = html.environment(tmp_path, filters={"twice": lambda value: 2 * value}, values={"known": "<b>"})
    assert made.get_template("page.j2").render(name="<i>") == "&lt;i&gt;1.0&lt;b&gt;"
    with pytest.raises(jinja2.UndefinedError):
        made.get_template("page.j2").render()


def test_the_report_of_the_demo_needs_no_tensorflow():
    """It ends a long chain, and TensorFlow's start-up lines would stand between the table and the link."""
    code = (
        "import sys; from pathlib import Path; import dr_edge.demo as demo; from dr_edge.drawing import html;"
        "from dr_edge.evaluation import number_text;"
        "html.environment(Path(demo.__file__).parent, filters=number_text.FILTERS).get_template('demo_report.html.j2');"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
