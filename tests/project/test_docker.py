"""The Dockerfiles and the compose file: pinned, unprivileged, and installing by the steps that CI runs."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.helpers.paths import REPOSITORY

STACKS = ("cpu", "cuda")
EXTRA = {"cpu": "cpu", "cuda": "gpu"}
DEFAULT_STEPS = ["dependencies", "package", "tools"]


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its continuation lines joined."""

    word: str
    rest: str


def instructions(stack: str) -> list[Instruction]:
    text = (REPOSITORY / f"docker/{stack}.Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def only(stack: str, word: str) -> str:
    [found] = [i.rest for i in instructions(stack) if i.word == word]
    return found


def run_commands(stack: str) -> list[list[str]]:
    """The single commands of all RUN instructions."""
    runs = [i.rest for i in instructions(stack) if i.word == "RUN"]
    return [shlex.split(command) for run in runs for command in re.split(r"&&|;|\|\|", run)]


def copied(stack: str) -> list[str]:
    return [source for i in instructions(stack) if i.word == "COPY" for source in i.rest.split()[:-1]]


def pins(stack: str) -> dict[str, str]:
    lines = (REPOSITORY / f"docker/constraints-{stack}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def compose() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "docker/compose.yaml").read_text())


@pytest.mark.parametrize("stack", STACKS)
def test_base_is_pinned_to_a_patch_version(stack: str) -> None:
    image, _, tag = only(stack, "FROM").partition(":")
    assert image in ("python", "nvidia/cuda")
    assert re.match(r"\d+\.\d+\.\d+-", tag)


@pytest.mark.parametrize("stack", STACKS)
def test_python_packages_come_from_the_install_script_alone(stack: str) -> None:
    installs = [c for c in run_commands(stack) if "pip" in c or any("install_" in part for part in c)]
    script = ["bash", f"docker/install_{stack}.sh", "/opt/venv/bin/python"]
    assert installs == [[*script, "dependencies"], [*script, "package"]]


def test_make_and_so_ci_runs_all_steps_of_the_same_script() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "\tbash docker/install_cpu.sh $(BIN)/python\n" in makefile
    [stages] = re.findall(r"^test: (.*?)  ##", makefile, re.MULTILINE)
    ci = (REPOSITORY / ".ci/run").read_text()
    assert "\nend_to_end() {\n    make e2e && return\n" in ci
    ci = ci.replace("stage end-to-end end_to_end", "stage end-to-end make e2e")
    run_by_ci = re.findall(r"^stage .*make (\w+)$", ci, re.MULTILINE)
    assert run_by_ci == ["setup", *stages.split()]
    steps = (REPOSITORY / "docker/steps.sh").read_text()
    assert f"steps=({' '.join(DEFAULT_STEPS)})" in steps


@pytest.mark.parametrize("stack", STACKS)
def test_dependencies_are_a_layer_of_their_own(stack: str) -> None:
    words = [i.word + " " + i.rest for i in instructions(stack)]
    first = next(n for n, text in enumerate(words) if text.endswith(" dependencies"))
    before = [source for text in words[:first] if text.startswith("COPY") for source in text.split()[1:-1]]
    assert set(before) == {
        "pyproject.toml",
        f"docker/install_{stack}.sh",
        "docker/steps.sh",
        "docker/requirements.py",
        f"docker/constraints-{stack}.txt",
    }


@pytest.mark.parametrize("stack", STACKS)
def test_files_to_copy_exist_and_reach_the_builder(stack: str) -> None:
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = [rule[1:].rstrip("/") for rule in rules if rule.startswith("!")]
    assert "*" in rules
    for source in copied(stack):
        assert (REPOSITORY / source).exists(), source
        assert any(source == rule or source.startswith(f"{rule}/") for rule in allowed), source
        assert not any(fnmatch(source, rule.removeprefix("**/")) for rule in rules[2:] if rule[0] != "!")


@pytest.mark.parametrize("stack", STACKS)
def test_runs_unprivileged_below_an_init_with_a_health_check(stack: str) -> None:
    steps = instructions(stack)
    user = next(n for n, i in enumerate(steps) if i.word == "USER")
    assert steps[user].rest == "${UID}"
    assert int(only(stack, "ARG").removeprefix("UID=")) > 0
    assert not any(i.word in ("RUN", "COPY", "USER") for i in steps[user + 1 :])
    assert 'CMD ["python", "docker/health.py"]' in only(stack, "HEALTHCHECK")
    assert only(stack, "ENTRYPOINT") == '["tini", "--"]'
    [apt] = [c for c in run_commands(stack) if c[:2] == ["apt-get", "install"]]
    assert {"tini", "--no-install-recommends"} <= set(apt)
    assert ("g++" in apt) == (stack == "cuda")  # for its divergence kernel; nothing is compiled on a CPU
    assert ["rm", "-rf", "/var/lib/apt/lists/*"] in run_commands(stack)
    assert "PIP_NO_CACHE_DIR=1" in only(stack, "ENV")


@pytest.mark.parametrize("stack", STACKS)
def test_pins_lie_within_the_ranges_of_pyproject(stack: str) -> None:
    tool = runpy.run_path(str(REPOSITORY / "docker/requirements.py"))
    version = pins(stack)
    wanted = [Requirement(line) for line in tool["requirements"]([EXTRA[stack], "dev"])]
    environment = {**default_environment(), "platform_machine": "x86_64"}
    assert len(wanted) > 20
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.specifier.contains(version[requirement.name], prereleases=True), requirement
    assert not {"rlvr"} & set(version)


def test_requirements_spell_out_extras_that_name_others() -> None:
    tool = runpy.run_path(str(REPOSITORY / "docker/requirements.py"))
    names = [Requirement(line).name for line in tool["requirements"](["dev"])]
    assert {"torch", "pytest", "datasets", "matplotlib"} <= set(names)
    assert "rlvr" not in names
    with pytest.raises(KeyError):
        tool["requirements"](["no_such_extra"])


def test_install_script_refuses_a_step_that_does_not_exist() -> None:
    command = ["bash", "docker/install_cpu.sh", "python", "dependancies"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no step 'dependancies'" in done.stderr


def test_linters_find_a_fault(tmp_path: Path) -> None:
    """Else a lint that passes says nothing."""
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN cd /tmp\n")
    (tmp_path / "script.sh").write_text("#!/bin/bash\nrm -r $1\n")
    for tool, name in (("hadolint", "Dockerfile"), ("shellcheck", "script.sh")):
        path = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
        assert path, f"{tool} comes with the dev extra"
        done = subprocess.run([path, str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert ("DL3007" if tool == "hadolint" else "SC2086") in done.stdout


def test_compose_is_a_cluster_of_two_that_shares_runs_and_publishes_no_port() -> None:
    services = compose()["services"]
    assert sorted(name for name, s in services.items() if "profiles" not in s) == ["head", "worker"]
    for service in services.values():
        assert service["healthcheck"]["test"] == ["CMD", "python", "docker/health.py", "--ray"]
        assert "runs:/app/runs" in service["volumes"]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
        assert "ports" not in service
        assert service["build"] == {"context": "..", "dockerfile": "docker/cpu.Dockerfile"}
    healthy = {"condition": "service_healthy"}
    assert services["worker"]["depends_on"] == {"head": healthy}
    assert services["train"]["depends_on"] == {"head": healthy, "worker": healthy}
    assert set(compose()["volumes"]) == {v.partition(":")[0] for v in services["head"]["volumes"]}


def test_health_check_reads_a_raylet_by_its_own_flags_only() -> None:
    tool = runpy.run_path(str(REPOSITORY / "docker/health.py"))
    parse, node = tool["parse_raylet"], tool["Node"]
    inner = "--python_worker_command=python worker.py --gcs-address=10.0.0.9:1 --node_id=other"
    command = ["/x/raylet/raylet", "--node_id=ab12", inner, "--head", "--gcs-address=10.0.0.1:6379"]
    assert parse(command) == node(id="ab12", gcs_address="10.0.0.1:6379")
    assert parse(["python", "-m", "rlvr.train"]) is None
    assert parse([]) is None


def test_health_without_ray_depends_on_whether_it_is_expected() -> None:
    verdict = runpy.run_path(str(REPOSITORY / "docker/health.py"))["verdict"]
    assert verdict([], ray_expected=False)[0]
    assert not verdict([], ray_expected=True)[0]
