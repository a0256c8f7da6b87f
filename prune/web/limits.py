"""What an upload may be: checked by its header before anything is decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.data.images import read_image
from prune.errors import UserError, first_line

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
"""Of Pillow's formats those of photographs; others start programs (EPS) or are rarely tested against hostile files."""
MAX_MEGAPIXELS = 50
TURNED = 0x0112
"""The EXIF tag of the rotation."""


@dataclass(frozen=True)
class Upload:
    """A photograph that was accepted.

    Args:
        image: uint8 (H, W, 3), RGB, upright.
        notes: What was done to read it, as sentences.
    """

    image: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def read_upload(file: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Upload:
    """Read an upload.

    Raises:
        UserError: for what is no image of ``FORMATS``, is damaged, or has more than ``max_megapixels``; the message names
            no path of the server.
    """
    try:
        with Image.open(file, formats=FORMATS) as header:
            megapixels = header.width * header.height / 1e6
            if megapixels > max_megapixels:
                raise UserError(f"expected a photograph of at most {max_megapixels:g} MP, found {megapixels:.0f} MP")
            notes = tuple(_notes(header))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError("expected a photograph (PNG, JPEG, TIFF, BMP, WebP or GIF), found another file") from error
    try:
        return Upload(read_image(file), notes)
    except UserError as error:
        cause = first_line(error.__cause__) if error.__cause__ else "a kind of pixels that is not supported"
        raise UserError(f"expected a readable photograph, found: {cause.replace(str(file), 'the file')}") from error


def _notes(header: Image.Image) -> list[str]:
    """What a visitor should know about how a file is read."""
    frames = getattr(header, "n_frames", 1)
    notes = [f"only the first of {frames} pictures is used"] if frames > 1 and header.format != "MPO" else []
    notes += ["16 bits per pixel were reduced to 8"] if header.mode.startswith("I") else []
    notes += ["CMYK colors were converted to RGB"] if header.mode == "CMYK" else []
    turned = header.format in ("JPEG", "TIFF", "WEBP") and header.getexif().get(TURNED, 1) != 1
    return notes + (["the photograph was turned upright as its EXIF data say"] if turned else [])
