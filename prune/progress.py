"""A progress bar where tqdm is installed; an edge box does without."""

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], label: str, unit: str = "image", total: int | None = None) -> Iterable[Item]:
    """Pass items on, showing how far they are; ``total`` = how many there are, where ``items`` cannot say."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, desc=label, unit=unit, total=total, leave=False)
