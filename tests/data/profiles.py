"""Colour profiles for tests, made from what the ICC format says: no files of others."""

from __future__ import annotations

import struct


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space: bytes, kind: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + _fixed(0.9642, 1.0, 0.8249),
        **tags,
    }
    table, content, offset = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        padded = tag + bytes(-len(tag) % 4)
        table += name + struct.pack(">II", offset + len(content), len(tag))
        content += padded
    header = bytes(8) + b"\x02\x10\0\0" + kind + space + connection + bytes(12) + b"acsp" + bytes(28)
    header += _fixed(0.9642, 1.0, 0.8249) + bytes(48)
    whole = struct.pack(">I", 132 + len(table) + len(content)) + header[4:]
    return whole + struct.pack(">I", len(tags)) + table + content


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def _srgb_curve() -> bytes:
    levels = [index / 1023 for index in range(1024)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *(round(value * 65535) for value in linear))


def screen(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...]) -> bytes:
    """RGB with primaries in XYZ (D50) and the curve of sRGB."""
    points = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    tags = {name: b"XYZ " + bytes(4) + _fixed(*point) for name, point in points.items()}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _srgb_curve())
    return _profile(b"RGB ", b"mntr", {**tags, **curves})


DISPLAY_P3 = screen((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
SRGB = screen((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
LINEAR_GREY = _profile(b"GRAY", b"mntr", {b"kTRC": _gamma(1.0)})


def _ink(cyan: int, magenta: int, yellow: int, black: int) -> bytes:
    """Lab, 8 bits a number, of full inks on this press: its black is 0, its cyan is grey."""
    light = 0 if black else 255 - 100 * cyan - 50 * magenta - 25 * yellow
    return bytes([light, 128, 128])


def press() -> bytes:
    """CMYK by a table of the 16 full overprints."""
    overprints = b"".join(_ink(n >> 3 & 1, n >> 2 & 1, n >> 1 & 1, n & 1) for n in range(16))
    identity = _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity
    table += bytes(range(256)) * 4 + overprints + bytes(range(256)) * 3
    return _profile(b"CMYK", b"prtr", {b"A2B0": table}, b"Lab ")
