"""``prune.synthesize``: photographs of damaged concrete or asphalt with labels, drawn from a seed."""

from pathlib import Path

from prune import synthetic
from prune.synthetic import Summary


def synthesize(
    folder: str | Path,
    *,
    images: int = 60,
    size: int = 192,
    seed: int = 0,
    surface: str = "concrete",
    force: bool = False,
) -> Summary:
    """Draw photographs of damage with labels, on concrete those of all seven classes of S2DS, split into train, val and test.

    Args:
        folder: Where to write ``{train,val,test}/{Images,Labels_grayscale,Labels_RGB}/NNN.png``.
        images: Number over all splits, at least 3.
        size: Side of the square images in px, at least 64.
        seed: The same seed gives the same bytes.
        surface: ``concrete``, ``asphalt`` (cracks and vegetation only, between worn paint, oil, seams and twigs), or
            ``mixed``.
        force: Replace the files of an earlier set.

    Returns:
        Folder, images per split and pixels per class.

    Raises:
        TypeError: for a folder that is no path, and a number that is no whole one.
        UserError: for too few or too small images, a negative seed, another surface, or a folder that already holds files.
    """
    if not isinstance(folder, (str, Path)):
        raise TypeError(f"folder: expected a path, found {type(folder).__name__}")
    for name, value in {"images": images, "size": size, "seed": seed}.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"synthesize(): {name}: expected int, found {value!r} ({type(value).__name__})")
    return synthetic.synthesize(Path(folder), images, size, seed, surface=surface, force=force)
