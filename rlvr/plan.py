r"""What a run will take, before anybody queues for it: `rlvr plan recipe=dapo_divweight_7b_2nodes card=h100`.

Reads the model's configuration only (from its folder, the hub or the hub's cache) and starts nothing. Counts of
parameters, samples and tokens are exact, and so are states; activations and all seconds are estimates for a card of
the table (card=NAME), or from rates of one's own (rates=FILE or --rates FILE, a YAML file with some of the keys
name, memory_gb, tflops, memory_gb_s, network_gb_s, host_gb_s). The last lines are the changes that would help most.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from rlvr.cli.entry import hydra_entry
from rlvr.cli.exits import readable_errors
from rlvr.cli.overrides.shorthand import ShortForm, expand
from rlvr.config import Config
from rlvr.runtime.disk.files import path_of
from rlvr.runtime.planning.cards import CARDS, STANDARD, Card, chosen_card
from rlvr.runtime.planning.shape import model_shape
from rlvr.runtime.planning.text import report

FORMS = (
    ShortForm("card=h100", f"the GPU to plan for: {', '.join(CARDS)}"),
    ShortForm("rates=FILE", "a YAML file with rates of one's own in place of the card's (also --rates FILE)"),
)


def show(card: Card, own_rates: bool, cfg: Config) -> None:
    """Print the plan of a configuration."""
    print(report(cfg, model_shape(cfg), card, own_rates=own_rates))


def own_options(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments for Hydra, and the values of the options that are this command's own."""
    written: list[str] = []
    names = {f"--{form.name}" for form in FORMS}
    for argument in arguments:
        if written and written[-1] in names:
            written[-1] = f"{written[-1][2:]}={argument}"
        elif argument.partition("=")[0] in names:
            written.append(argument[2:] if "=" in argument else argument)
        else:
            written.append(argument)
    found = expand(written, FORMS)
    return found.arguments, found.own


def main() -> None:
    """Take this command's own options off the line, then compose the rest as `rlvr train` does."""
    with readable_errors():
        sys.argv[1:], own = own_options(sys.argv[1:])
        rates = path_of(own["rates"], "rates") if "rates" in own else None
        card = chosen_card(own.get("card", STANDARD), rates)
    hydra_entry(partial(show, card, rates is not None), command="plan")()


if __name__ == "__main__":
    main()
