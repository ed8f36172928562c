"""Fetches what the page runs models with: LiteRT.js from npm, at the versions of package-lock.json, checked.

  python -m dr_edge.serve.vendor             # needs npm and the network, once; 19 MB into dr_edge/serve/static/vendor/
  python -m dr_edge.serve.vendor --check     # exit status 1 where a file is missing or changed; needs neither

`npm ci --ignore-scripts` in a temporary directory; then exactly the files below are copied, each only with the SHA-256
that stands here. Without them the page still works, but asks the server instead of computing itself.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from absl import app

from dr_edge import command, metadata, scratch

HERE = Path(__file__).resolve().parent
TARGET = HERE / "static" / "vendor" / "litert"
NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
# File below node_modules/@litertjs, below TARGET, SHA-256 of the copy. `compat` is for browsers without relaxed SIMD;
# LiteRT.js chooses.
FILES = (
    (
        "core/dist/index.js",
        "core.js",
        "d0b3f2cd1b51b7722cd2540c65be084799fb0599f45aab6b01ec220681e5636f",
    ),
    (
        "wasm-utils/dist/index.js",
        "wasm-utils.js",
        "54607836b002f6d6518a37061c54809ad01109b9b7169e1b857bc9ca74af4df1",
    ),
    (
        "core/wasm/litert_wasm_internal.js",
        "wasm/litert_wasm_internal.js",
        "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
    ),
    (
        "core/wasm/litert_wasm_internal.wasm",
        "wasm/litert_wasm_internal.wasm",
        "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
    ),
    (
        "core/wasm/litert_wasm_compat_internal.js",
        "wasm/litert_wasm_compat_internal.js",
        "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    ),
    (
        "core/wasm/litert_wasm_compat_internal.wasm",
        "wasm/litert_wasm_compat_internal.wasm",
        "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
    ),
)


def problems(target: Path = TARGET) -> list[str]:
    """Returns what is missing or changed below `target`, one line each; [] where all is as it should be."""
    found = []
    for _, name, sha256 in FILES:
        path = target / name
        if not path.is_file():
            found.append(f"{path} is missing.")
        elif metadata.sha256_file(path) != sha256:
            found.append(f"{path} is not the file that this release was tested with (its sha256 differs).")
    return found


def vendor(target: Path = TARGET, npm: str = "npm") -> bool:
    """Fetches the files, all or none, where one is missing or changed.

    Args:
      target: directory to fill.
      npm: the program; what it prints to standard error is shown.

    Returns:
      Whether anything was to do.

    Raises:
      RuntimeError: npm is missing or fails, or a fetched file is not the one that this release was tested with.
    """
    if not problems(target):
        return False
    program = shutil.which(npm)
    if program is None:
        raise RuntimeError(
            f"No program {npm!r}. Install Node.js (apt install npm, or nodejs.org) and run this again; "
            "without it the page asks the server for answers."
        )
    with scratch.directory("vendor") as place:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(HERE / name, place / name)
        status = subprocess.run([program, *NPM], cwd=place, stdout=subprocess.DEVNULL, check=False).returncode
        if status != 0:
            raise RuntimeError(f"npm ci failed with exit status {status}; what it printed stands above.")
        packages = place / "node_modules" / "@litertjs"
        fetched = {name: _checked(packages / source, sha256) for source, name, sha256 in FILES}
    for name, content in fetched.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        metadata.write_bytes(target / name, content)
        (target / name).chmod(0o644)
    return True


def _checked(path: Path, sha256: str) -> bytes:
    """Returns a file as the page loads it: browsers resolve no package names, and the source map is not copied."""
    content = path.read_bytes()
    if path.name == "index.js":
        lines = content.decode().replace('from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"').splitlines()
        content = "\n".join([line for line in lines if not line.startswith("//# sourceMappingURL")] + [""]).encode()
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise RuntimeError(
            f"{path}: sha256 {actual[:12]}..., expected {sha256[:12]}.... Nothing was copied. "
            "Restore package.json and package-lock.json, or review the new version and state its hashes here."
        )
    return content


class _Parser(argparse.ArgumentParser):
    """Leaves it to `command` to say a mistake, as every command of this project does."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise app.UsageError(message)


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = _Parser(prog="python -m dr_edge.serve.vendor", description=__doc__,
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only say what is missing or changed")
    parser.add_argument("--npm", default="npm", help="the npm program (default: %(default)s)")
    options = parser.parse_args(argv[1:])
    if options.check:
        found = problems()
        print("\n".join(found) or f"{len(FILES)} files below {TARGET} are as they should be.")
        return int(bool(found))
    written = vendor(npm=options.npm)
    print(f"{len(FILES)} files written to {TARGET}." if written else f"Nothing to do: {TARGET} is complete.")
    return 0


if __name__ == "__main__":
    # argparse, since the server imports this module, and an absl flag would become one of the server's, too.
    sys.exit(command.call(main, sys.argv))
