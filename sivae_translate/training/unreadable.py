"""Images that cannot be read during a training: each is named once, and too many end the training."""

from __future__ import annotations

from collections.abc import Iterable

from sivae_translate.data.domains import check_unreadable
from sivae_translate.training.distributed import World


class Unreadable:
    """Keeps the problems of images that cannot be read.

    Args:
        most: number of images that may be unreadable.
        world: the process that writes prints each problem.
    """

    def __init__(self, most: int, world: World) -> None:
        self.most, self.world = most, world
        self.problems: list[str] = []

    def __call__(self, problems: Iterable[str]) -> None:
        """Take note of problems.

        Raises:
            DataError: there are too many.
        """
        for problem in problems:
            if problem not in self.problems:
                self.problems.append(problem)
                self.world.say(f"skipped {problem}", style="yellow")
        check_unreadable(self.problems, self.most)
