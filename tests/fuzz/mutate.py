"""Damage that repeats: every function draws from the generator that it is given."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path
from typing import Any

BIG = (-1, 0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**63 - 1, 10**9)
ODD: tuple[Any, ...] = (
    *BIG,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 100_000,
    "\x00",
    None,
    True,
    [],
    [[]],
    {},
    {"a": 1},
)


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """One to four of: bits flipped, cut short, a piece doubled, a piece lost, a length made absurd, noise."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        width = rng.choice((1, 4, 16, 256))
        match rng.randrange(6):
            case 0 if data:
                data[place % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = data[place : place + width] * rng.choice((1, 2, 50))
            case 3:
                del data[place : place + width]
            case 4:
                number = rng.choice(BIG) & 0xFFFFFFFF
                data[place : place + 4] = struct.pack(rng.choice("<>") + "I", number)
            case _:
                data[place : place + width] = rng.randbytes(width)
    return bytes(data)


def mutate_values(values: Any, rng: random.Random) -> Any:
    """JSON with one value, somewhere, that is odd, lost, or under a name that nobody knows."""
    values = json.loads(json.dumps(values))
    part = values
    while isinstance(part, dict | list) and part:
        key = rng.choice(list(part)) if isinstance(part, dict) else rng.randrange(len(part))
        if isinstance(part[key], dict | list) and part[key] and rng.random() < 0.9:
            part = part[key]
            continue
        if isinstance(part, dict) and rng.random() < 0.15:
            part[rng.choice(("unknown", "", "ä" * 50))] = part.pop(key)
        elif rng.random() < 0.1:
            del part[key]
        else:
            part[key] = rng.choice(ODD)
        break
    return values


def mutate_model(raw: bytes, rng: random.Random) -> bytes:
    """A .safetensors file: its bytes, its header, what it says about itself, its numbers."""
    kind = rng.randrange(5)
    if kind == 0:
        return mutate(raw, rng)
    (length,) = struct.unpack("<Q", raw[:8])
    header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    if kind == 1:
        header = mutate_values(header, rng)
    elif kind == 2:
        about = json.loads(header["__metadata__"]["about"])
        header["__metadata__"]["about"] = json.dumps(mutate_values(about, rng))
    elif kind == 3:
        place = rng.randrange(0, len(body) - 4, 4)
        number = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38, -1e38)))
        body = body[:place] + number + body[place + 4 :]
    text = json.dumps(header).encode()
    claimed = rng.choice((0, length + 1, 2**40, 2**64 - 1)) if kind == 4 else len(text)
    return struct.pack("<Q", claimed) + text + body


def damage_folder(folder: Path, rng: random.Random) -> str:
    """Do one thing to one file of a folder; what and where."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = rng.choice(files)
    action = rng.choice(("cut", "flip", "delete", "swap", "folder", "fifo", "loop", "nothing", "empty"))
    if action == "cut":
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size + 1)])
    elif action == "flip":
        path.write_bytes(mutate(path.read_bytes(), rng))
    elif action == "empty":
        path.write_bytes(b"")
    elif action == "swap":
        path.write_bytes(rng.choice(files).read_bytes())
    elif action in {"delete", "folder", "fifo", "loop"}:
        path.unlink()
        if action == "folder":
            path.mkdir()
        elif action == "fifo":
            os.mkfifo(path)
        elif action == "loop":
            path.symlink_to(path)
    return f"{action} {path.relative_to(folder)}"
