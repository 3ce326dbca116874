"""The errors that a user is meant to read; entry points print them without a traceback (exit codes: rlvr.cli.exits)."""

from collections.abc import Iterator
from contextlib import contextmanager

# What a command exits with beside 0 and 1.
EXIT_INTERRUPTED = 130  # Ctrl-C
EXIT_PAUSED = 75  # EX_TEMPFAIL of sysexits.h: start again later
EXIT_LOST = 69  # EX_UNAVAILABLE: a process died or did not answer; another attempt may do better


class RlvrError(Exception):
    """Something a user can mend: the message says what was wrong, where, and what to do."""


class ConfigError(RlvrError):
    """A configuration that cannot work, found before anything was started."""


class DataError(RlvrError, ValueError):
    """A data set, row, prompt or tokenizer that cannot be used."""


class DeadlineError(RlvrError):
    """Something was not done in time; the message says what was waited for."""


class ActorError(RlvrError):
    """A process of the run died, or no longer takes part."""


class RemoteError(RlvrError, RuntimeError):
    """A library, or code of the user's, failed inside an actor; the message has its own words."""


class RemoteOSError(RemoteError, OSError):
    """The same where the operating system refused: a full disk, say."""


class MismatchError(RlvrError):
    """Rollout engine and learner disagree on log-probabilities beyond the configured limit."""


class WeightsError(RlvrError):
    """A rollout engine does not have the learner's weights after a push."""


class DivergedError(RlvrError):
    """A gradient or the model's log-probs are no finite numbers; no checkpoint has these weights."""


class CheckpointError(RlvrError):
    """A checkpoint could not be written or read; what was there before is intact."""


class PluginError(RlvrError):
    """A weighting, estimator or objective returned, or asked for, something that cannot be used."""


class PausedError(RlvrError):
    """The run has written a checkpoint and stopped because it was asked to (SIGUSR1); it can be continued."""


class VerifierError(RlvrError):
    """The verifier failed on too large a share of the responses for its verdicts to be used."""


class EmptyBatchError(RlvrError):
    """Dynamic sampling kept no group at all, so there is nothing to learn from."""


@contextmanager
def where_it_fails(what: str, remedy: str) -> Iterator[None]:
    """Say `what` could not be done on disk, and the `remedy`, where the operating system refuses.

    Raises:
        RlvrError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise RlvrError(f"{what} ({error}); {remedy}") from error
