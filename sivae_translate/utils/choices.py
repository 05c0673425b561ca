"""Names that a user chooses among, in one place that imports nothing, so that the command line can list them
at once.
"""

from typing import Literal

ObjectiveName = Literal["elbo", "introvae", "soft_introvae", "bootstrap"]
"""Members of the introspective family."""

PlaneName = Literal["8gaussians", "spiral", "checkerboard", "rings"]
"""Data sets of the 2D laboratory."""

Precision = Literal["auto", "float32", "bfloat16"]
"""Of matrix products; auto is bfloat16 where that is fast."""

Check = Literal["off", "warn", "raise"]
"""What to do where an input is unlike the training data."""
