"""Fetches what the page runs models with: LiteRT.js from npm, at the versions of package-lock.json, checked.

  python -m dr_edge.serve.vendor             # needs npm and the network, once; 19 MB into dr_edge/serve/static/vendor/
  python -m dr_edge.serve.vendor --check     # exit status 1 where a file is missing or changed; needs neither

npm installs into a temporary directory, without running any package's scripts, and checks its archives against the
lock file; exactly the files below are copied, and each is checked against the SHA-256 that stands here. Where they all
stand already, nothing is done. Without them the page still works, but asks the server instead of computing itself.
Standard library only.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from dr_edge import metadata

HERE = Path(__file__).resolve().parent
TARGET = HERE / "static" / "vendor"
NPM_TIMEOUT = 600  # seconds


@dataclasses.dataclass(frozen=True)
class VendoredFile:
    """One file that the page loads.

    Attributes:
      source: below node_modules.
      target: below static/vendor.
      sha256: of the copy, 64 hexadecimal digits.
      module: an ES module: its bare import is made relative, since browsers resolve no package names, and the mention
        of a source map that is not copied is left out.
    """

    source: str
    target: str
    sha256: str
    module: bool = False


# `compat` is for browsers without relaxed SIMD; LiteRT.js chooses.
FILES = (
    VendoredFile(
        "@litertjs/core/dist/index.js",
        "litert/core.js",
        "d0b3f2cd1b51b7722cd2540c65be084799fb0599f45aab6b01ec220681e5636f",
        module=True,
    ),
    VendoredFile(
        "@litertjs/wasm-utils/dist/index.js",
        "litert/wasm-utils.js",
        "54607836b002f6d6518a37061c54809ad01109b9b7169e1b857bc9ca74af4df1",
        module=True,
    ),
    VendoredFile(
        "@litertjs/core/wasm/litert_wasm_internal.js",
        "litert/wasm/litert_wasm_internal.js",
        "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
    ),
    VendoredFile(
        "@litertjs/core/wasm/litert_wasm_internal.wasm",
        "litert/wasm/litert_wasm_internal.wasm",
        "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
    ),
    VendoredFile(
        "@litertjs/core/wasm/litert_wasm_compat_internal.js",
        "litert/wasm/litert_wasm_compat_internal.js",
        "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    ),
    VendoredFile(
        "@litertjs/core/wasm/litert_wasm_compat_internal.wasm",
        "litert/wasm/litert_wasm_compat_internal.wasm",
        "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
    ),
)


def prepare(content: bytes, module: bool) -> bytes:
    """Returns the bytes of a file as the page loads it."""
    if not module:
        return content
    lines = content.decode("utf-8").replace('from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"').splitlines()
    return "\n".join([line for line in lines if not line.startswith("//# sourceMappingURL")] + [""]).encode("utf-8")


def problems(target: Path = TARGET) -> list[str]:
    """Returns what is missing or changed below `target`, one line each; [] where all is as it should be."""
    found = []
    for file in FILES:
        path = target / file.target
        if not path.is_file():
            found.append(f"{path} is missing.")
        elif metadata.sha256_file(path) != file.sha256:
            found.append(f"{path} is not the file that this release was tested with (its sha256 differs).")
    return found


def vendor(target: Path = TARGET, npm: str = "npm") -> list[Path]:
    """Fetches and copies the files that are missing or changed.

    Args:
      target: directory to fill.
      npm: the program.

    Returns:
      The files that were written; [] where all stood there already.

    Raises:
      RuntimeError: npm is missing or fails, or a fetched file is not the one that this release was tested with.
    """
    if not problems(target):
        return []
    program = shutil.which(npm)
    if program is None:
        raise RuntimeError(
            f"No program {npm!r}. Install Node.js (apt install npm, or nodejs.org) and run this again; "
            "without it the page asks the server for answers."
        )
    written = []
    with tempfile.TemporaryDirectory(prefix="dr_edge_vendor_") as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(HERE / name, Path(scratch) / name)
        _run_npm(program, Path(scratch))
        for file in FILES:
            content = prepare((Path(scratch) / "node_modules" / file.source).read_bytes(), file.module)
            actual = hashlib.sha256(content).hexdigest()
            if actual != file.sha256:
                raise RuntimeError(
                    f"{file.source}: sha256 {actual[:12]}..., expected {file.sha256[:12]}.... Nothing more was copied. "
                    "Restore package.json and package-lock.json, or review the new version and state its hashes here."
                )
            path = target / file.target
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata.write_bytes(path, content)
            path.chmod(0o644)
            written.append(path)
    return written


def _run_npm(program: str, directory: Path) -> None:
    command = [program, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=NPM_TIMEOUT)
    except subprocess.TimeoutExpired as err:
        raise RuntimeError(f"npm did not finish within {NPM_TIMEOUT} s. Check the network and run this again.") from err
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise RuntimeError(f"npm ci failed with exit status {done.returncode}:\n{last}")


class _Parser(argparse.ArgumentParser):
    """Says a mistake as every command of this project does."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit status 2."""
        self.exit(2, f"error: {message}. See {self.prog} --help.\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = _Parser(prog="python -m dr_edge.serve.vendor", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only say what is missing or changed")
    parser.add_argument("--npm", default="npm", help="the npm program (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.check:
        found = problems()
        print("\n".join(found) or f"{len(FILES)} files below {TARGET} are as they should be.")
        return int(bool(found))
    try:
        written = vendor(npm=options.npm)
    except (RuntimeError, OSError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    print(f"{len(written)} files written to {TARGET}." if written else f"Nothing to do: {TARGET} is complete.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
