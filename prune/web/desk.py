"""What the page does when a visitor does something; values of the page in, values of the page out, no Gradio."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.api.crack_table import CrackTable
from prune.api.measures import checked_scale
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.report.figures import save_image, save_mask
from prune.report.paper import Entry
from prune.web import pictures
from prune.web.evidence import Evidence
from prune.web.limits import read_upload
from prune.web.networks import Loaded, Networks
from prune.web.scale import scale_of
from prune.web.session import Sessions, Visit
from prune.web.survey import Surveys

SHOWN = {
    "number": "crack",
    "length": "length {}",
    "width_mean": "mean width {}",
    "width_max": "largest width {}",
    "orientation_deg": "direction °",
    "branches": "branches",
}
"""Columns of the table on the page."""
HEADERS = [head.format("px") for head in SHOWN.values()]
"""Of a table without a scale."""
NO_CRACKS = "This network has no class called crack: areas are drawn, no cracks are measured"
SCALED = ("length", "width_mean", "width_max")
"""Of these, those in px or mm."""


@dataclass(frozen=True)
class Look:
    """The settings of the page, which act without running the network again.

    Args:
        threshold: Share (0…1) a class must have of itself and the background together.
        classes: Names of the classes to be shown.
        opacity: Of the colors, 0…1.
        palette: One of ``prune.data.settings.PALETTES``.
        mm: Side of a pixel on the surface in mm, None = unknown.
    """

    threshold: float = 0.5
    classes: Sequence[str] | None = None
    opacity: float = 0.5
    palette: str = "standard"
    mm: float | None = None

    @property
    def style(self) -> pictures.Style:
        """How classes are drawn."""
        return pictures.Style(self.opacity, self.palette)


class Desk:
    """The visits and the networks of one page.

    Args:
        work: Holds ``results``; corrections are saved there.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.networks, self.sessions = work, Networks(work), Sessions()
        self.surveys = Surveys(self.networks)

    def scaled_by_clicks(self, token: str) -> bool:
        """Whether the scale of a photograph came from clicks on it, and so belongs to no other."""
        try:
            return len(self.sessions.get(token).clicks) == 2
        except UserError:
            return False

    def take(self, file: str | None, token: str) -> tuple[str, str]:
        """Keep an uploaded photograph in place of the one before; its token and what there is to say about it.

        Raises:
            UserError: for what cannot be read; the photograph before is forgotten all the same.
        """
        self.sessions.forget(token)
        if not file:
            return "", ""
        upload, name = read_upload(Path(file)), re.sub(r"[^\w-]+", "_", Path(file).stem)[:60] or "photograph"
        return self.sessions.start(upload, name), ". ".join(note[0].upper() + note[1:] for note in upload.notes)

    def preview(self, token: str) -> str:
        """The photograph with the points of its scale."""
        visit = self.sessions.get(token)
        by = pictures.factor(visit.image.shape)
        points = [(x / by, y / by) for x, y in visit.clicks]
        shown = pictures.reduced(visit.image, by)
        return pictures.written(pictures.marked(shown, points) if points else shown, visit.folder, "photograph")

    def evidence(self, visit: Visit, network: Loaded) -> Evidence:
        """What a network finds on the photograph of a visit; it runs unless it did before."""
        found = visit.seen.get(network.name)
        if found is None:
            found = self.networks.see(network, visit.image)
        visit.keep(network.name, found)
        return found

    def class_map(self, visit: Visit, network: Loaded, look: Look) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W) as the settings say; networks that give class ids have no threshold."""
        classes = network.predictor.classes
        names = classes.classes[1:] if look.classes is None else look.classes
        shown = [number for name in names if (number := classes.index(name))]
        return self.evidence(visit, network).class_map(look.threshold if network.has_logits else 0.5, shown)

    def draw(self, token: str, name: str | None, look: Look) -> tuple[str, str, tuple[str, str]]:
        """The overlay, its legend as HTML, and the pair photograph, overlay for the slider."""
        visit, network = self.sessions.get(token), self.networks.open(name)
        class_map, classes = self.class_map(visit, network, look), network.predictor.classes
        drawn = pictures.shown_overlay(visit.image, class_map, classes, look.style)
        plain, result = visit.folder / "plain.jpg", pictures.written(drawn, visit.folder, "result")
        if not plain.exists():
            save_image(pictures.reduced(visit.image, pictures.factor(visit.image.shape)), plain)
        return result, legend_html(pictures.legend_entries(class_map, classes, look.palette)), (str(plain), result)

    def measure(self, token: str, name: str | None, look: Look) -> tuple[Any, str, str, str, str | None]:
        """The table of cracks, a sentence about it, and the files: overlay, mask, CSV."""
        visit, network = self.sessions.get(token), self.networks.open(name)
        class_map, classes = self.class_map(visit, network, look), network.predictor.classes
        folder, stem = visit.folder, visit.name
        picture = pictures.downloaded_overlay(visit.image, class_map, classes, look.style)
        overlay = save_image(picture, folder / f"{stem}_overlay.jpg")
        mask = save_mask(class_map, classes, folder / f"{stem}_mask.png")
        if network.class_id is None:
            return None, NO_CRACKS, str(overlay), str(mask), None
        table = self.cracks(visit, network, class_map == network.class_id, look.mm)
        csv = table.to_csv(folder / f"{stem}_cracks.csv")
        return shown_table(table), summary(table), str(overlay), str(mask), str(csv)

    def cracks(self, visit: Visit, network: Loaded, mask: NDArray[np.bool_], mm: float | None) -> CrackTable:
        """The cracks of a mask bool (H, W), measured at the photograph's own size."""
        from prune.inspection.cracks import measure_cracks
        from prune.inspection.settings import MeasureSettings

        scale, probability = checked_scale(mm), None
        if network.has_logits:
            probability = self.evidence(visit, network).levels[network.class_id].astype(np.float32) / 255
        found = measure_cracks(mask, probability)
        crack = network.predictor.classes.classes[network.class_id or 0]
        return CrackTable(found, crack, scale, MeasureSettings().min_length, visit.name)

    def probability(self, token: str, name: str | None, class_name: str | None) -> str | None:
        """The probability of a class over the photograph; None where the network gives class ids."""
        visit, network = self.sessions.get(token), self.networks.open(name)
        if not network.has_logits:
            return None
        levels = self.evidence(visit, network).levels[self.class_of(network, class_name)]
        return pictures.written(pictures.shown_heat(visit.image, levels), visit.folder, "probability")

    def gradcam(self, token: str, name: str | None, class_name: str | None) -> str:
        """Where a checkpoint looks when it predicts a class.

        Raises:
            UserError: for an export, which has no gradients.
        """
        visit, network = self.sessions.get(token), self.networks.open(name)
        if not network.has_gradients:
            raise UserError("Grad-CAM: expected a checkpoint (.pth), found an export, which has no gradients")
        from prune.inference.gradcam import cam_layer, class_heat

        shown = pictures.reduced(visit.image, pictures.factor(visit.image.shape))
        predictor: Any = network.predictor
        heat = class_heat(predictor, shown, self.class_of(network, class_name), cam_layer(predictor)).heat
        levels = np.rint(255 * heat).astype(np.uint8)
        return pictures.written(pictures.shown_heat(shown, levels), visit.folder, "gradcam")

    @staticmethod
    def class_of(network: Loaded, class_name: str | None) -> int:
        """The id of a class by name; crack, else the first, for a name the network does not know."""
        return network.predictor.classes.index(class_name or "") or network.class_id or 1

    def scale(self, token: str, place: tuple[float, float], length: float | None) -> tuple[float | None, str]:
        """A click at (x, y) in px of the preview: mm per px after the second one, and what to do next.

        Raises:
            UserError: for two clicks on the same spot, and without a length; the clicks are forgotten.
        """
        visit = self.sessions.get(token)
        by = pictures.factor(visit.image.shape)
        visit.clicks = [*(visit.clicks if len(visit.clicks) < 2 else []), (place[0] * by, place[1] * by)]
        if len(visit.clicks) < 2:
            return None, "One end of the known length is set: click the other end"
        try:
            return float(f"{scale_of(visit.clicks[0], visit.clicks[1], length):.4g}"), ""
        except UserError:
            visit.clicks = []
            raise


def legend_html(entries: Sequence[Entry]) -> str:
    """A legend as HTML; names of classes come from files and are escaped."""
    if not entries:
        return '<p class="legend">nothing found</p>'
    swatch = '<span class="entry"><i style="background:rgb{}"></i>{}</span>'
    return f'<p class="legend">{"".join(swatch.format(color, html.escape(text)) for color, text in entries)}</p>'


def shown_table(table: CrackTable) -> Any:
    """The columns of a crack table that fit on the page, in mm where the scale is known."""
    unit = "px" if table.mm_per_pixel is None else "mm"
    names = {f"{name}_{unit}" if name in SCALED else name: head.format(unit) for name, head in SHOWN.items()}
    frame = table.to_frame()[list(names)].rename(columns=names).round(2)
    return frame.assign(**{SHOWN["orientation_deg"]: frame[SHOWN["orientation_deg"]].round(0)})


def summary(table: CrackTable) -> str:
    """All cracks in a sentence."""
    left_out = f" (shorter than {table.min_length:g} px left out)" if table.min_length else ""
    if not len(table):
        return f"Found: no crack{left_out}"
    length, unit = (table.length_px, "px") if table.length_mm is None else (table.length_mm, "mm")
    count = "1 crack" if len(table) == 1 else f"{len(table)} cracks"
    return f"Found: {count}, total length {length:.4g} {unit}{left_out}"


def choices(classes: ClassSet) -> list[str]:
    """Names of the classes after the background."""
    return list(classes.classes[1:])
