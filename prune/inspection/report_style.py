"""How the report looks, on the screen and on paper; no file beside it, no script, no font from elsewhere."""

import html
from collections.abc import Container, Sequence
from typing import Any

CSS = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --head: #1f3a5f; --pale: #f3f6fa; --warn: #fff4d6; }
* { box-sizing: border-box; }
html { font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; color: var(--ink); }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.9rem; margin: 0 0 .2rem; color: var(--head); }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; color: var(--head); border-bottom: 2px solid var(--head); }
h3 { font-size: 1.05rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; max-width: 48rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.fact { background: var(--pale); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .8rem; }
.fact b { display: block; font-size: 1.35rem; line-height: 1.25; }
.fact span { color: var(--soft); font-size: .85rem; }
.warn { background: var(--warn); border-left: .3rem solid #c98a00; padding: .4rem .8rem; max-width: none; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .87rem; width: 100%; }
th { background: var(--head); color: #fff; text-align: left; font-weight: 600; }
th, td { padding: .22rem .5rem; border: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
th.n { text-align: right; } td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
tbody tr:nth-child(even) { background: var(--pale); }
figure { margin: .4rem 0; }
img { max-width: 100%; height: auto; display: block; border: 1px solid var(--line); }
section.photo { overflow-x: auto; margin: 1.4rem 0 2rem; }
svg.map { max-width: 40rem; width: 100%; border: 1px solid var(--line); background: #fbfcfd; }
svg.map circle { stroke: #fff; stroke-width: 1.5; } svg.map circle.found { fill: #b3246b; }
svg.map circle.clear { fill: #6e7781; } svg.map text { font-size: 12px; fill: var(--ink); }
svg.map line { stroke: var(--ink); stroke-width: 2; }
a { color: #0b5cad; }
ul { margin: .4rem 0; padding-left: 1.3rem; max-width: 48rem; }
@page { size: A4; margin: 16mm 14mm 18mm; @bottom-right { content: counter(page) " / " counter(pages); } }
@media print {
  html { font-size: 9.5pt; } body { margin: 0; padding: 0; max-width: none; } a { color: inherit; text-decoration: none; }
  section.photo { overflow: visible; } h2, h3 { break-after: avoid; }
  section.photo .top, figure, tr, .fact, .warn { break-inside: avoid; } thead { display: table-header-group; }
  .facts { grid-template-columns: repeat(5, 1fr); } img { max-height: 82mm; width: auto; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title><style>{css}</style></head><body>
"""
FOOT = "</body></html>\n"


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Container[int] = ()) -> str:
    """An HTML table; cells are escaped, and the columns ``numeric`` go to the right."""

    def line(cells: Sequence[Any], tag: str) -> str:
        starts = [f'{tag} class="n"' if i in numeric else tag for i in range(len(cells))]
        inside = (f"<{start}>{html.escape(str(cell))}</{tag}>" for start, cell in zip(starts, cells, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(titles, 'th')}</thead><tbody>{body}</tbody></table>"


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of escaped text."""
    start = f'p class="{style}"' if style else "p"
    return f"<{start}>{html.escape(text)}</p>"
