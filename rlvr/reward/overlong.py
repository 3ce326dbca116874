"""Length policies: what a long or truncated response earns, and whether it is learned from.

Arrays are numpy; the index along them is the sample. Lengths are in tokens of the response alone.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def soft_overlong_punishment(lengths: npt.ArrayLike, max_length: int, cache_length: int) -> Doubles:
    """DAPO's length penalty, to be added to the correctness reward (arXiv 2503.14476, eq. 13).

    `lengths` [samples] in tokens. With L_max = `max_length` and L_cache = `cache_length`: 0 up to
    L_max - L_cache, then (L_max - L_cache - length) / L_cache down to -1 at L_max, and -1 beyond.
    Raises ValueError unless 0 < cache_length <= max_length.
    """
    if not 0 < cache_length <= max_length:
        raise ValueError(
            f"cache_length={cache_length}, max_length={max_length}: expected 0 < cache_length <= max_length"
        )
    room = (max_length - cache_length) - np.asarray(lengths, dtype=np.float64)
    return np.clip(room / cache_length, -1.0, 0.0)


def counts_as_correct(
    correct: npt.ArrayLike, truncated: npt.ArrayLike, *, truncated_can_be_correct: bool
) -> Bools:
    """Which samples count as correct: a truncated one never does unless `truncated_can_be_correct`.

    `correct` and `truncated` [samples] are booleans; truncated: generation stopped at the length limit.
    Raises ValueError where their shapes differ.
    """
    correct_array, truncated_array = np.asarray(correct, np.bool_), np.asarray(truncated, np.bool_)
    if correct_array.shape != truncated_array.shape:
        raise ValueError(
            f"correct has shape {correct_array.shape}, truncated {truncated_array.shape}: expected one entry "
            "per sample in both"
        )
    return correct_array.copy() if truncated_can_be_correct else correct_array & ~truncated_array


def overlong_filter(truncated: npt.ArrayLike) -> Bools:
    """DAPO's overlong filtering (arXiv 2503.14476, section 3.4): True where a sample stays in the loss.

    A truncated sample keeps its place in the batch and in its group's baseline; only its loss is masked.
    """
    return ~np.asarray(truncated, dtype=np.bool_)
