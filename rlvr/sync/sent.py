"""What a push has sent, as the metrics and a line of the log say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """What one push has sent to every worker of the engines."""

    bytes: int
    whole: bool = True  # all weights, rather than what had changed
    changed: float | None = None  # share of the elements with new bits; None: nothing to compare with
    why: str = ""  # all weights were sent, where less might have been

    def metrics(self) -> dict[str, float]:
        """As a step logs it."""
        found = {"push/bytes": float(self.bytes), "push/sparse": float(not self.whole)}
        return found if self.changed is None else found | {"push/changed": self.changed}


def push_note(before: Sent | None, sent: Sent | None) -> str | None:
    """What to say of a push that went another way than the one before, or for another reason; None: nothing."""
    if sent is None or (sent.whole and not sent.why):
        return None
    if before is not None and (before.whole, before.why) == (sent.whole, sent.why):
        return None
    size = f"{sent.bytes / 1e6:.1f} MB"
    changed = "" if sent.changed is None else f", {sent.changed:.2%} of the elements have new bits"
    if sent.whole:
        return f"push: all weights were sent ({size}{changed}): {sent.why}"
    return f"push: only what has changed was sent ({size}{changed})"
