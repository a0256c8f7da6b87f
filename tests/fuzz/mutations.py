"""Damage done to files: each case is a function of its number, so that a failure can be made again."""

import random
import re
from collections.abc import Callable

LONG = 64
"""Most bytes that are changed at once."""
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (b"0", b"-1", b"1e309", b"NaN", b"999999999999999999999", b"0.5", b"null", b'""', b"[]", b"{}", b"true")
"""What stands in place of a number of a text file."""


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


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    _bits,
    _bytes,
    _cut,
    _drop,
    _repeat,
    _move,
    _number,
)


def mutated(content: bytes, number: int) -> bytes:
    """Content with the damage of a case: one to three mutations, never the whole as it was."""
    rng = random.Random(number)
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        result = rng.choice(MUTATIONS)(result, rng) if result else result
    return bytes(result) if result != content else bytes(result[:-1])
