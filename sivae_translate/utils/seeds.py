"""Seeds of random generators."""

from __future__ import annotations

from numbers import Integral

from sivae_translate.utils.errors import InputError

END = 2**63
"""Upper bound of seeds: PyTorch accepts no larger ones, and NumPy no negative ones."""


def check_seed(seed: int) -> int:
    """Check a seed and return it.

    Raises:
        InputError: it is not a whole number from 0 to `END` - 1.
    """
    if not isinstance(seed, Integral) or not 0 <= seed < END:
        raise InputError(f"the seed is {str(seed)[:40]}", remedy="give a whole number from 0 to 2^63 - 1")
    return int(seed)
