"""Token pages of any size, made by the project's own writers from random tokens."""

from __future__ import annotations

import random
from pathlib import Path

from rlvr.reporting.pages import DrawnRun, run_page
from rlvr.reporting.sources import read_run
from rlvr.reporting.tokens import TOKEN_FIELDS, TokenPages
from tests.helpers.report_cases import write_analysis

WORDS = (
    " so",
    " the",
    " sum",
    " of",
    " x",
    " is",
    "7",
    "12",
    " +",
    " =",
    ".",
    ",",
    "\n",
    " \\frac",
    "{",
    "}",
    " then",
)


def write_page(folder: Path, *, responses: int, tokens: int, checkpoints: int, seed: int = 0) -> Path:
    """report.html with so many responses, each a pair of its own, with so many tokens and checkpoints."""
    run = read_run(write_analysis(folder / "analysis").parent)
    rng = random.Random(seed)
    pages = TokenPages()
    pages.texts = {text: place for place, text in enumerate(WORDS)}
    labels = [*(f"step_{10 * k:06d}" for k in range(1, checkpoints)), "policy"]
    pages.checkpoints = labels

    def js() -> float:
        return float(f"{rng.random() ** 8 * 0.69:.4g}")

    def token() -> list:
        place = rng.randrange(len(WORDS))
        alternatives = [place, *rng.sample(range(len(WORDS)), 4)]
        chances = [0.6123, 0.2012, 0.1034, 0.05123, 0.01098]
        values = {
            "token": place,
            "js": js(),
            "js_top_p": js(),
            "entropy_base": 0.8123,
            "entropy_policy": 0.4321,
        }
        values |= {"logp_base": -1.234, "logp_policy": -0.4905, "rank_base": 2, "rank_policy": 1}
        values |= {f"{side}_texts": alternatives for side in ("base", "policy")}
        values |= {f"{side}_probs": chances for side in ("base", "policy")}
        return [values[name] for name in TOKEN_FIELDS]

    for number in range(responses):
        shown = [token() for _ in range(tokens)]
        pages.responses.append(
            {
                "run": run.name, "number": number, "problem_id": f"p{number}", "sample_id": f"p{number}/0",
                "trajectory": "policy", "question": f"question {number}", "answer": "7",
                "text": "".join(WORDS[row[0]] for row in shown), "reward": 1.0, "correct": True, "truncated": False,
                "tokens": tokens, "mean_js": 0.08, "max_js": 0.69, "moved": 10, "moved_above": 0.1,
                "earlier": {label: [js() for _ in shown] for label in labels[:-1]}, "shown": shown,
            }
        )  # fmt: skip
        pages.pairs.append({"lead": number, "partner": None, "why": "divergent"})
    page = folder / "long.html"
    page.write_text(run_page([DrawnRun(run, (), ())], [], pages))
    return page
