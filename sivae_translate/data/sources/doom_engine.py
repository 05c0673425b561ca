"""Doom maps rendered by ViZDoom, with the class and distance of every pixel.

ViZDoom (PyPI, the extra ``doom``) includes the engine and Freedoom's maps and pictures, which are free, and
needs no display. It labels walls and the sky 0, floors and ceilings 1, and things with larger numbers. The
player looks straight ahead and the eye is between floor and ceiling, so floors are below the middle row and
ceilings above it; a "wall" beyond the range of the depth buffer is the sky.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from sivae_translate.data.sources.doom_views import CLASSES, GROUPS, Pose, Thing, View, group_of
from sivae_translate.utils.errors import DataError

VERSION = "1.3.2"
"""Required version of ViZDoom: another one may draw other pixels."""
SCREEN = "RES_800X600"
SIDE = 512
"""Side of the square in the middle of the screen that is kept, in pixels."""
FIELD_OF_VIEW = 105
"""Horizontal field of view of the screen in degrees; the square shows 80 degrees."""
UNITS_PER_STEP = 7.3
"""Map units per step of the depth buffer."""
NEAREST = 11.0
"""Distance at step 0, in map units."""
FARTHEST = 255
"""Step of the sky and of everything at 1,870 map units or more."""
RADIUS = 40.0
"""Free space around the player: twice what is needed to stand, so that no wall is too close."""
HEIGHT = 64.0
"""Minimum height of a room; the player is 56 high."""
SKILL = 4
"""Difficulty, of 5: many monsters."""
TICS = 8
"""Tics between two views, so that idle monsters move and lamps flicker."""
GAMMA = 0.8
"""Exponent that brightens frames: Doom is designed for dark rooms."""
EYES = 38.0
"""Minimum height of the eyes above the floor; it is 41 except for a moment after a fall."""


def import_vizdoom() -> ModuleType:
    """Import ViZDoom.

    Raises:
        DataError: it is not installed or has another version.
    """
    try:
        import vizdoom
    except (ImportError, SystemError) as error:  # SystemError: built for another Python
        raise DataError(
            f"doom needs vizdoom {VERSION}, which cannot be imported: {error}", remedy=_remedy()
        ) from error
    if (found := metadata.version("vizdoom")) != VERSION:
        raise DataError(f"doom needs vizdoom {VERSION}, not {found}: its pixels may differ", remedy=_remedy())
    module: ModuleType = vizdoom
    return module


def _remedy() -> str:
    python = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info >= (3, 14):
        return (
            f"vizdoom {VERSION} is for Python 3.11 to 3.13, and this is {python}: render the images with one "
            "of those (pip install 'sivae-translate[doom]') into the same data.cache, which any Python reads"
        )
    return "pip install 'sivae-translate[doom]'"


class DoomMap:
    """A map of Freedoom 2; see `doom_views.World`."""

    def __init__(self, game: Any, module: ModuleType) -> None:
        self._game = game
        # con_midtime 0: no message appears in the picture when a secret place is entered.
        for command in (f"fov {FIELD_OF_VIEW}", "con_midtime 0", "cl_showsecretmessage 0", "god", "notarget"):
            game.send_game_command(command)
        game.make_action([0.0], TICS)
        state = game.get_state()
        self.things = tuple(
            Thing(thing.name, group_of(thing.name, thing.category), thing.position_x, thing.position_y)
            for thing in state.objects
            if thing.category in GROUPS
        )
        self._places = np.array([(thing.x, thing.y) for thing in self.things]).reshape(-1, 2)
        self._rooms = _Rooms(state.sectors)
        self._angle = module.GameVariable.ANGLE
        self._heights = (module.GameVariable.CAMERA_POSITION_Z, module.GameVariable.POSITION_Z)

    def is_free(self, x: float, y: float) -> bool:
        """Whether the player can stand there with enough free space around."""
        near = np.hypot(self._places[:, 0] - x, self._places[:, 1] - y) < 2 * RADIUS
        return not near.any() and self._rooms.is_free(x, y)

    def is_seen(self, x: float, y: float, thing: Thing) -> bool:
        """Whether no wall is between a place and a thing; steps and low ceilings are ignored."""
        return self._rooms.is_open(np.array([x, y]), np.array([thing.x, thing.y]))

    def look(self, pose: Pose) -> View | None:
        """The view from there; None while the player gets up after a fall."""
        game = self._game
        game.send_game_command(f"warp {pose.x:.0f} {pose.y:.0f}")
        game.set_action([0.0])  # an action lasts until the next one
        game.advance_action(TICS, False)
        game.set_action([game.get_game_variable(self._angle) - pose.angle])
        game.advance_action(1, True)
        eyes, floor = (game.get_game_variable(variable) for variable in self._heights)
        return _view(game.get_state()) if eyes - floor >= EYES else None


@contextmanager
def open_map(name: str) -> Iterator[DoomMap]:
    """Open a map, such as map07, always at the same moment.

    Raises:
        DataError: ViZDoom is not installed or cannot run here.
    """
    module = import_vizdoom()
    try:
        # By default, the game reads and writes its settings in the current folder.
        with TemporaryDirectory() as folder, closing(_configure(module, name)) as game:
            game.set_doom_config_path(str(Path(folder, "settings.ini")))
            game.init()
            yield DoomMap(game, module)
    except module.ViZDoomErrorException as error:
        raise DataError(
            f"vizdoom cannot render {name}: {error}",
            remedy="check that /dev/shm is writable and that pip check finds no problem",
        ) from error
    finally:
        with suppress(OSError):  # the game leaves an empty folder; rmdir never removes one that has files
            Path("_vizdoom").rmdir()


def _configure(module: ModuleType, name: str) -> Any:
    """Configure a game, not yet started, that draws only the world."""
    game = module.DoomGame()
    game.set_doom_game_path(str(Path(module.__file__ or "").parent / "freedoom2.wad"))
    game.set_doom_map(name)
    game.set_seed(0)
    game.set_doom_skill(SKILL)
    game.set_mode(module.Mode.PLAYER)
    game.set_screen_resolution(getattr(module.ScreenResolution, SCREEN))
    game.set_screen_format(module.ScreenFormat.RGB24)
    for switch in ("window_visible", "sound_enabled", "console_enabled"):
        getattr(game, f"set_{switch}")(False)
    for drawn in ("hud", "weapon", "crosshair", "messages", "particles", "decals", "screen_flashes"):
        getattr(game, f"set_render_{drawn}")(False)
    for buffer in ("depth_buffer", "labels_buffer", "objects_info", "sectors_info"):
        getattr(game, f"set_{buffer}_enabled")(True)
    game.set_available_buttons([module.Button.TURN_LEFT_RIGHT_DELTA])
    game.set_episode_timeout(0)
    return game


def _view(state: Any) -> View:
    """Build a view from the game's buffers."""
    frame, labels, depth = (
        _middle(buffer) for buffer in (state.screen_buffer, state.labels_buffer, state.depth_buffer)
    )
    frame = np.round(255 * (np.arange(256) / 255) ** GAMMA).astype(np.uint8)[frame]
    classes, shares = _classes(labels, depth, state.labels)
    distance = NEAREST + UNITS_PER_STEP * depth.astype(np.float32)
    distance[classes == CLASSES.index("sky")] = np.inf
    return View(frame, classes, distance, shares)


def _middle(buffer: np.ndarray) -> np.ndarray:
    """Copy the square in the middle of the screen: the game reuses its buffers."""
    top, left = (buffer.shape[0] - SIDE) // 2, (buffer.shape[1] - SIDE) // 2
    return buffer[top : top + SIDE, left : left + SIDE].copy()


def _classes(labels: np.ndarray, depth: np.ndarray, things: Any) -> tuple[np.ndarray, dict[str, float]]:
    """The class of each pixel, and the largest share of the picture that one thing of each kind fills."""
    table = np.full(256, CLASSES.index("wall"), np.uint8)
    counts = np.bincount(labels.ravel(), minlength=256)
    shares: dict[str, float] = {}
    for thing in things:
        if thing.value > 1 and thing.object_category in GROUPS:
            table[thing.value] = CLASSES.index(group_of(thing.object_name, thing.object_category))
            share = float(counts[thing.value] / labels.size)
            shares[thing.object_name] = max(share, shares.get(thing.object_name, 0.0))
    classes = table[labels]
    flat, below = labels == 1, np.arange(len(labels))[:, None] >= len(labels) / 2
    classes[flat & below] = CLASSES.index("floor")
    classes[flat & ~below] = CLASSES.index("ceiling")
    classes[(labels == 0) & (depth == FARTHEST)] = CLASSES.index("sky")
    return classes, shares


class _Rooms:
    """The rooms of a map, given by their walls and steps.

    Attributes:
        lines: (L, 4) start and end of each line.
        room: (L,) the room that each line belongs to.
        blocks: (L,) whether the line cannot be crossed.
        heights: (R,) height of each room from floor to ceiling.
    """

    def __init__(self, sectors: Any) -> None:
        lines = [(line, room) for room, sector in enumerate(sectors) for line in sector.lines]
        self.lines = np.array([(line.x1, line.y1, line.x2, line.y2) for line, _ in lines], float).reshape(
            -1, 4
        )
        self.room = np.array([room for _, room in lines], int)
        self.blocks = np.array([line.is_blocking for line, _ in lines], bool)
        self.heights = np.array([sector.ceiling_height - sector.floor_height for sector in sectors], float)

    def is_free(self, x: float, y: float) -> bool:
        """Whether a place is inside a room that is high enough, and far enough from blocking lines."""
        if _distances(self.lines[self.blocks], x, y).min(initial=np.inf) < RADIUS:
            return False
        x1, y1, x2, y2 = self.lines.T
        crosses = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            to_the_right = crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        inside = np.bincount(self.room[to_the_right], minlength=len(self.heights)) % 2 == 1
        return bool(inside.any() and self.heights[inside].min() >= HEIGHT)

    def is_open(self, start: np.ndarray, end: np.ndarray) -> bool:
        """Whether the straight line between two places crosses no blocking line."""
        first, second = self.lines[self.blocks, :2], self.lines[self.blocks, 2:]
        sides = _side(first, second, start) != _side(first, second, end)
        return not bool((sides & (_side(start, end, first) != _side(start, end, second))).any())


def _side(first: np.ndarray, second: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Whether places are on the left of lines; all are (..., 2)."""
    along, to = second - first, place - first
    left: np.ndarray = along[..., 0] * to[..., 1] > along[..., 1] * to[..., 0]
    return left


def _distances(lines: np.ndarray, x: float, y: float) -> np.ndarray:
    """Distance from a place to each line: (L,)."""
    start, along = lines[:, :2], lines[:, 2:] - lines[:, :2]
    to = np.array([x, y]) - start
    share = np.clip((to * along).sum(1) / np.maximum((along**2).sum(1), 1e-9), 0, 1)
    gaps: np.ndarray = np.linalg.norm(to - share[:, None] * along, axis=1)
    return gaps
