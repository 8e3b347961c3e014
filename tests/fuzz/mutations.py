"""Ways in which a CSV export is spoilt: by people, programs, cables and disks."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]

WORDS = (
    b"", b" ", b"NA", b"?", b"abc", b"-1", b"1e308", b"1e999", b"nan", b"inf", b"1,5", b"1.5",
    b"0x10", b"99999999999999999999", b"2024-13-45", b"'", b"=1+1", b"\xe9", b"\xff\xfe",
    b"\xf0\x9f\x98\x80",
    b"\x00", b"\x1a", b"\\N", b"\\", b"NULL", b"<script>", b"DROP TABLE x;", b"x" * 5000,
)  # fmt: skip


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randrange(len(data) + 1)


def flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]


def insert(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.choice(WORDS) + data[place:]


def quote(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + b'"' * rng.choice([1, 1, 2, 3]) + data[place:]


def delete(data: bytes, rng: random.Random) -> bytes:
    begin = _place(data, rng)
    return data[:begin] + data[begin + rng.randrange(1, 30) :]


def cut_off(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")


def repeat_line(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return b"\n".join(lines)


def drop_line(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def blank_line(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice([b"", b" ", b"\t", b",,,,", b"\r"]))
    return b"\n".join(lines)


def line_ends(data: bytes, rng: random.Random) -> bytes:
    end = rng.choice([b"\r", b"\r\n", b"\n\r", b"\n\n"])
    if rng.random() < 0.5:
        return data.replace(b"\r\n", b"\n").replace(b"\n", end)
    return data.replace(b"\n", end, rng.randrange(1, 4))


def delimiters(data: bytes, rng: random.Random) -> bytes:
    new = rng.choice([b";", b"\t", b"|", b",,", b""])
    if rng.random() < 0.3:
        return data.replace(b",", new)
    places = [place for place, one in enumerate(data) if one == ord(",")]
    if not places:
        return data
    place = rng.choice(places)
    return data[:place] + new + data[place + 1 :]


def field(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    number = rng.randrange(len(lines))
    fields = lines[number].split(b",")
    fields[rng.randrange(len(fields))] = rng.choice(WORDS)
    lines[number] = b",".join(fields)
    return b"\n".join(lines)


def ragged(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    number = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines[number] += b"," * rng.randrange(1, 4)
    else:
        lines[number] = lines[number].rpartition(b",")[0]
    return b"\n".join(lines)


def header(data: bytes, rng: random.Random) -> bytes:
    first, end, rest = data.partition(b"\n")
    names = first.split(b",")
    choice = rng.randrange(5)
    if choice == 0:
        names[rng.randrange(len(names))] = rng.choice(names)
    elif choice == 1:
        rng.shuffle(names)
    elif choice == 2:
        names = [name.upper() for name in names]
    elif choice == 3:
        names[rng.randrange(len(names))] = b""
    else:
        names = [b" " + name + b" " for name in names]
    return b",".join(names) + end + rest


def encoding(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    name = rng.choice(["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32"])
    return text.encode(name, "replace")


MUTATIONS: tuple[Mutation, ...] = (
    flip, insert, quote, delete, cut_off, repeat_line, drop_line, blank_line, line_ends, delimiters,
    field, ragged, header, encoding,
)  # fmt: skip


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to four things done to it."""
    for _time in range(rng.choice([1, 1, 2, 3, 4])):
        data = rng.choice(MUTATIONS)(data, rng)
    return data
