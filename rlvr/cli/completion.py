"""Shell completion: the commands, the keys used most of each, and the names of recipes."""

from __future__ import annotations

from rlvr.cli.commands import COMMANDS
from rlvr.cli.overrides.forms import options_of
from rlvr.cli.overrides.recipe_tree import recipes_folder
from rlvr.errors import ConfigError

OTHERS = ("recipes", "completion", "version", "help")

# bash takes `recipe=gr` for three words: `recipe`, `=` and `gr`.
BASH = """_rlvr() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} key= words=
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    if [ "$word" = "=" ]; then
        key=${{COMP_WORDS[COMP_CWORD-1]}} word=
    elif [ "${{COMP_WORDS[COMP_CWORD-1]}}" = "=" ]; then
        key=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if [ "$key" = recipe ]; then
        COMPREPLY=($(compgen -W "{recipes}" -- "$word"))
    elif [ -z "$key" ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        [ ${{#COMPREPLY[@]}} -gt 0 ] && compopt -o nospace 2>/dev/null
    fi
}}
complete -o default -F _rlvr rlvr"""
ZSH = """#compdef rlvr
_rlvr() {{
    if (( CURRENT == 2 )); then compadd {commands}; return; fi
    case "$words[2]" in
{cases}
    esac
    _files
}}
compdef _rlvr rlvr"""


def completion(shell: str) -> str:
    """A script for the given shell.

    Raises:
        ConfigError: there is none for it.
    """
    if shell not in SHELLS:
        raise ConfigError(
            f'rlvr completion {shell}: use one of {", ".join(SHELLS)}; in bash: eval "$(rlvr completion bash)"'
        )
    return SHELLS[shell]()


def _bash() -> str:
    cases = [f'        {name}) words="{" ".join(f"{key}=" for key in _keys(name))}" ;;' for name in COMMANDS]
    return BASH.format(commands=" ".join(_commands()), recipes=" ".join(_recipes()), cases="\n".join(cases))


def _zsh() -> str:
    cases = [
        f"        {name}) compadd -S '' -- {' '.join(_words(name))} ;;" for name in COMMANDS if _words(name)
    ]
    return ZSH.format(commands=" ".join(_commands()), cases="\n".join(cases))


def _fish() -> str:
    lines = [f"complete -c rlvr -n __fish_use_subcommand -a '{' '.join(_commands())}'"]
    lines += [
        f"complete -c rlvr -n '__fish_seen_subcommand_from {name}' -a '{' '.join(_words(name))}'"
        for name in COMMANDS
        if _words(name)
    ]
    return "\n".join(lines)


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def _commands() -> list[str]:
    return [*COMMANDS, *OTHERS]


def _recipes() -> list[str]:
    return options_of(recipes_folder() / "recipe")


def _takes_recipes(name: str) -> bool:
    return COMMANDS[name].schema == COMMANDS["train"].schema


def _keys(name: str) -> list[str]:
    return [*(["recipe"] if _takes_recipes(name) else []), *COMMANDS[name].keys]


def _words(name: str) -> list[str]:
    """What a command may be given, as whole words."""
    recipes = [f"recipe={recipe}" for recipe in _recipes()] if _takes_recipes(name) else []
    return [*recipes, *(f"{key}=" for key in COMMANDS[name].keys)]
