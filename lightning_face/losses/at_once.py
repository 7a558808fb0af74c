"""How many rows of a table are worked on at once: what is computed of more is never stored."""

import torch

NUMBERS_ON_CPU = 2**20
"""4 MB, which a few arrays of leave in a core's cache."""

NUMBERS_ON_GPU = 2**22
"""16 MB: enough that a GPU does not wait for the next kernel; a few arrays of it stay well under 128 MB."""


def rows_at_once(num_others: int, dim: int, device: torch.device) -> int:
    """Rows that fit into the budget of a device, each with a number for each of some others.

    The same in every attempt of a run: it depends on the kind of device, not on how much of it is free.

    Args:
        num_others: samples or classes that each row meets.
        dim: length of a row. There are at least a quarter as many rows, whatever the budget: fewer would read all of
            very many others again for little work, and theirs take a fraction of what those take.
        device: of the rows.
    """
    numbers = NUMBERS_ON_CPU if device.type == "cpu" else NUMBERS_ON_GPU
    return max(1, dim // 4, numbers // max(num_others, dim))
