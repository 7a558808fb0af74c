"""How many rows of a table are worked on at once: what is computed of more is never stored."""

import torch

NUMBERS_ON_CPU = 2**20
"""4 MB, which a few arrays of leave in a core's cache."""

NUMBERS_ON_GPU = 2**22
"""16 MB: enough that a GPU does not wait for the next kernel; a few arrays of it stay well under 128 MB."""


def rows_at_once(numbers_per_row: int, dim: int, device: torch.device) -> int:
    """Rows whose numbers, computed against a whole batch, fit into the budget of a device.

    The same on every attempt of a run: it depends on the kind of device, not on how much of it is free.

    Args:
        numbers_per_row: computed with each row.
        dim: length of a row. At least a quarter as many rows are taken, however large the batch is: fewer would read
            all features again for too little work, and what they take is a fraction of what those take.
        device: of the rows.
    """
    numbers = NUMBERS_ON_CPU if device.type == "cpu" else NUMBERS_ON_GPU
    return max(1, dim // 4, numbers // numbers_per_row)
