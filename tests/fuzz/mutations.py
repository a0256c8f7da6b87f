"""Damage done to files: each case is a function of its number, so that a failure can be made again."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

LONG = 64
"""Most bytes that are changed at once."""
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (b"0", b"-1", b"1e309", b"NaN", b"999999999999999999999", b"0.5", b"null", b'""', b"[]", b"{}", b"true")
"""What stands in place of a number of a text file."""
VALUES = (
    None,
    True,
    0,
    -1,
    3,
    10**30,
    1.5,
    float("inf"),
    "",
    "text",
    "../../a",
    "\x1b[2J",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
)
"""What stands in place of a value of a JSON text."""


def _bits(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(content))
        content[place] ^= 1 << rng.randrange(8)
    return content


def _bytes(content: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(len(content))
    for offset in range(min(rng.randint(1, 8), len(content) - place)):
        content[place + offset] = rng.choice((*INTERESTING, rng.randrange(256)))
    return content


def _cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(len(content))]


def _drop(content: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(len(content))
    del content[place : place + rng.randint(1, LONG)]
    return content


def _repeat(content: bytearray, rng: random.Random) -> bytearray:
    place = rng.randrange(len(content))
    part = content[place : place + rng.randint(1, LONG)]
    return content[:place] + part * rng.choice((2, 3, 50)) + content[place:]


def _move(content: bytearray, rng: random.Random) -> bytearray:
    source, place = rng.randrange(len(content)), rng.randrange(len(content))
    part = content[source : source + rng.randint(1, LONG)]
    content[place : place + len(part)] = part
    return content


def _number(content: bytearray, rng: random.Random) -> bytearray:
    """Another value in place of a number or a word of a text; of a binary file, bytes."""
    found = list(re.finditer(rb"-?\d+\.?\d*|\"[^\"\n]{0,40}\"|\b(?:true|false|null)\b", bytes(content[:200_000])))
    if not found:
        return _bytes(content, rng)
    start, end = rng.choice(found).span()
    content[start:end] = rng.choice(NUMBERS)
    return content


def _value(content: bytearray, rng: random.Random) -> bytearray:
    """Another value, or none, at any place of a JSON text; of other content, bytes."""
    try:
        parsed = json.loads(bytes(content)) if content[:1] in (b"{", b"[") else None
    except (ValueError, RecursionError):
        parsed = None
    places: list[tuple[Any, Any]] = []
    stack = [parsed]
    while stack:
        inside = stack.pop()
        keys = list(inside) if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        places += [(inside, key) for key in keys]
        stack += [inside[key] for key in keys]
    if not places:
        return _bytes(content, rng)
    inside, key = rng.choice(places)
    if rng.random() < 0.2:
        del inside[key]
    else:
        inside[key] = rng.choice(VALUES)
    return bytearray(json.dumps(parsed).encode())


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    _bits,
    _bytes,
    _cut,
    _drop,
    _repeat,
    _move,
    _number,
    _value,
)


def mutated(content: bytes, number: int) -> bytes:
    """Content with the damage of a case: one to three mutations, never the whole as it was."""
    rng = random.Random(number)
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        result = rng.choice(MUTATIONS)(result, rng) if result else result
    return bytes(result) if result != content else bytes(result[:-1])
