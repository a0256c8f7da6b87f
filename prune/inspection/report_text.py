"""What a report says in words: sums, known errors, widths of standards, method and limits."""

import html

from prune.inspection.findings import Findings
from prune.inspection.known_errors import FEWEST, TOLERANCE, KnownErrors
from prune.inspection.report_style import paragraph, table
from prune.inspection.rows import settings_table
from prune.inspection.width_limits import wider_than
from prune.inspection.wording import RESOLUTION_PX, UNKNOWN, Units, counted
from prune.report.paper import share_text

WARNING = "warn"


def total_length(found: Findings) -> str:
    """The length of all cracks: in mm or m of the photographs with a scale, in px of the others."""
    parts = []
    if found.length_mm is not None:
        parts.append(f"{found.length_mm / 1000:.2f} m" if found.length_mm >= 1000 else f"{found.length_mm:.0f} mm")
    if found.unscaled or not parts:
        parts.append(f"{sum(photo.length_px for photo in found.unscaled):,.0f} px")
    return " + ".join(parts)


def _widest(found: Findings) -> str:
    """The largest width of the survey."""
    best = [(Units(photo.shot.mm_per_pixel), photo.width_max_px or 0.0) for photo in found.photos if photo.width_max_px]
    scaled = [one for one in best if one[0].mm_per_pixel] or best
    scale, px = max(scaled, key=lambda one: one[0].factor * one[1], default=(Units(), None))
    return scale.with_unit(scale.width(px))


def summary_part(found: Findings) -> str:
    """Title, sums, and what a reader must know first."""
    about = found.about
    cracked = sum(bool(photo.cracks) for photo in found.photos)
    facts = [
        (str(len(found.photos)), "photographs surveyed"),
        (f"{cracked} of {len(found.photos)}", f"photographs with {about.crack.lower()}s"),
        (f"{len(found.cracks):,}", f"{about.crack.lower()}s found"),
        (total_length(found), "total length"),
        (_widest(found), "largest width found"),
        *((share_text(share), f"{name}, share of the photographs") for name, (_, share) in found.areas().items()),
    ]
    boxes = "".join(
        f'<div class="fact"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>' for value, name in facts
    )
    head = f"<h1>{html.escape(about.title)}</h1>" + paragraph(f"{about.begun} · network: {about.network}", "soft")
    return head + f'<div class="facts">{boxes}</div>' + "".join(paragraph(text, WARNING) for text in warnings(found))


def warnings(found: Findings) -> list[str]:
    """What a reader must know before the first number, as sentences."""
    about, count, told = found.about, len(found.photos), []
    if found.broken:
        files = counted(len(found.broken), "file")
        told.append(f"{files} could not be surveyed, or only in part: see the list below the photographs.")
    if not found.scaled:
        told.append("No scale is known, so lengths and widths are in pixels.")
    elif found.unscaled:
        told.append(f"{len(found.unscaled)} of {count} photographs have no scale; what they show is given in pixels.")
    if about.errors is None:
        told.append(
            "How far these measurements are off is not known: no errors on labeled photographs are stored with the "
            "network. Cracks may be missing, and others may be none."
        )
    elif about.errors.likeness is None:
        told.append("Too few photographs were tested to say whether these are like them.")
    if found.unlike:
        told.append(
            f"{len(found.unlike)} of {count} photographs are unlike those the network was tested on. For them the errors "
            "below may be much larger: look at their pictures before using a number."
        )
    return told


def errors_part(found: Findings) -> str:
    """How far measurements of this network were off on labeled photographs; says so plainly where nothing is known."""
    errors = found.about.errors
    head = "<h2>How far to trust the numbers</h2>"
    if errors is None:
        return head + paragraph(
            "Nothing is known about the error of this network. To learn it, test the network on labeled photographs like "
            "these with test.py and --crack_errors, and name the result in --errors."
        )
    return head + _length_words(errors) + _width_words(errors)


def _length_words(errors: KnownErrors) -> str:
    length = errors.length
    text = f"On {errors.images} labeled photographs ({errors.data})"
    if length.bias is None or length.found is None:
        return paragraph(f"{text} there were no cracks, so nothing is known about lengths and widths.")
    text += f" the total length was {length.bias:+.1%} off"
    text += f", that of single photographs typically {length.typical:.0%}. " if length.typical is not None else ". "
    text += f"{length.found:.0%} of the labeled center lines were found"
    text += "." if length.real is None else f", and {length.real:.0%} of what was found is in the labels "
    text += "" if length.real is None else f"(within {TOLERANCE:g} px)."
    return paragraph(text)


def _width_words(errors: KnownErrors) -> str:
    rows = [
        [
            str(one) if one is not errors.all_widths else "all",
            one.cracks,
            UNKNOWN if one.bias_px is None else f"{one.bias_px:+.2f} px",
            UNKNOWN if one.spread_px is None else f"± {one.spread_px:.2f} px",
        ]
        for one in (*errors.widths, errors.all_widths)
    ]
    told = paragraph(
        "Widths: measured minus labeled mean width of the cracks found, by what was measured. The spread is one standard "
        f"deviation; about a third of the cracks were farther off. Where a class holds fewer than {FEWEST} cracks, the tables "
        "below give the error of all."
    )
    return told + table(["measured mean width", "cracks", "bias", "spread"], rows, range(1, 4))


def limits_part(found: Findings) -> str:
    """Widths of standards as context, where any photograph has a scale."""
    if not found.scaled:
        return ""
    rows = [
        [
            f"{one.limit.mm:.2f} mm",
            one.limit.source.replace("-", "\u2011").replace(" ", "\u00a0"),
            one.limit.exposure,
            one.cracks,
            f"{one.length_mm / 1000:.2f} m",
            one.unresolved or UNKNOWN,
        ]
        for one in wider_than(found.cracks)
    ]
    told = paragraph(
        "Context, not a safety verdict. The standards limit widths calculated at the level of the reinforcement or "
        "observed by an engineer; here they are only compared with the width that 95% of a crack's line stay below "
        "(EN 1992-1-1:2004, table 7.1N; ACI 224R-01, table 4.1)."
    )
    titles = ["width", "standard", "exposure", "cracks wider", "their length", "cannot be told"]
    note = "Cannot be told: below the resolution of its photograph, which is coarser than the limit."
    return "<h2>Widths of standards</h2>" + told + table(titles, rows, {0, 3, 4, 5}) + paragraph(note, "soft")


def method_part(found: Findings) -> str:
    """How it was measured and what it cannot tell."""
    about = found.about
    lines = [
        "Every pixel gets the class that the network finds most probable. A crack is a connected piece of these pixels; "
        f"its length is that of the center line, all branches summed. Pieces shorter than {about.min_length:g} px are "
        "left out.",
        "Width is taken across the center line, outside of junctions: from how the probability falls off where that can "
        "be used, else from the mask.",
        f"Widths below {RESOLUTION_PX:g} px are not resolved and given as less than that.",
        "A scale holds for a flat surface parallel to the sensor, unless the report says that a view was rectified.",
        "Cracks that appear in several overlapping photographs are counted in each of them.",
        "What the network misses or takes for a crack by mistake is not visible in these numbers; the pictures show it.",
        "This report is no assessment of the structure. It helps an engineer to make one.",
    ]
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>Method and limits</h2><ul>{items}</ul>"


def settings_part(found: Findings) -> str:
    """Network and settings, so that the survey can be repeated."""
    titles, rows = settings_table(found)
    rows = [*rows, *([heading, " ".join(lines)] for heading, lines in found.about.facts.items())]
    return "<h2>Network and settings</h2>" + table(titles, rows)
