"""Errors that a user can mend: each is one line that names what, where, the rule and the fix."""


class FaceError(Exception):
    """A mistake in what the program was given; printed as one line, without a traceback, exit code 2."""

    exit_code = 2


class WorkerEndedError(FaceError):
    """A data worker was killed; exit code 1: nothing is wrong with what was given, another attempt may go well."""

    exit_code = 1


class StoppedError(FaceError):
    """All ranks have stopped where they had agreed to."""


class PreemptedError(StoppedError):
    """A signal has stopped the run; exit code 75, the system's EX_TEMPFAIL: start it again and it goes on."""

    exit_code = 75


class SupersededError(StoppedError):
    """A later attempt has taken the run over; exit code 4: leave it alone."""

    exit_code = 4


class ConfigError(FaceError):
    """An option, or a combination of options, that cannot work."""


class DataError(FaceError):
    """A shard, manifest, index, pairs file or image folder that is not what it should be."""


class CheckpointError(FaceError):
    """A checkpoint that is damaged, or belongs to another run."""


class NonFiniteLossError(FaceError):
    """The loss became NaN or infinite; exit code 3, since the configuration may be right and the data not."""

    exit_code = 3
