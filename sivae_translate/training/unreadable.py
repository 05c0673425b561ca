"""Images that a training cannot read: each is reported once, and too many of them end the training."""

from __future__ import annotations

from collections.abc import Iterable

from sivae_translate.data.domains import check_unreadable
from sivae_translate.training.distributed import World


class Unreadable:
    """Records images that cannot be read.

    Args:
        most: largest number of unreadable images before training stops.
        world: its writing process prints each problem.
    """

    def __init__(self, most: int, world: World) -> None:
        self.most, self.world = most, world
        self.problems: list[str] = []

    def __call__(self, problems: Iterable[str]) -> None:
        """Record problems.

        Raises:
            DataError: there are more than `most`.
        """
        for problem in problems:
            if problem not in self.problems:
                self.problems.append(problem)
                self.world.say(f"skipped {problem}", style="yellow")
        check_unreadable(self.problems, self.most)
