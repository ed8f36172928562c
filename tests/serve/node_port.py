"""Runs a module of the page in Node.js."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from dr_edge.serve.assets import STATIC

JS = STATIC / "js"


def run_node(node: str, script: str, values: Any) -> Any:
    """Returns what the body of a JavaScript function returns for `input`."""
    program = (
        "import fs from 'node:fs'; const {root, input} = JSON.parse(fs.readFileSync(0, 'utf8'));"
        f"const work = async () => {{{script}}}; console.log(JSON.stringify(await work()));"
    )
    command = [node, "--input-type=module", "--eval", program]
    data = json.dumps({"root": JS.as_uri(), "input": values})
    done = subprocess.run(command, input=data, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
