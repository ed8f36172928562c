"""The command that fetches LiteRT.js: what it copies is what this release was tested with, or it says why not."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from pathlib import Path

import pytest

from dr_edge import command
from dr_edge.serve import vendor


def fake_npm(directory: Path, body: str) -> str:
    program = directory / "npm"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_what_is_fetched_stands_in_the_lock_file() -> None:
    package = json.loads((vendor.HERE / "package.json").read_text())
    lock = json.loads((vendor.HERE / "package-lock.json").read_text())
    for name, version in package["dependencies"].items():
        entry = lock["packages"][f"node_modules/{name}"]
        assert version[0].isdigit() and entry["version"] == version and entry["license"] == "Apache-2.0"
        assert entry["integrity"].startswith("sha512-")
    fetched = {f"@litertjs/{source.split('/')[0]}" for source, _, _ in vendor.FILES}
    assert fetched == set(package["dependencies"])


def test_bare_imports_become_relative(tmp_path: Path) -> None:
    source = b'import { createWasmLib } from "@litertjs/wasm-utils";\nrun();\n//# sourceMappingURL=index.js.map'
    copy = b'import { createWasmLib } from "./wasm-utils.js";\nrun();\n'
    for name, expected in (("index.js", copy), ("other.js", source)):
        (tmp_path / name).write_bytes(source)
        assert vendor._checked(tmp_path / name, hashlib.sha256(expected).hexdigest()) == expected


def test_missing_and_changed_files_are_told_apart(tmp_path: Path, vendored: Path) -> None:
    assert vendor.problems(vendored) == []
    copy = shutil.copytree(vendored, tmp_path / "vendor")
    (copy / vendor.FILES[0][1]).unlink()
    (copy / vendor.FILES[1][1]).write_bytes(b"changed")
    missing, changed = vendor.problems(copy)
    assert missing.endswith("core.js is missing.") and "sha256 differs" in changed
    assert len(vendor.problems(tmp_path / "nothing")) == len(vendor.FILES)


def test_nothing_is_fetched_where_all_stands(vendored: Path) -> None:
    assert vendor.vendor(vendored, npm="no-such-program") is False


def test_without_npm_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="Install Node.js"):
        vendor.vendor(tmp_path, npm="no-such-program")
    monkeypatch.setattr(vendor.problems, "__defaults__", (tmp_path,))
    monkeypatch.setattr(vendor.vendor, "__defaults__", (tmp_path, "npm"))
    assert command.call(vendor.main, ["vendor", "--npm=no-such-program"]) == 1
    assert "Install Node.js" in capsys.readouterr().err
    assert vendor.main(["vendor", "--check"]) == 1
    assert capsys.readouterr().out.count("is missing") == len(vendor.FILES)


def test_a_failing_npm_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    npm = fake_npm(tmp_path, "echo 'npm error ENOTFOUND registry' >&2; exit 7")
    with pytest.raises(RuntimeError, match="exit status 7"):
        vendor.vendor(tmp_path / "target", npm=npm)
    assert "npm error ENOTFOUND registry" in capfd.readouterr().err and not (tmp_path / "target").exists()


def test_other_content_is_refused_and_not_copied(tmp_path: Path) -> None:
    paths = [Path("node_modules/@litertjs") / source for source, _, _ in vendor.FILES]
    makes = "\n".join(f"mkdir -p {path.parent} && echo other > {path}" for path in paths)
    npm = fake_npm(tmp_path, makes)
    with pytest.raises(RuntimeError, match=r"core/dist/index.js: sha256 .* expected"):
        vendor.vendor(tmp_path / "target", npm=npm)
    assert not (tmp_path / "target").exists()


def test_no_script_of_a_package_is_run(tmp_path: Path) -> None:
    npm = fake_npm(tmp_path, f'echo "$@" > {tmp_path}/called; ls > {tmp_path}/there; exit 1')
    with pytest.raises(RuntimeError):
        vendor.vendor(tmp_path / "target", npm=npm)
    called = (tmp_path / "called").read_text().split()
    assert called[0] == "ci" and "--ignore-scripts" in called
    assert (tmp_path / "there").read_text().split() == ["package-lock.json", "package.json"]


def test_the_offline_list_names_every_file_of_the_page() -> None:
    # A script that is missing there would break the page without a network, and only then.
    worker = (vendor.HERE / "static" / "sw.js").read_text()
    static = vendor.HERE / "static"
    for path in sorted(static.rglob("*")):
        if (
            not path.is_file()
            or path.suffix in (".wasm",)
            or path.name in ("sw.js", "index.html", "manifest.webmanifest")
        ):
            continue
        assert f"'{path.stem}'" in worker or f"{path.name}'" in worker or f"'{path.stem.split('.')[0]}'" in worker, path
