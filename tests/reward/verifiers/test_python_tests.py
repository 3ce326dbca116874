"""Programs against tests: what passes, what is wrong, what cannot be graded, and what no program gets away with."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.strategies as st
import psutil
import pytest
from hypothesis import given

from rlvr.reward.sandbox import kernel, values
from rlvr.reward.sandbox.warden import JailError, Limits, Warden
from rlvr.reward.verdict import GradeRequest
from rlvr.reward.verifiers.python_tests import UnusableTestsError, last_program, verify
from rlvr.reward.workers.pool import GraderPool

pytestmark = pytest.mark.skipif(bool(kernel.missing()), reason=f"no jail here: {kernel.missing()}")
ADD = "def add(a, b):\n    return a + b\n"
THREE = "assert add(1, 2) == 3"


def outcome(tests: str | dict | list, program: str, **limits: float) -> tuple[str, str]:
    """Verdict and reason for a program."""
    text = tests if isinstance(tests, str) else json.dumps(tests)
    found = verify(text, f"Here it is:\n```python\n{program}\n```", Limits(**limits))
    return str(found.outcome), found.detail


@pytest.mark.parametrize(
    ("tests", "program"),
    [
        (THREE, ADD),
        ([THREE, "assert add('a', 'b') == 'ab'"], ADD),
        ("assert add([1], [2]) == [1, 2]\nassert add((1,), (2,)) == (1, 2)\nassert {add(1, 1): 0} == {2: 0}", ADD),
        ({"test": "def check(candidate):\n    assert candidate(1, 2) == 3", "entry_point": "add"}, ADD),
        ("def check(candidate):\n    assert candidate(1, 2) == 3", ADD),
        ({"inputs": [[1, 2]], "outputs": [3], "fn_name": "add"}, ADD),
        (
            {"inputs": [[1, 2]], "outputs": [3], "fn_name": "add"},
            "class Solution:\n    def add(self, a, b):\n        return a + b",
        ),
        (
            {"inputs": ["1 2\n", "3 4"], "outputs": ["3", "7 \n"]},
            "import sys\nprint(sum(map(int, sys.stdin.read().split())))\nsys.exit(0)",
        ),
        ("assert f()", "class Found:\n    pass\ndef f():\n    return Found()"),
        ("assert list(count(3)) == [0, 1, 2]", "def count(n):\n    yield from range(n)"),
        ("values = [3, 1]\norder(values)\nassert values == [1, 3]", "def order(values):\n    values.sort()"),
        ("p = Point(1, 2)\nassert p.norm() == 5 and p.x == 1", "class Point:\n    def __init__(self, x, y):\n"
         "        self.x = x\n    def norm(self):\n        return 5"),
        ("try:\n    f()\n    assert False\nexcept ValueError as e:\n    assert 'odd' in str(e)",
         "def f():\n    raise ValueError('odd')"),
        ("import math\nassert math.isnan(f(float('inf')))", "def f(x):\n    return x - x"),
        ("assert f(b'a', 2 + 1j, {1}, None, True) == (b'a', 2 + 1j, {1}, None, True)", "def f(*all):\n    return all"),
        ("assert math.isclose(f(4), 2.0)", "import math\ndef f(x):\n    return math.sqrt(x)"),
        (THREE, "table = [True] * 3000000\n" + ADD),
        (THREE, "from operator import add as plus\nadd = plus\n"),
        ({"inputs": ["1 2"], "outputs": ["3"]}, "print(sum(map(int, open(0).read().split())))"),
        ({"inputs": ["123"], "outputs": ["3"]}, "import os\nos.write(1, str(len(os.read(0, 99))).encode())"),
        ("assert f('x')", "def f(name):\n    open('own', 'w').write(name)\n    return open('own').read() == name"),
        ({"inputs": [[[1, 2]]], "outputs": [[3]], "fn_name": "f"}, "def f(x):\n    return sum(x)"),  # as APPS wraps
        ({"inputs": [[1], [2]], "outputs": [[[1, [1]]], [[2, [2]]]], "fn_name": "f"},
         "def f(x):\n    return x, (x,)"),
        ({"inputs": [[1]], "outputs": [[[1, 2], [3, 4]]], "fn_name": "f"}, "def f(x):\n    return [(1, 2), (3, 4)]"),
        ("assert f(6000) == int('1' * 4000) * 10**2000 + int('1' * 2000)",
         "def f(n):\n    return (10**n - 1) // 9"),
        ('{"inputs": [[6000]], "outputs": [' + "1" * 6000 + '], "fn_name": "f"}',
         "def f(n):\n    return (10**n - 1) // 9"),
        ({"inputs": ["6000"], "outputs": ["1" * 6000]}, "print((10**int(input()) - 1) // 9)"),
        ({"inputs": ["1 3"], "outputs": ["0.333333333333"]}, "a, b = map(int, input().split())\nprint(a / b)"),
        ({"inputs": ["1"], "outputs": ["x 0.50\n1e-7 7"]}, "print('x', .5)\nprint('1e-7', 7)"),
        ({"inputs": [[1]], "outputs": [{"a": [0.3, 2.0]}], "fn_name": "f"},
         "def f(x):\n    return {'a': (0.1 + 0.2, 2)}"),
        ("assert f(3) == 6 and f(0) == 0 and f(1) in [1]",
         "import numpy as np\ndef f(n):\n    return np.arange(n + 1).sum()"),
    ],
)  # fmt: skip
def test_programs_that_pass(tests, program):
    assert outcome(tests, program) == ("correct", "")


@pytest.mark.parametrize(
    ("tests", "program", "reason"),
    [
        ("assert add(1, 2) == 4, 'so much'", ADD, "a test does not hold: so much"),
        ([THREE, "assert add(1, 1) == 3"], ADD, "does not hold"),
        (THREE, "def add(a, b:\n    return", "SyntaxError"),
        (THREE, "def other(a, b):\n    return 3", "NameError"),
        ({"inputs": [[1, 2]], "outputs": [4], "fn_name": "add"}, ADD, r"of \[1, 2\] it makes 3"),
        ({"inputs": [[1, 2]], "outputs": [3], "fn_name": "sub"}, ADD, "the program defines no sub"),
        (
            {"inputs": [[1, 2]], "outputs": [[3, 4]], "fn_name": "add"},
            ADD,
            "it makes 3",
        ),  # though APPS takes it
        (
            '{"inputs": [[0, ' + "1" * 6000 + ']], "outputs": [4], "fn_name": "add"}',
            ADD,
            "it makes an integer too long to show",
        ),
        ({"inputs": ["1"], "outputs": ["0.3333"]}, "print(0.3334)", "it writes '0.3334'"),
        ({"inputs": ["1"], "outputs": ["0.0000001"]}, "print('0.0000002')", "it writes '0.0000002'"),
        ({"inputs": ["1"], "outputs": ["5"]}, "print(5.0)", "it writes '5.0'"),
        ({"inputs": ["1"], "outputs": ["a 0.5"]}, "print('b 0.5')", "it writes 'b 0.5'"),
        ({"inputs": ["1"], "outputs": ["0.5 0.5"]}, "print(0.5)", "it writes '0.5'"),
        (
            {"inputs": [[1]], "outputs": [0.5], "fn_name": "f"},
            "def f(x):\n    return 10**400",
            "it makes 1000",
        ),
        (
            {"inputs": [[1]], "outputs": [[0.5, 1.5]], "fn_name": "f"},
            "def f(x):\n    return [0.5, 1.6]",
            "it makes",
        ),
        ("x = 1\nassert add(x, 2) == 4", ADD, r"a test does not hold: assert add\(x, 2\) == 4$"),
        (
            "def check(f):\n    assert (\n        f(1, 2) == 4)",
            ADD,
            r"a test does not hold: assert \(|f\(1, 2\) == 4",
        ),
        ({"inputs": ["5"], "outputs": ["6"]}, "print(input())", "on '5' it writes '5'"),
        ({"inputs": ["5"], "outputs": ["5"]}, "print(5)\nprint(5)", "it writes '5 / 5'"),
        (THREE, "def add(a, b):\n    return add(a, b)", "RecursionError"),
    ],
)
def test_programs_that_are_wrong_say_why(tests, program, reason):
    found, detail = outcome(tests, program)
    assert found == "wrong"
    assert re.search(reason, detail), detail


ATTACKS = {
    "leaves": "import sys\nsys.exit(0)",
    "leaves when called": "import sys\ndef add(a, b):\n    sys.exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "kills itself": "import os, signal\ndef add(a, b):\n    os.kill(os.getpid(), signal.SIGKILL)",
    "never ends": "def add(a, b):\n    while True:\n        pass",
    "sleeps": "import time\ndef add(a, b):\n    time.sleep(60)\n    return 3",
    "never ends loading": "while True:\n    pass",
    "fork bomb": "import os\ndef add(a, b):\n    while True:\n        os.fork()",
    "fork bomb loading": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "thread bomb": "import threading, time\ndef add(a, b):\n    for _ in range(100000):\n"
    "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    return 3",
    "takes all memory": "def add(a, b):\n    held = bytearray(10 << 30)\n    return 3",
    "takes memory bit by bit": "def add(a, b):\n    held = []\n    while True:\n        held += [bytes(1 << 20)]",
    "endless output": "def add(a, b):\n    return 'x' * (1 << 26)",
    "deep answer": "def add(a, b):\n    x = []\n    for _ in range(100000):\n        x = [x]\n    return x",
    "opens a socket": "import socket\ndef add(a, b):\n    socket.create_connection(('127.0.0.1', 22))\n    return 3",
    "makes a socket": "import socket\ndef add(a, b):\n    socket.socket(socket.AF_UNIX)\n    return 3",
    "starts a program": "import subprocess\ndef add(a, b):\n    subprocess.run(['true'])\n    return 3",
    "by os.system": "import os\ndef add(a, b):\n    assert os.system('true') == 0\n    return 3",
    "writes outside": "def add(a, b):\n    open('/tmp/rlvr-was-here', 'w')\n    return 3",
    "removes outside": "import os\ndef add(a, b):\n    os.rmdir('..')\n    return 3",
    "writes to devices": "def add(a, b):\n    open('/dev/shm/rlvr-was-here', 'w')\n    return 3",
    "fills the disk": "def add(a, b):\n    with open('big', 'wb') as f:\n        for _ in range(1000):\n"
    "            f.write(bytes(1 << 20))\n    return 3",
    "reads data sets": f"def add(a, b):\n    open({str(Path(__file__).resolve())!r})\n    return 3",
    "reads other processes": "import os\ndef add(a, b):\n    open(f'/proc/{os.getppid()}/mem', 'rb')\n    return 3",
    "lists processes": "import os\ndef add(a, b):\n    os.listdir('/proc')\n    return 3",
    "stops its parent": "import os, signal\ndef add(a, b):\n    os.kill(os.getppid(), signal.SIGSTOP)\n    return 3",
    "equal to all": "class Any:\n    def __eq__(self, other):\n        return True\ndef add(a, b):\n    return Any()",
    "a number equal to all": "class Any(int):\n    def __eq__(self, other):\n        return True\n"
    "def add(a, b):\n    return Any(7)",
    "replaces assert's error": "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})\n"
    "def add(a, b):\n    return 4",
    "redefines what tests use": "def abs(x):\n    return 0\ndef isinstance(x, y):\n    return True\n"
    "def add(a, b):\n    return 4",
    "forges answers": "import os\nfor number in range(3, 64):\n    try:\n"
    "        os.write(number, b'{\"value\": true}\\n' * 9)\n    except OSError:\n        pass\n"
    "def add(a, b):\n    return 4",
    "writes nonsense": "import os\nfor number in range(3, 64):\n    try:\n        os.write(number, b'\\xff' * 9999)\n"
    "    except OSError:\n        pass\ndef add(a, b):\n    return 4",
    "defines the tests' builtins": "import os, json\ndef add(a, b):\n    return 4\n"
    "for number in range(3, 64):\n    try:\n"
    "        os.write(number, b'{\"value\": [\"add\", \"__builtins__\"]}\\n')\n"
    "    except OSError:\n        pass\n",
    "is a module of the tests": "class math:\n    @staticmethod\n    def isclose(a, b):\n        return True\n"
    "def add(a, b):\n    return 4",
    "ends loops of the tests": "def add(a, b):\n    raise StopIteration",
    "limits its parent": "import os, resource\ndef add(a, b):\n"
    "    resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0))\n    return 3",
    "signals its parent": "import ctypes, os\ndef add(a, b):\n"
    "    if ctypes.CDLL(None, use_errno=True).kill(os.getppid(), 0):\n        raise OSError\n    return 3",
    "many files": "def add(a, b):\n    for n in range(100):\n"
    "        open(str(n), 'wb').write(bytes(1 << 20))\n    return 3",
    "deep folders": "import os\ndef add(a, b):\n    for _ in range(1500):\n"
    "        os.mkdir('x')\n        os.chdir('x')\n    raise OSError",
    "an error that cannot be shown": "class Odd(Exception):\n    def __str__(self):\n        raise Odd\n"
    "def add(a, b):\n    raise Odd",
}  # fmt: skip
NEARLY = (
    "assert all(map(lambda x: math.isclose(add(x, 2), x + 2), [1]))\n"
    "import builtins\n"
    "assert isinstance(add(1, 2), int) and abs(add(1, 2) - 3) < 0.5 and add(1, 2) == 3"
)


# Each of these goes on until its time is up.
ENDLESS = {"never ends", "sleeps", "never ends loading", "fork bomb loading"}


@pytest.mark.parametrize(
    "attack", [pytest.param(name, marks=[pytest.mark.slow] * (name in ENDLESS)) for name in ATTACKS]
)
def test_no_attack_is_correct(attack):
    found, detail = outcome(NEARLY, ATTACKS[attack], seconds=1.5)
    assert found == "wrong", (found, detail)
    assert not Path("/tmp/rlvr-was-here").exists()
    assert not Path("/dev/shm/rlvr-was-here").exists()
    left = [p for p in psutil.Process().children(recursive=True) if "jail.py" in _command(p.pid)]
    assert len(left) <= 1, "only the process that forks the jails may be there"
    assert outcome(THREE, ADD)[0] == "correct", "the next program has a jail as good as new"


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def test_neither_tests_nor_expected_values_are_in_the_jail():
    """Everything that a program can reach of its process, searched for a number that only the tests hold."""
    program = (
        "import gc, sys\n"
        "def leak(x):\n"
        "    frame, seen = sys._getframe(), []\n"
        "    while frame:\n"
        "        seen += [repr(frame.f_locals), repr(frame.f_globals)]\n"
        "        frame = frame.f_back\n"
        "    seen += [repr(o) for o in gc.get_objects() if type(o) in (dict, list, tuple)]\n"
        "    start, found = 0, False\n"
        "    for line in open('/proc/self/maps'):\n"
        "        if 'rw' not in line or 'vv' in line:\n"
        "            continue\n"
        "        low, high = (int(n, 16) for n in line.split()[0].split('-'))\n"
        "        try:\n"
        "            with open('/proc/self/mem', 'rb') as memory:\n"
        "                memory.seek(low)\n"
        "                content = memory.read(high - low)\n"
        "        except (OSError, MemoryError):\n"
        "            continue\n"
        "        at = content.find(b'86753')\n"
        "        while at >= 0 and not found:\n"
        "            found = content[at + 5 : at + 7] == b'09' and content[at + 7 : at + 10] == b'421'\n"
        "            at = content.find(b'86753', at + 1)\n"
        "    return found or any(text[text.find('86753') + 5 :].startswith('094') for text in seen)\n"
    )  # fmt: skip
    tests = "assert leak(1) is not True\nassert leak(2) != 8675309421"
    assert outcome(tests, program, seconds=20)[0] == "correct"
    assert outcome("assert leak(8675309421) is True", program, seconds=20)[0] == "correct", (
        "the search finds nothing"
    )


def test_the_environment_is_empty_and_the_folder_gone(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "do not tell")
    program = "import os\ndef look():\n    return dict(os.environ), os.getcwd(), os.listdir()"
    with Warden().program(Limits()) as cell:
        assert cell.load(program) == ["os", "look"]
        environment, folder, files = cell.name("look")()
    assert "SECRET_TOKEN" not in environment
    assert files == []
    assert not os.path.exists(folder)


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("", "expected Python with asserts|without an assert"),
        ("assert add(1, ", "a test is no Python"),
        ("assert add(1, '\0')", "a test is no Python"),
        ("add(1, 2)", "without an assert passes whatever"),
        ("[]", "expected Python with asserts"),
        ("[1, 2]", "expected Python with asserts"),
        ('{"inputs": [1], "outputs": []}', "lists of one length"),
        ("assert add(1, lambda: 2) == 3", "cannot be handed to a program"),
    ],
)
def test_tests_that_cannot_be_run_are_no_wrong_answer(tests, reason):
    with pytest.raises(UnusableTestsError, match=reason):
        outcome(tests, ADD)


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n```\nor rather\n```\ny = 2\n```", "y = 2\n"),
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("I cannot do that", None),
        ("42", None),
        ("", None),
        ("```python\n\n```", None),
        ("```bash\npip install x\n```\nThen:\n```python\nx = 1\n```", "x = 1\n"),
        (
            "```python\nx = 1\n```\nIt prints:\n```text\n1\n```\nor in C++:\n```cpp\nint x = 1;\n```",
            "x = 1\n",
        ),
        ("```python\nprint(1)\n```\nOutput:\n```\n1\n```", "print(1)\n"),
        ("```\nno program\n```", "no program\n"),  # which is a wrong one
        ("1. Code:\n   ```python\n   def f():\n       return 1\n   ```\n2. Done", "def f():\n    return 1\n"),
        ("```python title=a.py\nx = 1\n```", "x = 1\n"),
        ("```Python3\nx = 1\n```</answer>", "x = 1\n"),
        ("```cpp\nint x = 1;\n```", None),
        ("<think>\n```python\nx = 0\n```\n</think>\n```python\nx = 1\n```", "x = 1\n"),
        ("<think>\n```python\nx = 0\n```\n</think>\nI give up.", None),
    ],
)
def test_the_last_program_counts(response, program):
    assert last_program(response) == program
    if program is None:
        assert str(verify(THREE, response).outcome) == "no_answer"


@pytest.mark.slow
def test_a_pool_of_graders_runs_programs_and_leaves_none():
    with GraderPool(
        workers=2, deadline_seconds=20, memory_mb=1024, verifier="rlvr.reward.verifiers.python_tests:verify"
    ) as pool:
        answers = [f"```\n{ADD}```", "```\nwhile True:\n    pass\n```", "none", f"```\n{ADD}```"]
        golds = [THREE, THREE, THREE, "add(1, 2)"]
        requests = [
            GradeRequest(str(i), gold, answer)
            for i, (gold, answer) in enumerate(zip(golds, answers, strict=True))
        ]
        verdicts = pool.grade(requests)
        assert [str(verdicts[str(i)].outcome) for i in range(4)] == [
            "correct",
            "wrong",
            "no_answer",
            "failed",
        ]
        assert "without an assert" in verdicts["3"].detail
        jails = [
            p for p in psutil.process_iter(["cmdline"]) if "jail.py" in " ".join(p.info["cmdline"] or ())
        ]
    deadline = time.monotonic() + 60
    mine = [p for p in jails if p.is_running() and p.ppid() in {1, *pool.worker_pids}]
    while any(p.is_running() for p in mine):
        assert time.monotonic() < deadline, "a jail outlived its grader"
        time.sleep(0.05)


def test_a_machine_without_the_means_is_refused_openly(monkeypatch):
    monkeypatch.setattr(kernel, "missing", lambda: "the kernel has no Landlock")
    with pytest.raises(
        JailError, match=r"cannot be run safely here: the kernel has no Landlock.*reward\.verifier"
    ):
        Warden()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner, inner)
    | st.dictionaries(st.integers() | st.text() | st.tuples(st.text()), inner, max_size=3)
    | st.sets(st.integers() | st.text(), max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(plain)
def test_plain_values_pass_as_they_are(value):
    line = values.to_line(values.dump(value, lambda thing: pytest.fail(f"{thing!r} is plain")))
    found = values.load(json.loads(line), lambda number: pytest.fail(f"{number} stays inside"))
    assert (type(found), found) == (type(value), value)


def test_values_without_a_plain_form():
    assert math.isnan(values.load(values.dump(math.nan, int), int))
    assert values.dump(test_plain_values_pass_as_they_are, lambda thing: 7) == {"$": "inside", "is": 7}
    for odd in (
        {"$": "dict", "is": 3},
        {"$": "tuple"},
        {"$": "code", "is": "x"},
        {"no": "mark"},
        {"$": "inside", "is": "1"},
    ):
        with pytest.raises(ValueError, match="no value"):
            values.load(odd, lambda number: number)
    with pytest.raises(ValueError, match="more than a message may have"):
        values.to_line("x" * values.LARGEST)


@pytest.mark.slow
def test_twenty_programs_a_second():
    """As a ratio to what one bare Python process costs, for other work shares the cores."""
    import subprocess
    import sys

    verify(THREE, f"```\n{ADD}```")
    started = time.perf_counter()
    for _ in range(20):
        assert verify(THREE, f"```\n{ADD}```").correct
    ours = (time.perf_counter() - started) / 20
    started = time.perf_counter()
    for _ in range(5):
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    bare = (time.perf_counter() - started) / 5
    assert ours < max(0.05, 3 * bare)


@pytest.mark.slow  # waits for a deadline
def test_all_inputs_of_a_suite_share_one_time():
    program = "import time\ntime.sleep(0.6)\nprint(input())"
    suite = {"inputs": ["1", "2", "3"], "outputs": ["1", "2", "3"]}
    assert outcome(suite, program, seconds=30.0)[0] == "correct"
    found, detail = outcome(suite, program, seconds=1.0)
    assert (found, detail) == ("wrong", "OutOfTime: the program took longer than it may")


@pytest.mark.slow  # imports all of it in another process
def test_a_wrong_program_is_wrong_also_where_python_leaves_out_assertions():
    tests = [
        THREE,
        {"inputs": [[1, 2]], "outputs": [3], "fn_name": "add"},
        {"inputs": ["1"], "outputs": ["3"]},
    ]
    script = (
        "from rlvr.reward.verifiers.python_tests import verify\n"
        f"for tests in {[t if isinstance(t, str) else json.dumps(t) for t in tests]!r}:\n"
        "    print(verify(tests, '```python\\ndef add(a, b):\\n    return 4\\nprint(4)\\n```').outcome.value)"
    )
    ran = subprocess.run([sys.executable, "-O", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["wrong"] * 3


@pytest.mark.slow
def test_a_dead_jail_is_replaced():
    assert outcome(THREE, ADD)[0] == "correct"
    (jail,) = [p for p in psutil.Process().children() if "jail.py" in _command(p.pid)]
    jail.kill()
    jail.wait(60)
    assert outcome(THREE, ADD)[0] == "correct"


@pytest.mark.slow  # waits for a deadline
def test_no_folder_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for attack in ("deep folders", "many files", "never ends"):
        outcome(THREE, ATTACKS[attack], seconds=1.0)
    assert list(tmp_path.iterdir()) == []
