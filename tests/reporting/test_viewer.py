"""What the server answers, and to whom; interventions are carried out by a stand-in here."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr.analysis.intervene.records import Arm, Choice, Continuation, Intervention
from rlvr.cli.view import parse
from rlvr.errors import ConfigError
from rlvr.reporting.viewer import Interventions, Viewer
from rlvr.stats.proportion import difference

CHOICE = {"response": 3, "position": 1, "token_id": 7, "model": "policy", "samples": 2, "seed": 1}


class StandIn:
    """Carries out what it is told when it is let."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.order: list[int] = []

    def run(self, choice: Choice, number: int) -> Intervention:
        assert self.go.wait(60)
        self.order.append(number)
        if choice.token_id == 99:
            raise ConfigError("token_id=99: there is no such token")
        if choice.token_id == 98:
            raise RuntimeError("a model broke")
        arms = [Arm(t, "x", (Continuation("y", (1,), True, False),) * 2) for t in (0, choice.token_id)]
        moved = difference(arms[0].success, arms[1].success)
        return Intervention(number, "now", choice, "p", "policy", arms[0], arms[1], moved, 0.1, {})


@pytest.fixture
def bench() -> StandIn:
    return StandIn()


@pytest.fixture
def viewer(tmp_path: Path, bench: StandIn) -> Iterator[Viewer]:
    made = Viewer("<p>page</p>", Interventions(tmp_path, lambda: bench), tmp_path)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    bench.go.set()
    made.shutdown()
    made.server_close()


def ask(
    viewer: Viewer, path: str, body: object = None, *, secret: str | None = None, **headers: str
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=60)
    place = f"/{viewer.secret if secret is None else secret}/{path}"
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kinds = {} if body is None else {"Content-Type": "application/json"}
    connection.request("GET" if body is None else "POST", place, sent, kinds | headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(
        text
    ) if answer.headers.get_content_type() == "application/json" else text


def test_only_who_knows_the_address_is_answered(viewer: Viewer) -> None:
    assert ask(viewer, "") == (200, "<p>page</p>")
    assert ask(viewer, "", secret="guess")[0] == 403
    assert ask(viewer, "interventions", CHOICE, secret="guess")[0] == 403
    # a page elsewhere whose name has been pointed at this machine
    assert ask(viewer, "", Host=f"evil.example:{viewer.server_port}")[0] == 403
    assert viewer.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["../etc/passwd", "config.yaml", "..%2f..%2fetc%2fpasswd", "samples/"])
def test_no_file_can_be_read(viewer: Viewer, path: str) -> None:
    assert ask(viewer, path) == (404, {"error": "there is nothing here"})


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", {}, 400, "not JSON"),
        ([], {}, 400, "an object with response, position"),
        ({**CHOICE, "path": "/etc"}, {}, 400, "an object with"),
        ({**CHOICE, "seed": "1"}, {}, 400, "seed='1': int was expected"),
        ({**CHOICE, "seed": True}, {}, 400, "seed=True"),
        (CHOICE, {"Content-Type": "text/plain"}, 415, "application/json"),
        (b"x" * 20_000, {}, 413, "at most"),
    ],
)
def test_what_is_no_choice_is_refused(
    viewer: Viewer, body: object, headers: dict[str, str], status: int, words: str
) -> None:
    found, content = ask(viewer, "interventions", body, **headers)
    assert found == status
    assert words in content["error"]
    assert ask(viewer, "interventions?after=-1")[1]["asked"] == []


def test_the_second_waits_for_the_first_and_all_are_kept(
    viewer: Viewer, bench: StandIn, tmp_path: Path
) -> None:
    numbers = [ask(viewer, "interventions", {**CHOICE, "token_id": t})[1]["number"] for t in (7, 99, 98, 8)]
    assert numbers == [1, 2, 3, 4]
    bench.go.set()
    version, known = -1, {}
    while len(known) < 4 or {one["state"] for one in known.values()} & {"waiting", "running"}:
        _, news = ask(viewer, f"interventions?after={version}")
        version = news["version"]
        known |= {one["number"]: one for one in news["asked"]}  # only what has changed
    assert bench.order == numbers
    assert [known[n]["state"] for n in numbers] == ["done", "failed", "failed", "done"]
    assert known[2]["error"] == "token_id=99: there is no such token"
    assert known[3]["error"] == "RuntimeError: a model broke"
    assert Interventions(tmp_path, lambda: bench).since(0, 0) == (0, [])
    kept = [json.loads(line) for line in (tmp_path / "interventions.jsonl").read_text().splitlines()]
    assert [row["number"] for row in kept] == [1, 4]
    again = Interventions(tmp_path, lambda: bench).since(-1, 0)[1]
    assert [one["number"] for one in again] == [1, 4]


def test_training_is_told_from_where_one_left_off(viewer: Viewer, tmp_path: Path) -> None:
    assert ask(viewer, "training?after=0")[1] == {
        "start": 0,
        "end": 0,
        "rows": [],
        "finished": False,
        "samples": None,
    }
    rows = [{"step": step, "kind": "train", "accuracy": 0.1 * step} for step in (1, 2, 3)]
    lines = [json.dumps(row) + "\n" for row in rows]
    whole = len("".join(lines))
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"step": 4, "ki')
    (tmp_path / "samples").mkdir()
    sample = {"question": "q" * 5000, "response": "r", "answer": "a", "verdict": "wrong", "reward": -1.0}
    (tmp_path / "samples" / "step_000003.jsonl").write_text(json.dumps(sample) + "\n")
    _, news = ask(viewer, f"training?after={len(lines[0])}")
    assert (news["start"], news["end"], news["rows"]) == (len(lines[0]), whole, rows[1:])
    assert news["samples"]["dump"] == "step_000003"
    assert len(news["samples"]["rows"][0]["question"]) < 4100
    # a run that was resumed from an earlier checkpoint has fewer rows than the page, or others
    for elsewhere in (9, whole + 100):
        assert ask(viewer, f"training?after={elsewhere}")[1]["rows"] == rows
    (tmp_path / "metrics.jsonl").write_text(lines[0] + "{broken\n" + lines[2])
    assert ask(viewer, "training?after=0")[1]["rows"] == [rows[0], rows[2]]
    assert ask(viewer, "training?after=x")[0] == 400
    assert ask(viewer, "training?after=--5")[0] == 400
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "kind": "train", "grad_norm": NaN}\n')
    assert ask(viewer, "training?after=0")[1]["rows"] == [{"step": 1, "kind": "train", "grad_norm": None}]
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    assert ask(viewer, "training?after=0")[0] == 500


def test_a_port_that_is_taken_is_named(viewer: Viewer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"port={viewer.server_port}: cannot be used"):
        Viewer("", None, tmp_path, viewer.server_port)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the folder of one run"),
        (["a", "b"], "name the folder of one run"),
        (["a", "prot=1"], "prot: there is no such option"),
        (["a", "port=x"], "port needs a int"),
        (["a", "temperature=0"], "greater than 0"),
        (["a", "device=tpu"], "use auto, cpu or cuda"),
    ],
)
def test_a_command_line_that_cannot_work_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(arguments)


def test_the_command_line_becomes_a_record() -> None:
    options = parse(["runs/x", "port=8800", "temperature=0.7"])
    assert (options.run, options.port, options.temperature) == (Path("runs/x"), 8800, 0.7)
