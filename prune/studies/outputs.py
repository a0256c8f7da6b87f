"""The files of a study's table: JSON, CSV, Markdown, LaTeX, Excel, and a page that stands alone."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prune.files import write_json, write_text
from prune.metrics.bootstrap import COVERAGE, DRAWS, Interval
from prune.metrics.confusion import blank
from prune.studies.table import COMPARED, SCORES, SEED, Cell, costs_of, header, line
from prune.tables import html_table, markdown_table, write_csv

FORMAT, VERSION = "prune-study", 1
CONTROLS = (
    " Controls: the dense network; Random; the pruned widths trained from scratch with the epochs of training and "
    "fine-tuning together."
)
OVERVIEW = (
    "network",
    "method",
    "removed",
    "options",
    "seeds",
    "parameters M",
    "MACs G",
    "mIoU",
    "crack ltIoU@4",
    "verdict",
    "certainty",
)
"""Columns of the first table of the report, besides latencies."""
LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"}
LATEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "@": "@"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 82rem; padding: 0 1rem; color: #1c1c1c; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; } .wide { overflow-x: auto; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #444; vertical-align: bottom; } tr:hover td { background: #f4f6f9; }
img { max-width: 100%; height: auto; } pre { background: #f6f6f6; padding: 0.8rem; overflow-x: auto; font-size: 12.5px; }
p, li { max-width: 60rem; } .facts td:first-child { color: #555; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } table { font-size: 8px; } th, td { white-space: normal; padding: 2px; } }
"""


def plain_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row per cell with a number or a text in every column, None = blank: what the CSV, the workbook and a data frame hold."""
    rows = []
    for cell in cells:
        row: dict[str, Any] = {n: getattr(cell, n) for n in ("network", "method", "level", "options", "precision")}
        row |= {"seeds": len(cell.seeds), **{name: getattr(cell, name) for name in ("parameters", "macs", "mib")}}
        for cost in costs_of(cells):
            if cost.startswith("latency "):
                runtime = cost.removeprefix("latency ")
                row |= {
                    f"latency_ms {runtime}": cell.latency.get(runtime),
                    f"speedup {runtime}": cell.speedup.get(runtime),
                }
        for name in SCORES:
            row |= _bounds(name, cell.scores.get(name))
        for name in COMPARED:
            row |= _bounds(f"{name} minus dense", cell.to_dense.get(name))
            row |= _bounds(f"{name} minus Random", cell.to_random.get(name))
        rows.append(row | {"verdict": cell.verdict, "clear": cell.clear, "fronts": "; ".join(cell.fronts)})
    return rows


def _bounds(name: str, found: Interval | None) -> dict[str, float | None]:
    values = (None, None, None) if found is None else (blank(found.value), blank(found.low), blank(found.high))
    return dict(zip((name, f"{name} low", f"{name} high"), values, strict=True))


def latex_table(cells: Sequence[Cell]) -> str:
    """A table for LaTeX with ``booktabs``: costs, the two headline scores with intervals, and the verdict."""
    shown = [name for name in COMPARED if any(name in cell.scores for cell in cells)]
    runtimes = [name for name in costs_of(cells) if name.startswith("latency ")]
    titles = [
        "network",
        "method",
        "removed",
        "options",
        "MACs / G",
        *(f"{n.removeprefix('latency ')} / ms" for n in runtimes),
    ]
    titles += [SCORES[name] for name in shown] + ["verdict"]
    lines = [
        r"% needs \usepackage{booktabs}; the intervals respect seeds and images",
        r"\begin{tabular}{llll" + "r" * (1 + len(runtimes) + len(shown)) + "l}",
    ]
    lines += [r"\toprule", " & ".join(map(escaped, titles)) + r" \\", r"\midrule"]
    for cell in cells:
        precision = "" if cell.precision == "fp32" else cell.precision
        texts = [cell.network, cell.method, cell.level, ", ".join(filter(None, (cell.options, precision)))]
        costs = [None if cell.macs is None else f"{cell.macs / 1e9:.2f}", *(_ms(cell.cost(name)) for name in runtimes)]
        scores = [_latex_score(cell.scores.get(name)) for name in shown]
        row = [*map(escaped, texts), *(text or "--" for text in costs), *scores, escaped(cell.verdict)]
        lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escaped(text: str) -> str:
    """A text as LaTeX prints it."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _latex_score(found: Interval | None) -> str:
    if found is None or math.isnan(found.value):
        return "--"
    return f"{found.value:.3f}" + (
        "" if math.isnan(found.low) else rf" {{\footnotesize [{found.low:.3f}, {found.high:.3f}]}}"
    )


def notes_of(study: Mapping[str, Any]) -> list[str]:
    """What a reader has to know: trials that failed, combinations that were left out, few seeds."""
    notes = [f"failed: {label}: {cause}" for label, cause in study["failed"].items()]
    notes += list(study["skipped"])
    if not study["plan"].get("controls", True):
        notes.append("no controls: neither Random nor the pruned widths trained from scratch were computed")
    seeds = len(study["plan"]["seeds"])
    if seeds == 1:
        notes.append("one seed: the intervals are over images only")
    elif seeds < 5:
        notes.append(f"{seeds} seeds: resampling so few underestimates how much seeds differ; 5 or more are better")
    return notes


def write_tables(study: Mapping[str, Any], cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Write table.json, .csv, .md, .tex and, where pandas and openpyxl are installed, .xlsx."""
    rows = plain_rows(cells)
    content = {
        "format": FORMAT,
        "version": VERSION,
        **{k: study[k] for k in ("plan", "data", "machine", "versions", "skipped", "failed")},
    }
    content |= {
        "bootstrap": {"draws": DRAWS, "coverage": COVERAGE, "seed": SEED},
        "rows": [cell.to_json() for cell in cells],
    }
    notes = "".join(f"\n- {note}" for note in notes_of(study))
    table = markdown_table(header(cells), [line(cell, cells) for cell in cells])
    titles = list(rows[0]) if rows else []
    files = [
        write_json(folder / "table.json", content),
        write_csv(titles, [list(row.values()) for row in rows], folder / "table.csv"),
        write_text(folder / "table.md", f"{table}\n\n{explained(study)}\n{notes}\n"),
        write_text(folder / "table.tex", latex_table(cells)),
    ]
    try:
        import openpyxl  # noqa: F401
        import pandas  # noqa: F401
    except ImportError:
        return files
    return [*files, write_workbook(study, rows, cells, folder / "table.xlsx")]


def write_workbook(
    study: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell], path: Path
) -> Path:
    """The table as an Excel workbook: all numbers, the scores of every seed, and the plan."""
    from openpyxl import Workbook

    from prune.report.sheets import COUNT, SCORE, TWO_DECIMALS, finish, frame_of, put_frame, save_workbook
    from prune.report.sheets import header as sheet_header

    book = Workbook()
    sheet = book.active
    sheet.title = "table"
    titles = list(rows[0]) if rows else ["no results"]
    styles = [
        COUNT
        if t in ("parameters", "macs")
        else TWO_DECIMALS
        if t.split()[0] in ("mib", "latency_ms", "speedup")
        else SCORE
        for t in titles
    ]
    styles = ["0" if title == "seeds" else style for title, style in zip(titles, styles, strict=True)]
    sheets = [(sheet, titles, [list(row.values()) for row in rows], styles)]
    seeds = [
        [cell.title, name, s, blank(v)]
        for cell in cells
        for name, found in cell.per_seed.items()
        for s, v in zip(cell.seeds, found, strict=True)
    ]
    sheets.append((book.create_sheet("seeds"), ["row", "score", "seed", "value"], seeds, ["", "", "0", SCORE]))
    facts = [[key, str(value)] for key, value in study["plan"].items()] + [["note", note] for note in notes_of(study)]
    sheets.append((book.create_sheet("plan"), ["key", "value"], facts, ["", ""]))
    for page, names, values, formats in sheets:
        sheet_header(page, 1, names)
        if values:
            put_frame(page, 2, frame_of(names, values), formats)
        finish(page, "B2")
    return save_workbook(book, path)


def explained(study: Mapping[str, Any]) -> str:
    """How to read the table, in a paragraph."""
    plan = study["plan"]
    return (
        f"Scores are means over {len(plan['seeds'])} seed(s), each pooled over the test images; brackets are 95% intervals that "
        "respect seeds and images. Differences are in points of a hundredth, paired by seed and image. "
        f"Cracks count as lost when ltIoU@4 drops by more than {plan['lose_crack']:g} points against the dense network, "
        f"mIoU as kept when it drops by at most {plan['keep_miou']:g}."
        + (CONTROLS if plan.get("controls", True) else "")
    )


def write_page(study: Mapping[str, Any], cells: Sequence[Cell], charts: Sequence[Path], path: Path) -> Path:
    """One HTML file with table, charts, notes and plan; it needs nothing from outside."""
    plan, machine = study["plan"], study["machine"]
    images = "".join(
        f'<p><img alt="{html.escape(chart.stem)}" src="data:image/png;base64,{base64.b64encode(chart.read_bytes()).decode()}"></p>'
        for chart in charts
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in notes_of(study))
    facts = {
        "data": f"{Path(plan['data']).name}, {study['data'].get('images', '')} test images",
        "seeds": ", ".join(map(str, plan["seeds"])),
        "latency": f"{plan['latency_size']} x {plan['latency_size']} px, {machine.get('device')}, {machine.get('threads')} threads",
        "versions": ", ".join(f"{name} {number}" for name, number in study["versions"].items()),
    }
    about = "".join(f"<tr><td>{key}</td><td>{html.escape(value)}</td></tr>" for key, value in facts.items())
    keys = "\n".join(f"{key} = {_shown(value)}" for key, value in plan.items() if value not in (None, [], {}))
    titles, lines = header(cells), [line(cell, cells) for cell in cells]
    short = [i for i, t in enumerate(titles) if t in OVERVIEW or t.startswith("latency ")]
    short = [i for i in short if any(row[i] for row in lines)]
    overview = html_table([titles[i] for i in short], [[row[i] for i in short] for row in lines])
    table = html_table(titles, lines)
    body = [
        f"<h1>{html.escape(plan['name'])}</h1><table class=facts>{about}</table>",
        f"<h2>Overview</h2><div class=wide>{overview}</div><p>{html.escape(explained(study))}</p>",
        f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
        f"<h2>Accuracy over cost</h2><p>Dashed: the Pareto front, the rows that no other row beats in both. Rows of equal cost are "
        f"drawn side by side.</p>{images}",
        f"<h2>All scores and differences</h2><div class=wide>{table}</div>",
        f"<h2>Plan</h2><pre>{html.escape(keys)}</pre>",
    ]
    head = f"<meta charset=utf-8><title>{html.escape(plan['name'])}</title><style>{STYLE}</style>"
    return write_text(path, f"<!doctype html>\n<html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n")


def _shown(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
