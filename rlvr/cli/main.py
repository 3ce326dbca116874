"""The program `rlvr`: `rlvr train recipe=grpo` is `python -m rlvr.train recipe=grpo`, and so for every command."""

from __future__ import annotations

import difflib
import re
import runpy
import sys
from importlib.metadata import version

from rlvr.cli.commands import COMMANDS
from rlvr.cli.help import command_help
from rlvr.cli.surroundings import look_around
from rlvr.errors import ConfigError
from rlvr.runtime.tracking.output import ending_output

NOT_PLAIN = {
    "sweep": "+sweep",
    "study": "rlvr findings study",
}  # folder of the recipe tree -> how it is chosen


@ending_output()
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
        _print_completion(rest[0] if rest else "")
    elif (known := name.replace("_", "-")) in COMMANDS:
        if {"-h", "--help"} & set(rest):  # without the seconds that the command itself takes to load
            print(command_help(known))
            return
        sys.argv = [f"rlvr {name}", *rest]
        # As `python -m` does: verifiers and plug-ins of one's own may lie there.
        sys.path.insert(0, look_around())
        from rlvr.cli.exits import readable_errors  # loads OmegaConf, of which `rlvr help` has no need

        with readable_errors():  # Ctrl-C during the seconds that the command takes to load
            runpy.run_module(COMMANDS[known].module, run_name="__main__", alter_sys=True)
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `rlvr {near[0]}`?" if near else "`rlvr` alone lists the commands."
        print(f"rlvr: there is no command {name!r}; {hint}", file=sys.stderr)
        sys.exit(2)


def _print_completion(shell: str) -> None:
    from rlvr.cli.completion import completion  # loads Hydra

    try:
        print(completion(shell))
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    lines += [
        f"  {'recipes':<{width}}  list the recipes and the options of every group",
        f"  {'completion':<{width}}  print a completion script for bash, zsh or fish",
        f"  {'version':<{width}}  print the version",
    ]
    return "\n".join(
        [
            "rlvr: reinforcement learning with verifiable rewards that shows which tokens mattered",
            "",
            "usage: rlvr COMMAND [key=value ...]      (`rlvr COMMAND --help`: its keys and examples)",
            "",
            *lines,
            "",
            "first steps: rlvr train recipe=dapo_divweight; rlvr analyze run=runs/latest; rlvr report runs/latest",
        ]
    )


def recipes() -> str:
    """Every group of the recipe tree with its options; a recipe's first comment says what it is."""
    from rlvr.cli.overrides.recipe_tree import recipes_folder

    folder = recipes_folder()
    lines = [f"in {folder}"]
    for group in sorted(path for path in folder.iterdir() if path.is_dir()):
        lines += ["", f"{NOT_PLAIN.get(group.name, group.name)}="]
        options = sorted(group.glob("*.yaml"))
        width = max(len(option.stem) for option in options)
        lines += [
            f"  {option.stem:<{width}}  {first_comment(option.read_text())}".rstrip() for option in options
        ]
    return "\n".join(lines)


def first_comment(text: str) -> str:
    """The first sentence of a recipe's comment, without instructions to Hydra."""
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    said = " ".join(line for line in lines if not line.startswith("@package"))
    # "Dr." ends no sentence.
    return re.split(r"(?<=\.)(?<!\bDr\.)\s(?=[A-Z])", said, maxsplit=1)[0]


if __name__ == "__main__":
    main()
