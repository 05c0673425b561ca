"""Choosing interesting views of a Doom map, independently of the game engine.

A view shows a thing (a monster, an item, a tree) from a free place at some distance. It is kept if the thing
is visible, if no wall or thing fills the picture, if it is neither nearly black nor nearly uniform, and if it
is not too similar to a view that was kept before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

PALETTE: dict[str, tuple[int, int, int]] = {
    "ceiling": (92, 84, 120),
    "floor": (156, 132, 104),
    "wall": (64, 72, 84),
    "sky": (144, 200, 240),
    "monster": (224, 48, 48),
    "weapon": (255, 160, 32),
    "supply": (248, 224, 64),
    "barrel": (200, 72, 208),
    "light": (255, 248, 216),
    "plant": (56, 160, 72),
    "decoration": (0, 168, 168),
    "remains": (136, 24, 72),
}
"""Colours (red, green, blue) of the classes of label maps; a class's index is its position here."""
CLASSES = tuple(PALETTE)
FIRST_THING = CLASSES.index("monster")
"""Index of the first class of things; earlier classes belong to the map."""

GROUPS: dict[str, str] = {
    "Monster": "monster",
    "Weapon": "weapon",
    "Ammo": "supply",
    "Health": "supply",
    "Armor": "supply",
    "Powerup": "supply",
    "Key": "supply",
    "Hazard": "barrel",
    "LightSource": "light",
    "Vegetation": "plant",
    "Decoration": "decoration",
    "Gore": "remains",
    "Gibs": "remains",
}
"""ViZDoom's categories of things, and their classes."""


TREES = frozenset({"Stalagtite"})
"""Kinds that are plants regardless of their category: Freedoom draws them as trees."""
BARELY_VISIBLE = "Spectre"
"""A nearly invisible monster: frames do not show it, but label maps would."""


def group_of(kind: str, category: str) -> str:
    """The class of a thing, from its name and ViZDoom's category."""
    return "plant" if kind in TREES else GROUPS[category]


FAR = 1870.0
"""The range of the game's depth buffer in map units."""


@dataclass(frozen=True)
class Rules:
    """Which views are worth keeping. Lengths are in map units; a monster is 40 to 60 wide and 56 high.

    Attributes:
        distance: minimum and maximum distance to the viewed thing.
        turn: how far to look past it, in degrees to either side.
        monsters: fraction of views that show a monster.
        thing: minimum and maximum share of the picture that the viewed thing fills.
        close: anything nearer than this counts as close.
        close_share: maximum share of the picture that is close.
        deep: minimum 90th percentile of the distance.
        open_share: maximum share of one class of the map, such as wall.
        brightness: minimum mean of the frame, of 255.
        contrast: minimum standard deviation of the frame, of 255.
        apart: views from places closer together than this must differ in direction by ``apart_degrees``.
        apart_degrees: see ``apart``.
        tries: number of places to try for each view.
    """

    distance: tuple[float, float] = (80.0, 420.0)
    turn: float = 24.0
    monsters: float = 0.55
    thing: tuple[float, float] = (0.006, 0.3)
    close: float = 64.0
    close_share: float = 0.25
    deep: float = 256.0
    open_share: float = 0.7
    brightness: float = 34.0
    contrast: float = 18.0
    apart: float = 64.0
    apart_degrees: float = 40.0
    tries: int = 150


RULES = Rules()


@dataclass(frozen=True)
class Thing:
    """An object of a map at (x, y); ``kind`` is its name in the game."""

    kind: str
    group: str
    x: float
    y: float


@dataclass(frozen=True)
class Pose:
    """A place and a direction in degrees: 0 is east, 90 is north."""

    x: float
    y: float
    angle: float


@dataclass(frozen=True)
class View:
    """A view of a map: all arrays show the same moment.

    Attributes:
        frame: uint8 (H, W, 3).
        classes: uint8 (H, W), indices into `CLASSES`.
        distance: float32 (H, W), horizontal distance in map units; infinite for the sky.
        shares: for each kind of thing, the largest share of the picture that one of them fills.
    """

    frame: np.ndarray
    classes: np.ndarray
    distance: np.ndarray
    shares: Mapping[str, float]


class World(Protocol):
    """A map that can be viewed."""

    @property
    def things(self) -> Sequence[Thing]:
        """The things in the map."""

    def is_free(self, x: float, y: float) -> bool:
        """Whether the player can stand there."""

    def is_seen(self, x: float, y: float, thing: Thing) -> bool:
        """Whether no wall hides the thing from there."""

    def look(self, pose: Pose) -> View | None:
        """The view from there; None if the game shows no level view."""


def choose_views(world: World, count: int, rng: np.random.Generator, rules: Rules = RULES) -> list[View]:
    """Choose up to ``count`` views that are worth keeping; fewer if the map does not have as many.

    Args:
        world: the map.
        count: number of views.
        rng: generator of places and directions.
        rules: which views are worth keeping.
    """
    kept: list[tuple[Pose, View]] = []
    for pose, thing in _poses(world, count * rules.tries, rng, rules):
        if len(kept) == count:
            break
        if not _is_new(pose, [other for other, _ in kept], rules):
            continue
        view = world.look(pose)
        if view is not None and is_worth_keeping(view, thing.kind, rules):
            kept.append((pose, view))
    return [view for _, view in kept]


def _poses(world: World, tries: int, rng: np.random.Generator, rules: Rules) -> Iterator[tuple[Pose, Thing]]:
    """Draw free places, each with a thing to look at."""
    by_kind = _by_kind(world.things)
    if not by_kind:
        return
    for _ in range(tries):
        thing = _draw_thing(by_kind, rng, rules)
        near, far = rules.distance
        away, towards = near * (far / near) ** rng.random(), rng.uniform(0, 360)
        x, y = (round(v) for v in _step(thing.x, thing.y, towards + 180, away))
        pose = Pose(x, y, (towards + rng.uniform(-rules.turn, rules.turn)) % 360)
        if world.is_free(x, y) and world.is_seen(x, y, thing):
            yield pose, thing


def _by_kind(things: Sequence[Thing]) -> dict[bool, list[list[Thing]]]:
    """Things grouped into monsters (True) and others (False), then by kind; empty groups are absent."""
    kinds: dict[bool, dict[str, list[Thing]]] = {True: {}, False: {}}
    for thing in things:
        kinds[thing.group == "monster"].setdefault(thing.kind, []).append(thing)
    return {is_monster: list(lists.values()) for is_monster, lists in kinds.items() if lists}


def _draw_thing(by_kind: dict[bool, list[list[Thing]]], rng: np.random.Generator, rules: Rules) -> Thing:
    """Draw a thing, each kind with equal probability: maps have many more shells than trees."""
    of_monsters = rng.random() < rules.monsters
    kinds = by_kind.get(of_monsters) or by_kind[not of_monsters]
    same = kinds[rng.integers(len(kinds))]
    return same[rng.integers(len(same))]


def _step(x: float, y: float, angle: float, length: float) -> tuple[float, float]:
    """The place at this distance and direction."""
    return x + length * np.cos(np.radians(angle)), y + length * np.sin(np.radians(angle))


def _is_new(pose: Pose, others: Sequence[Pose], rules: Rules) -> bool:
    x, y, angle = np.array([(other.x, other.y, other.angle) for other in others]).reshape(-1, 3).T
    near = np.hypot(pose.x - x, pose.y - y) < rules.apart
    return not (near & (np.abs((pose.angle - angle + 180) % 360 - 180) < rules.apart_degrees)).any()


def is_worth_keeping(view: View, kind: str, rules: Rules = RULES) -> bool:
    """Whether a view of a thing of this kind is worth keeping.

    Args:
        view: the view.
        kind: kind of the thing that it is meant to show.
        rules: which views are worth keeping.
    """
    least, largest = rules.thing
    if view.shares.get(BARELY_VISIBLE, 0.0) > 0 or view.shares.get(kind, 0.0) < least:
        return False
    if max(view.shares.values()) > largest:
        return False
    if np.mean(view.distance < rules.close) > rules.close_share:
        return False
    if np.quantile(np.minimum(view.distance, FAR), 0.9) < rules.deep:
        return False
    shares = np.bincount(view.classes.ravel(), minlength=len(CLASSES)) / view.classes.size
    if shares[:FIRST_THING].max() > rules.open_share:
        return False
    return bool(view.frame.mean() >= rules.brightness and view.frame.std() >= rules.contrast)
