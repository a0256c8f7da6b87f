"""What a study leaves besides its tables: its networks under names that people can type, and sheets of photographs."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prune.api.error_sheet import error_sheet
from prune.data.find_split import find_split
from prune.data.sampling import evenly_spread
from prune.data.split import Split
from prune.errors import UserError
from prune.files import atomic_path
from prune.hardware import choose_device
from prune.inference.predictor import Predictor
from prune.inference.torch import TorchPredictor
from prune.models.checkpoint import load_checkpoint
from prune.progress import say
from prune.report.figures import color_mask, save_image
from prune.report.paper import Picture, grid, names_of
from prune.studies.kinds import network_of
from prune.studies.plan import Plan
from prune.studies.run import STUDY
from prune.studies.trials import UNTUNED, Row
from prune.studies.work import read_json


@dataclass(frozen=True)
class Product:
    """A network of a study.

    Args:
        title: dense, or the criterion it was pruned by.
        tuned: Whether it is not what pruning left before any fine-tuning.
        file: Its checkpoint.
    """

    title: str
    tuned: bool
    file: Path

    @property
    def suffix(self) -> str:
        """What is appended to the name of the study: ``_dense``, ``_taylor`` or ``_taylor_finetuned``."""
        word = self.title.lower().replace(" ", "_")
        return f"_{word}{'_finetuned' if self.tuned and self.title != 'dense' else ''}"


def products_of(folder: str | Path) -> list[Product]:
    """The dense network of a study and those of its criteria: of the first network, level and seed, under default options.

    Those whose checkpoint is not kept are left out.

    Raises:
        UserError: when the folder holds no study.
    """
    place = Path(folder)
    facts = read_json(place / STUDY)
    if facts is None:
        raise UserError(f"{place}: expected the folder of a study, found no {STUDY}: run the study first")
    plan, rows = Plan(**facts["plan"]), [Row(**row) for row in facts["rows"]]
    wanted = {"dense", *plan.named_criteria()}
    level = next((row.level for row in rows if row.level), "")
    found = [
        Product(row.method, row.options != UNTUNED, network_of(place / "trials" / row.checkpoint))
        for row in rows
        if (row.network, row.seed, row.precision) == (rows[0].network, rows[0].seed, "fp32")
        and row.method in wanted
        and row.level in ("", level)
        and row.options in ("", UNTUNED)
    ]
    return [product for product in found if product.file.is_file()]


def copy_networks(products: Sequence[Product], name: str, folder: Path, *, force: bool = False) -> list[Path]:
    """Copy the networks of a study to ``folder`` as ``NAME_dense.pth``, ``NAME_taylor_finetuned.pth`` and so on.

    Args:
        products: See ``products_of``.
        name: What their names begin with.
        folder: Where they are put.
        force: Replace other networks of these names; without it they stay, and a note says so.

    Returns:
        The files that hold networks of the study now.
    """
    files = []
    for product in products:
        file, content = folder / f"{name}{product.suffix}.pth", product.file.read_bytes()
        if file.exists() and not force and file.read_bytes() != content:
            say("note", f"{file} holds another network and stays: add --force to replace it")
            continue
        with atomic_path(file) as temporary:
            shutil.copyfile(product.file, temporary)
        files.append(file)
    return files


def comparison_sheets(
    products: Sequence[Product], folder: str | Path, count: int, base: Path, palette: str = "standard"
) -> list[Path]:
    """Test photographs in rows; label, dense and every fine-tuned network in columns: as masks, and as errors of the crack.

    Args:
        products: See ``products_of``.
        folder: Of the study, which names the data.
        count: How many photographs.
        base: What the files are called: ``…_comparison.png`` and ``…_errors.png``, which show photographs.
        palette: One of ``prune.data.settings.PALETTES``.

    Raises:
        UserError: when the data cannot be read or the files not be written.
    """
    plan = Plan(**read_json(Path(folder) / STUDY)["plan"])  # type: ignore[index]
    device = choose_device("auto")
    networks: list[tuple[str, Predictor]] = [
        (product.title, TorchPredictor(load_checkpoint(product.file), device)) for product in products if product.tuned
    ]
    classes, reading = networks[0][1].classes, plan.reading
    split = find_split(
        Path(str(plan.data)), classes, dataset=reading.dataset, role="test", threshold=reading.mask_threshold
    )
    sheet = _mask_sheet(networks, split, count, palette)
    files = [save_image(sheet, base.with_name(f"{base.name}_comparison.png"))]
    if classes.index("crack") is not None:
        errors = error_sheet(networks, split, count, palette)
        files.append(save_image(errors, base.with_name(f"{base.name}_errors.png")))
    return files


def _mask_sheet(networks: Sequence[tuple[str, Predictor]], split: Split, count: int, palette: str) -> Picture:
    """Photograph, label and what every network finds, in the colors of the classes, with a legend."""
    pairs, classes = [split.pairs[i] for i in evenly_spread(len(split.pairs), count)], split.classes
    rows, found = [], set()
    for pair in pairs:
        image = split.read_image(pair)
        maps = [split.read_label(pair), *(one.class_map(image) for _, one in networks)]
        rows.append([image, *(color_mask(one, classes, palette) for one in maps)])
        found |= {int(index) for one in maps for index in np.unique(one)}
    legend = names_of(sorted(found), classes.recolored(palette, on_photograph=False))
    columns = ["photograph", "label", *(title for title, _ in networks)]
    return grid(rows, columns, [pair.stem for pair in pairs], [legend])
