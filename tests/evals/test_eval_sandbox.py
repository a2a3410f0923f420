"""Programs that are not trusted: what they may not do, that nothing of them is left, and pass@k."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from tokenloom.evals import sandbox
from tokenloom.evals.code import Problem, judge, pass_at_k, program, read_problems
from tokenloom.evals.sandbox import Kind, Limits, isolation, run_program

SMALL = Limits(seconds=40, memory_bytes=400 << 20, processes=12, file_bytes=1 << 20, folder_bytes=4 << 20)
SHORT = Limits(seconds=1, memory_bytes=400 << 20, processes=12, file_bytes=1 << 20, folder_bytes=4 << 20)
FENCE: Kind = "audit hooks"


@pytest.fixture(params=["namespaces", "audit hooks"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "namespaces" and isolation().kind != "namespaces":
        pytest.skip(f"no namespaces here: {isolation().why}")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every process of a sandbox has its folder in its environment."""
    place = tmp_path / "sandboxes"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(place).encode() in (entry / "environ").read_bytes():
                left.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    assert not left
    assert list(place.iterdir()) == []


def test_what_a_program_prints_and_how_it_ends(kind: Kind) -> None:
    found = run_program("import json, math\nprint(json.dumps(math.pi))", limits=SMALL, kind=kind)
    assert (found.status, found.stdout, found.stderr, found.kind) == ("passed", f"{math.pi}\n", "", kind)
    found = run_program("raise ValueError('nö')", limits=SMALL, kind=kind)
    assert found.status == "failed"
    assert "ValueError: nö" in found.stderr
    assert run_program("def (", limits=SMALL, kind=kind).status == "failed"
    assert run_program("import sys; sys.exit(3)", limits=SMALL, kind=kind).status == "failed"


def test_an_endless_loop_is_stopped(kind: Kind) -> None:
    assert run_program("while True: pass", limits=SHORT, kind=kind).status == "time"
    assert run_program("import time; time.sleep(250)", limits=SHORT, kind=kind).status == "time"


NETWORK = """
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET6, ("::1", {port}))):
    try:
        with socket.socket(family) as s:
            s.settimeout(2)
            s.connect(address)
    except OSError as error:
        print(type(error).__name__)
    else:
        print("CONNECTED")
try:
    socket.getaddrinfo("localhost", {port})
    socket.create_connection(("localhost", {port}), 2)
except OSError as error:
    print(type(error).__name__)
else:
    print("CONNECTED")
"""


def test_the_network_is_out_of_reach(kind: Kind) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 2):
            pass  # reachable from here
        found = run_program(NETWORK.format(port=port), limits=SMALL, kind=kind)
    assert found.status == "passed", found.stderr
    assert found.stdout.count("Error") == 3
    assert "CONNECTED" not in found.stdout


def test_a_fork_bomb_is_stopped(kind: Kind) -> None:
    """Of 64 processes: an endless one would take a busy machine with it before it is counted."""
    text = "import os, time\nfor _ in range(6):\n    os.fork()\ntime.sleep(250)"
    found = run_program(text, limits=SMALL, kind=kind)
    assert found.status == ("processes" if kind == "namespaces" else "failed")


def test_a_process_that_leaves_its_group_is_killed_too() -> None:
    if isolation().kind != "namespaces":
        pytest.skip(f"no namespaces here: {isolation().why}")
    text = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint('gone')"
    found = run_program(text, limits=SMALL, kind="namespaces")
    assert (found.status, found.stdout) == ("passed", "gone\n")


def test_a_memory_hog_is_stopped(kind: Kind) -> None:
    assert run_program("x = bytearray(1 << 30)", limits=SMALL, kind=kind).status == "memory"


def test_memory_is_counted_over_all_processes() -> None:
    if isolation().kind != "namespaces":
        pytest.skip(f"no namespaces here: {isolation().why}")
    text = (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        break\n"
        "x = bytearray(b'x' * (90 << 20))\ntime.sleep(60)"
    )
    assert run_program(text, limits=SMALL, kind="namespaces").status == "memory"


def test_a_large_file_and_much_output_are_stopped(kind: Kind) -> None:
    text = "with open('big', 'wb') as f:\n    f.write(b'x' * (2 << 20))"
    found = run_program(text, limits=SMALL, kind=kind)
    assert found.status == "failed"
    assert "File too large" in found.stderr
    found = run_program("while True: print('x' * 1000)", limits=SMALL, kind=kind)
    assert found.status == "output"
    assert len(found.stdout) < 70_000


def test_many_files_fill_the_folder_and_not_the_disk() -> None:
    if isolation().kind != "namespaces":
        pytest.skip(f"no namespaces here: {isolation().why}")
    text = "for i in range(100):\n    open(f'{i}', 'wb').write(b'x' * 900_000)"
    assert "No space left" in run_program(text, limits=SMALL, kind="namespaces").stderr


def test_files_outside_the_folder_stay_as_they_are(kind: Kind, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    kept = mine / "kept"
    kept.write_text("kept")
    text = (
        f"import os, shutil\nopen('inside', 'w').write('x')\nassert open('inside').read() == 'x'\n"
        f"os.rename('inside', 'other'); os.remove('other')\n"
        f"for act in (lambda: open({str(kept)!r}, 'w'), lambda: os.remove({str(kept)!r}), "
        f"lambda: shutil.rmtree({str(mine)!r}), lambda: os.rename({str(kept)!r}, {str(kept) + '2'!r}), "
        f"lambda: open('/dev/shm/x', 'w'), lambda: os.mkdir({str(mine / 'new')!r})):\n"
        "    try:\n        act()\n    except OSError:\n        print('refused')\n"
    )
    found = run_program(text, limits=SMALL, kind=kind)
    assert (found.status, found.stdout) == ("passed", "refused\n" * 6), found.stderr
    assert kept.read_text() == "kept"
    assert os.listdir(mine) == ["kept"]


def test_other_programs_are_refused_behind_the_fence() -> None:
    for text in (
        "import subprocess; subprocess.run(['id'])",
        "import os; os.system('id')",
        "import ctypes; ctypes.CDLL(None)",
        "import os; os.kill(1, 0)",
    ):
        found = run_program(text, limits=SMALL, kind=FENCE)
        assert found.status == "failed"
        assert "not allowed in the sandbox" in found.stderr


def test_no_variable_of_the_caller_comes_in(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    found = run_program("import os; print(dict(os.environ))", limits=SMALL, kind=kind)
    assert found.status == "passed"
    assert "hunter2" not in found.stdout


def test_no_privileges_inside() -> None:
    if isolation().kind != "namespaces":
        pytest.skip(f"no namespaces here: {isolation().why}")
    text = "import os; print(os.getuid()); print(open('/proc/self/status').read())"
    found = run_program(text, limits=SMALL, kind="namespaces").stdout
    assert found.startswith("1000\n")
    assert "CapEff:\t0000000000000000" in found
    assert "NoNewPrivs:\t1" in found


def test_where_namespaces_fail_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if isolation().kind != "namespaces":
        pytest.skip(f"no namespaces here: {isolation().why}")
    sandbox.isolation.cache_clear()
    monkeypatch.setattr(
        sandbox, "_jailed", lambda *_: (0, {"isolated": False, "why": "unshare: not permitted"})
    )
    try:
        assert isolation() == sandbox.Isolation("audit hooks", "unshare: not permitted")
        with pytest.raises(ValueError, match="cannot be had here: unshare"):
            run_program("pass", kind="namespaces")
    finally:
        sandbox.isolation.cache_clear()


def test_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="seconds: found 0"):
        Limits(seconds=0)


# pass@k


def test_pass_at_k_is_the_share_of_draws_with_a_right_one() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([True] * c + [False] * (n - c), k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    with pytest.raises(ValueError, match="n, c, k"):
        pass_at_k(3, 4, 1)
    with pytest.raises(ValueError, match="n, c, k"):
        pass_at_k(3, 1, 4)


ADD = Problem(
    "add",
    'import math\n\n\ndef add(a, b):\n    """The sum of two numbers."""\n',
    "def check(f):\n    assert f(1, 2) == 3\n    assert f(-1, 1) == 0\n",
    "add",
)
TWICE = Problem("twice", "twice = lambda x: ", "assert twice(4) == 8")


def test_answers_are_judged() -> None:
    answers = [
        [
            "    return a + b\n",
            "    return a - b\n",
            "    import os; os._exit(0)\n",
            "    while True: pass\n",
        ],
        ["2 * x\n", "x + 4\n", "x\n", "nonsense("],
    ]
    found = judge([ADD, TWICE], answers, (1, 2), limits=replace(SHORT, seconds=5))
    assert [o.status for o in found.outcomes[0]] == ["passed", "failed", "failed", "time"]
    assert [o.status for o in found.outcomes[1]] == ["passed", "passed", "failed", "failed"]
    assert found.pass_at[1].value == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert found.pass_at[2].value == pytest.approx((1 / 2 + 5 / 6) / 2)
    facts = found.facts()
    assert facts["outcomes"] == {"passed": 3, "failed": 4, "time": 1}
    assert facts["sandbox"] == isolation().kind


def test_a_fenced_answer_that_defines_the_function_stands_for_itself() -> None:
    answer = "Here you are:\n```python\ndef add(a, b):\n    return math.floor(a + b)\n```\nDone."
    assert program(ADD, answer).startswith("import math\n\n\ndef add(a, b):\n    return math.floor")
    assert program(ADD, "    return a + b").startswith(ADD.prompt + "    return a + b")
    words = Problem("add", "Write a function add(a, b).", ADD.test, "add")
    assert program(words, answer).startswith("def add")


def test_problems_are_read_and_faults_named(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    good = {"task_id": "x/1", "prompt": "def f():\n", "test": "assert f()", "entry_point": "f"}
    file.write_text(json.dumps(good) + "\n\n")
    assert read_problems(file) == [Problem("x/1", "def f():\n", "assert f()", "f")]
    for bad, said in (
        ("{", "p.jsonl:2: not JSON"),
        ("[1]", "p.jsonl:2: found a list"),
        (json.dumps({**good, "test": ""}), "p.jsonl:2: test: found ''"),
        (json.dumps({**good, "entry_point": "a b"}), "p.jsonl:2: entry_point: found 'a b'"),
    ):
        file.write_text(json.dumps(good) + "\n" + bad)
        with pytest.raises(ValueError, match=said):
            read_problems(file)
    file.write_text("")
    with pytest.raises(ValueError, match="found no problem"):
        read_problems(file)


def test_too_few_answers_for_k_are_refused() -> None:
    with pytest.raises(ValueError, match=r"k: found \[2\]; allowed: 1 to 1"):
        judge([ADD], [["    return 1"]], (2,))
    with pytest.raises(ValueError, match="found 0 for 1 problems"):
        judge([ADD], [])
