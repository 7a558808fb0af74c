"""What happens to a run, drawn from a seed."""

import json
import random
import signal
from dataclasses import asdict, dataclass

from lightning_face.errors import PreemptedError, WorkerEndedError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

KINDS = {
    "rank killed": ("step", "save", "validation"),
    "rank signalled": ("step", "save", "validation"),
    "data worker killed": ("step",),
    "job killed": ("start", "step", "save", "validation"),
    "job signalled": ("start", "step", "save", "validation"),
    "disk full": ("step",),
    "checkpoint damaged": ("step",),
}
"""Each kind of event, and the moments at which it can happen."""

ENDS = {
    "rank killed": {1, -signal.SIGKILL},
    "rank signalled": {PreemptedError.exit_code},
    "data worker killed": {WorkerEndedError.exit_code},
    "job killed": {-signal.SIGKILL},
    "job signalled": {PreemptedError.exit_code},
    "disk full": {PreemptedError.exit_code},
    "checkpoint damaged": {-signal.SIGKILL},
}
"""Exit codes that docs/reliability.md promises; at its start, a signal may also find no program yet to note it."""

LEFT_ALONE = -1
"""In place of the number of an event, for an attempt that none strikes."""

EVERY_N_STEPS = 5
"""Optimizer steps between checkpoints."""

DISK_FULL_STEPS = 8
"""How long no checkpoint can be written: at least one is due."""


@dataclass(frozen=True)
class Event:
    """One blow to one attempt.

    Args:
        number: of the attempt.
        kind: of `KINDS`.
        moment: the first step, save or validation of the attempt from `step` on, or its start.
        step: optimizer steps of this attempt before it.
        rank: that is struck, or strikes the job.
        number_of_signal: sent; a kill's is SIGKILL.
        delay_s: after the moment; from the start of the process where that is the moment, but at most until it trains.
    """

    number: int
    kind: str
    moment: str
    step: int
    rank: int
    number_of_signal: int
    delay_s: float

    def dump(self) -> str:
        """As text, for an environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "Event":
        """See `dump`."""
        return cls(**json.loads(text))


def draw(seed: int, number: int, *, num_ranks: int, most_steps: int) -> Event:
    """The event of an attempt; kinds take turns in an order of the seed's, the rest is drawn.

    Args:
        seed: of all events.
        number: of the attempt.
        num_ranks: of the attempt.
        most_steps: of the attempt before the event.
    """
    dice = random.Random(f"{seed} {number}")
    kind = random.Random(seed).sample(list(KINDS), len(KINDS))[number % len(KINDS)]
    moment = dice.choice(KINDS[kind])
    # A data worker is killed at once: nobody misses one of a validation that is about to end.
    longest_s = 15.0 if moment == "start" else 0.0 if kind == "data worker killed" else 0.1
    return Event(
        number=number,
        kind=kind,
        moment=moment,
        step=dice.randint(1, most_steps),
        rank=dice.randrange(num_ranks),
        number_of_signal=dice.choice(SIGNALS) if kind.endswith("signalled") else signal.SIGKILL,
        delay_s=dice.uniform(0.0, longest_s),
    )
