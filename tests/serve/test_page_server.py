"""How the page asks the server where the browser cannot grade: patiently, not in vain, and blaming no photograph for a
busy server.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from dr_edge.serve.assets import STATIC

PROGRAM = """
import fs from 'node:fs';
const {root, input} = JSON.parse(fs.readFileSync(0, 'utf8'));
const {ServerEngine} = await import(`${root}/server_engine.js`);
const pauses = [];
const later = globalThis.setTimeout;
globalThis.setTimeout = (work, milliseconds) => {
  pauses.push(milliseconds);
  return later(work, 0);
};
const results = [];
for (const {replies, serve, bytes, size, abort} of input) {
  let calls = 0;
  pauses.length = 0;
  const stop = new AbortController();
  globalThis.fetch = async () => {
    const reply = replies[Math.min(calls++, replies.length - 1)];
    if (abort === calls) stop.abort();
    if (reply === 'network') throw new TypeError('Failed to fetch');
    const body = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body);
    return new Response(body, {status: reply.status, headers: reply.headers ?? {}});
  };
  const file = new File([bytes ? Uint8Array.from(bytes) : new Uint8Array(size ?? 10)], 'eye.jpg');
  const said = [];
  const row = {said};
  try {
    const asked = {say: (words) => said.push(words), signal: stop.signal};
    row.answer = (await new ServerEngine({serve}).answer(file, asked)).answer;
  } catch (error) {
    row.error = error.message;
  }
  results.push({...row, calls, pauses: [...pauses]});
}
console.log(JSON.stringify(results));
"""
BUSY = {
    "status": 503,
    "headers": {"Retry-After": "7"},
    "body": {"error": {"status": 503, "reason": "busy", "message": "Busy."}},
}
ANSWER = {"status": 200, "body": {"status": "answered", "message": "fine", "pictures": None}}


def refused(status: int, reason: str) -> dict[str, Any]:
    return {"status": status, "body": {"error": {"status": status, "reason": reason, "message": f"{reason} it is."}}}


def ask(node: str, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    data = json.dumps({"root": (STATIC / "js").as_uri(), "input": [{"serve": {}, **case} for case in cases]})
    done = subprocess.run(
        [node, "--input-type=module", "--eval", PROGRAM], input=data, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_busy_server_is_asked_again_when_it_said(node: str) -> None:
    at_last, never, long = ask(
        node,
        {"replies": [BUSY, BUSY, ANSWER]},
        {"replies": [BUSY]},
        {"replies": [{**BUSY, "headers": {"Retry-After": "9999"}}, ANSWER]},
    )
    assert at_last["answer"]["status"] == "answered" and at_last["calls"] == 3 and at_last["pauses"] == [7000, 7000]
    assert at_last["said"] == ["server busy, trying again…"] * 2
    assert "answer" not in never and never["error"] == "the server is busy" and never["calls"] == 4
    assert long["pauses"] == [30_000]


def test_a_lost_network_is_no_unreadable_file(node: str) -> None:
    back, lost = ask(node, {"replies": ["network", ANSWER]}, {"replies": ["network"]})
    assert back["answer"]["status"] == "answered" and back["said"] == ["no connection, trying again…"]
    assert "answer" not in lost and lost["error"] == "the server could not be reached" and lost["calls"] == 4


def test_only_refusals_of_the_photograph_are_said_of_it(node: str) -> None:
    truncated, ours, late, proxy, page = ask(
        node,
        {"replies": [refused(422, "truncated")]},
        {"replies": [refused(500, "internal error")]},
        {"replies": [refused(408, "too slow")]},
        {"replies": [{"status": 502, "body": "<html>Bad gateway</html>"}]},
        {"replies": [{"status": 200, "body": "<html>Sign in</html>"}]},
    )
    assert truncated["answer"] == {
        "file": "eye.jpg",
        "status": "unreadable",
        "reason": "truncated",
        "message": "truncated it is.",
    }
    assert ours["error"] == "internal error it is" and late["error"] == "too slow it is"
    assert proxy["error"] == "the server answered 502" and page["error"] == "the server answered 200"
    assert [row["calls"] for row in (truncated, ours, late, proxy, page)] == [1] * 5


def test_what_the_server_would_refuse_is_not_sent(node: str) -> None:
    import cv2
    import numpy as np

    picture = cv2.imencode(".jpg", np.zeros((200, 300, 3), np.uint8))[1].tolist()
    limits = {"max_upload_bytes": 50_000, "max_pixels": 50_000}
    large, many, fits, tiff = ask(
        node,
        {"replies": [ANSWER], "serve": limits, "size": 49_500},
        {"replies": [ANSWER], "serve": limits, "bytes": picture},
        {"replies": [ANSWER], "serve": {**limits, "max_pixels": 60_000}, "bytes": picture},
        {
            "replies": [ANSWER],
            "serve": limits,
            "bytes": list(b"II*\0") + [0] * 90,
        },  # read by the server, not by browsers
    )
    assert (
        large["calls"] == 0
        and large["answer"]["reason"] == "file too large"
        and "at most 48976" in large["answer"]["message"]
    )
    assert (
        many["calls"] == 0 and many["answer"]["reason"] == "too many pixels" and "300x200" in many["answer"]["message"]
    )
    assert "Nothing was sent" in large["answer"]["message"] and "Nothing was sent" in many["answer"]["message"]
    assert fits["calls"] == 1 and tiff["calls"] == 1


def test_a_removed_photograph_is_not_sent_again(node: str) -> None:
    (removed,) = ask(node, {"replies": [BUSY, ANSWER], "abort": 1})
    assert removed["calls"] == 1 and "answer" not in removed


def test_every_file_of_the_page_is_kept_for_offline_use() -> None:
    worker = (STATIC / "sw.js").read_text()
    scripts = [path for path in (STATIC / "js").rglob("*.js") if path.name not in ("worker.js",)]
    assert len(scripts) > 20
    for path in scripts:
        assert f"'{Path(path).stem}'" in worker, path
