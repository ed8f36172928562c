"""The site builds without a warning, and what stands beside it for GitHub agrees with the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(path.stem for path in (REPOSITORY / "docs").glob("*.md"))
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def build_site(repository: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(repository / "mkdocs.yml")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([*command, "--site-dir", str(target)], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason='pip install "dr_edge[docs]"')
    target = tmp_path_factory.mktemp("site")
    result = build_site(REPOSITORY, target)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return target


def test_every_page_is_there_and_reached_from_the_first(site: Path) -> None:
    first = (site / "index.html").read_text(encoding="utf-8")
    for page in [*PAGES, "building", "contributing", "changelog"]:
        assert (site / f"{page}.html").is_file()
        assert f'href="{page}.html"' in first, f"no way from the first page to {page}"


def test_pages_at_the_top_are_what_the_repository_holds(site: Path) -> None:
    last = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8").rstrip().rpartition("\n- ")[2]
    words = re.findall(r"[A-Za-z]{5,}", re.sub(r"`[^`]*`", "", last))[:6]
    shown = (site / "changelog.html").read_text(encoding="utf-8")
    assert words and all(word in shown for word in words)
    assert 'src="records.jpg"' in (site / "index.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"', text)
        assert not fetched, (page.name, fetched)


def test_a_link_to_nothing_fails_the_build(site: Path, tmp_path: Path) -> None:
    """Of each kind: a page, a heading, a file that is not part of the site."""
    for name in ("README.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml", "docs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "docs").unlink()
    (tmp_path / "docs").mkdir()
    for path in (REPOSITORY / "docs").iterdir():
        target = tmp_path / "docs" / path.name
        target.symlink_to(path, target_is_directory=path.is_dir())
    serving = tmp_path / "docs" / "serving.md"
    text = serving.read_text(encoding="utf-8")
    serving.unlink()
    serving.write_text(text + "\n[a](none.md) [b](export.md#none) [c](../Makefile)\n", encoding="utf-8")
    result = build_site(tmp_path, tmp_path / "site")
    assert result.returncode != 0
    assert all(word in result.stderr for word in ("none.md", "#none", "../Makefile"))


def github_anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page: MkDocs may make others of the same words."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_links_lead_to_the_same_place_for_readers_of_the_files() -> None:
    links = 0
    for page in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]:
        text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
        for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)", text):
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in github_anchors(path), f"{page.name}: {target}#{anchor}"
            links += 1
    assert links > 50


def test_prose_wraps_at_120_columns() -> None:
    """Rows of tables stay whole, since Markdown has no way to break them; links and code spans, too."""
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            whole = re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)
            assert len(line) <= 120 or line.startswith("|") or " " not in whole.strip(), f"{path.name}:{number}"


def test_the_citation_has_the_version_of_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert project["name"] in citation["title"] and citation["cff-version"] == "1.2.0"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"push", "pull_request"} <= set(workflow[True])  # YAML 1.1 takes the key `on` for true
    for step in steps:
        assert ("uses" in step) != ("run" in step)
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
            assert target in targets, target


def test_workflows_cover_what_is_promised() -> None:
    assert {"docs", "lint", "test", "wheel"} <= {path.stem for path in WORKFLOWS}
    for name in ("test", "wheel"):
        workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
        assert workflow["jobs"][name]["strategy"]["matrix"]["python-version"] == ["3.11", "3.12", "3.13"]


def test_issue_templates_ask_something_and_name_their_fields_once() -> None:
    forms = [path for path in (REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert form["name"] and form["description"] and ids and len(ids) == len(set(ids))
        assert all(field["attributes"]["label"] for field in form["body"] if field["type"] != "markdown")
