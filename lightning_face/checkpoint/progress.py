"""Lightning's own counters, rebuilt from the position of the run.

Lightning's saved loop state depends on the hook that saved it, on the accumulation and on whether validation was due,
and each combination has its own restart path. A checkpoint of ours is always taken between two optimizer steps, so the
counters follow from (epoch, step in the epoch) alone, and every restart takes one path: in the middle of an epoch with
nothing pending.
"""

from typing import Any

_EVENTS = ("ready", "started", "processed", "completed")


def rebuilt_fit_loop(
    saved: dict[str, Any], *, epoch: int, step_in_epoch: int, steps_per_epoch: int, accumulation: int
) -> dict[str, Any]:
    """A `fit_loop` state from which Lightning goes on with the given step.

    Args:
        saved: `checkpoint["loops"]["fit_loop"]`; the number of optimizer steps made is kept from it.
        epoch: to go on with.
        step_in_epoch: optimizer steps of it already trained.
        steps_per_epoch: optimizer steps of a whole epoch.
        accumulation: micro-batches per step of the run that goes on, which may differ from the one saved.

    Returns:
        A new state; `saved` is not changed.
    """
    micro_batches = step_in_epoch * accumulation
    # An epoch that was begun counts as ready and started; one that is yet to begin does not.
    begun = epoch + 1 if step_in_epoch else epoch
    epochs = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
    batches = dict.fromkeys(_EVENTS, micro_batches)
    # Validation every n batches, whatever the epoch, counts from the beginning of the run.
    all_batches = dict.fromkeys(_EVENTS, epoch * steps_per_epoch * accumulation + micro_batches)
    nothing = dict.fromkeys(_EVENTS, 0)
    rebuilt = {
        "epoch_progress": {"total": epochs, "current": dict(epochs)},
        "epoch_loop.batch_progress": {"total": all_batches, "current": batches, "is_last_batch": False},
        "epoch_loop.val_loop.batch_progress": {"total": nothing, "current": dict(nothing), "is_last_batch": False},
    }
    return {**saved, **rebuilt}
