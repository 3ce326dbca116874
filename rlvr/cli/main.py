"""The program `rlvr`: `rlvr train recipe=grpo` is `python -m rlvr.train recipe=grpo`, and so for every command."""

from __future__ import annotations

import difflib
import runpy
import sys
from dataclasses import dataclass
from importlib.metadata import version

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Command:
    """A command, the module that runs it and what it does in a few words."""

    module: str
    summary: str


COMMANDS: dict[str, Command] = {
    "train": Command("rlvr.train", "train a policy: one run, or a sweep with -m"),
    "plan": Command("rlvr.plan", "memory, tokens and seconds of a run, before it is started"),
    "evaluate": Command("rlvr.evaluate", "avg@n, pass@k and majority@k of a model, with intervals"),
    "analyze": Command("rlvr.analyze", "where the policy's token distributions moved away from the base's"),
    "cross-sample": Command("rlvr.cross_sample", "whether the moved tokens carry the gain in accuracy"),
    "report": Command("rlvr.report", "one HTML file: curves, figures, responses token by token"),
    "sweep-report": Command(
        "rlvr.sweep_report", "the runs of a sweep side by side, with intervals and tests"
    ),
    "findings": Command("rlvr.findings", "a run, its controls and all of the above in one table"),
    "audit-reward": Command("rlvr.audit_reward", "what the grader makes of a file of answers"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command; without one, list them.

    Raises:
        SystemExit: 2 for a command that does not exist, else as the command ends.
    """
    given = sys.argv[1:] if arguments is None else arguments
    name, rest = (given[0], given[1:]) if given else ("help", [])
    if name in ("help", "-h", "--help"):
        print(overview())
    elif name in ("version", "-V", "--version"):
        print(f"rlvr {version('rlvr')}")
    elif name == "recipes":
        print(recipes())
    elif name == "completion":
        print(completion(rest[0] if rest else ""))
    elif name.replace("_", "-") in COMMANDS:
        module = COMMANDS[name.replace("_", "-")].module
        sys.argv = [f"rlvr {name}", *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `rlvr {near[0]}`?" if near else "`rlvr` alone lists the commands."
        print(f"rlvr: there is no command {name!r}; {hint}", file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    lines += [
        f"  {'recipes':<{width}}  list the recipes and the options of every group",
        f"  {'completion':<{width}}  print a completion script: {', '.join(SHELLS)}",
        f"  {'version':<{width}}  print the version",
    ]
    return "\n".join(
        [
            "rlvr: reinforcement learning with verifiable rewards that shows which tokens mattered",
            "",
            "usage: rlvr COMMAND [key=value ...]      (each is also `python -m rlvr.COMMAND`)",
            "",
            *lines,
            "",
            "first steps: rlvr train recipe=dapo_divweight; rlvr analyze run=runs/latest; rlvr report runs/latest",
        ]
    )


def recipes() -> str:
    """Every group of the recipe tree with its options; a recipe's first comment says what it is."""
    from rlvr.cli.compose import recipes_folder

    folder = recipes_folder()
    lines = [f"in {folder}"]
    for group in sorted(path for path in folder.iterdir() if path.is_dir()):
        lines += ["", f"{'+sweep' if group.name == 'sweep' else group.name}="]
        options = sorted(group.glob("*.yaml"))
        width = max(len(option.stem) for option in options)
        lines += [
            f"  {option.stem:<{width}}  {first_comment(option.read_text())}".rstrip() for option in options
        ]
    return "\n".join(lines)


def first_comment(text: str) -> str:
    """The first comment line of a recipe that is no instruction to Hydra."""
    for line in text.splitlines():
        if line.startswith("# ") and not line.startswith("# @package"):
            return line.removeprefix("# ")
    return ""


def completion(shell: str) -> str:
    """A script that completes the commands' names in the given shell.

    Raises:
        SystemExit: 2 for another shell.
    """
    words = " ".join([*COMMANDS, "recipes", "completion", "version", "help"])
    if shell == "bash":
        function = f'_rlvr() {{ [ "$COMP_CWORD" = 1 ] && COMPREPLY=($(compgen -W "{words}" -- "$2")); }}'
        return f"{function}\ncomplete -o default -F _rlvr rlvr"
    if shell == "zsh":
        return f"#compdef rlvr\n_rlvr() {{ (( CURRENT == 2 )) && compadd {words} || _files }}\ncompdef _rlvr rlvr"
    if shell == "fish":
        return f"complete -c rlvr -n __fish_use_subcommand -a '{words}'"
    print(
        f'rlvr completion {shell}: use one of {", ".join(SHELLS)}; in bash: eval "$(rlvr completion bash)"',
        file=sys.stderr,
    )
    sys.exit(2)


if __name__ == "__main__":
    main()
