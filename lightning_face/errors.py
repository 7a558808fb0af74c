"""Errors that a user can mend: each is one line that names what, where, the rule and the fix."""


class FaceError(Exception):
    """A mistake in what the program was given; printed as one line, without a traceback, exit code 2."""

    exit_code = 2


class ConfigError(FaceError):
    """An option, or a combination of options, that cannot work."""


class DataError(FaceError):
    """A shard, manifest, index, pairs file or image folder that is not what it should be."""


class CheckpointError(FaceError):
    """A checkpoint that is damaged, or belongs to another run."""


class NonFiniteLossError(FaceError):
    """The loss became NaN or infinite; exit code 3, since the configuration may be right and the data not."""

    exit_code = 3
