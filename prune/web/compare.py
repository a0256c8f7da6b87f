"""Two networks on the same photograph: what both find, what only one finds, and how long each takes."""

from dataclasses import dataclass

from prune.errors import UserError
from prune.report.agreement import TOLERANCE
from prune.web import pictures
from prune.web.desk import Desk, Look, legend_html


@dataclass(frozen=True)
class Comparison:
    """What the page shows of two networks.

    Args:
        first: The overlay of the network that is shown, a file.
        second: The overlay of the other one.
        difference: The photograph in light gray with the difference.
        legend: Of the difference, HTML.
        sentence: Times and agreement.
    """

    first: str
    second: str
    difference: str
    legend: str
    sentence: str


def compare(desk: Desk, token: str, names: tuple[str | None, str | None], look: Look) -> Comparison:
    """Compare two networks about cracks.

    Raises:
        UserError: for the same network twice, and for one without a class crack.
    """
    if names[0] == names[1]:
        raise UserError("expected two different networks, found the same one twice")
    visit, networks = desk.sessions.get(token), (desk.networks.open(names[0]), desk.networks.open(names[1]))
    overlays, masks = [], []
    for number, network in enumerate(networks):
        if network.class_id is None:
            raise UserError(f"{network.name}: expected a network with a class called crack, found none")
        class_map = desk.class_map(visit, network, look)
        drawn = pictures.shown_overlay(visit.image, class_map, network.predictor.classes, look.style)
        overlays.append(pictures.written(drawn, visit.folder, f"network{number}"))
        masks.append(class_map == network.class_id)
    pair = networks[0].name, networks[1].name
    if pair not in visit.times:
        visit.times[pair] = desk.networks.milliseconds(networks, visit.image)
    found = pictures.difference(visit.image, (masks[0], masks[1]), pair, "Crack")
    agreed = (
        "neither finds a crack" if found.share is None else f"{found.share:.0%} of the crack pixels are found by both"
    )
    times = " · ".join(f"{name}: {time:.0f} ms" for name, time in zip(pair, visit.times[pair], strict=True))
    sentence = f"{times} · {agreed} (at most {TOLERANCE} px apart)"
    difference = pictures.written(found.picture, visit.folder, "difference")
    return Comparison(overlays[0], overlays[1], difference, legend_html(found.entries), sentence)
