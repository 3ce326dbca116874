"""math-verify as its authors ship it: a second opinion for `python -m rlvr.audit_reward second=...`."""

from math_verify import parse, verify


def math_verify_default(gold: str, response: str) -> bool:
    """math-verify's own extraction and comparison with its default settings, its SIGALRM deadlines off."""
    return verify(
        parse(f"${gold}$", parsing_timeout=None), parse(response, parsing_timeout=None), timeout_seconds=None
    )
