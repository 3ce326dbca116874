"""A constraint of one's own, named by dotted path."""


def rhymes(text: str, ending: str) -> bool:
    """Whether the text ends so."""
    return text.strip().endswith(ending)
