"""Machines side by side: the deployment figures of every kind of CPU that was measured, out of the folders' JSON files.

A folder holds what ``python -m prune benchmark`` wrote on one kind of machine: ``deploy.json``, ``bench.json``,
``networks.json``, ``deploy_profile.md``; each may be missing. Files of older versions have rows without machine or peaks.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.benchmark.machine import gmacs_per_second, share_of_peak
from prune.benchmark.peaks import NUMBERS
from prune.errors import UserError
from prune.files import write_text
from prune.report.charts import COLORS, HATCHES, empty_figure, plain, save
from prune.tables import markdown_table, write_csv

MARKS = "<!-- kinds -->", "<!-- /kinds -->"
"""A README beside the folders gets the side-by-side tables between these two."""
RUNTIMES = {"pytorch": "PyTorch eager", "onnx": "ONNX Runtime", "openvino": "OpenVINO", "ncnn": "ncnn", "pt2": "pt2"}

Row = Mapping[str, Any]
Key = tuple[float, str, str]


@dataclass(frozen=True)
class Kind:
    """What was measured on one kind of machine.

    Args:
        name: Of the kind and of its folder, such as ``avx2``.
        machine: Facts of the machine; without ``peaks`` no share is known.
        rows: Of ``deploy.json``, with ``gmacs_per_second`` and ``share_of_peak`` (None = unknown).
        figures: Of ``bench.json`` and ``networks_bench.json``.
        networks: Rows of ``networks.json``.
        profile: The layer profile as Markdown, empty = none.
    """

    name: str
    machine: Row
    rows: Sequence[Row]
    figures: Sequence[Row]
    networks: Sequence[Row]
    profile: str


def _read(file: Path) -> Any:
    """The content of a JSON file; an empty mapping when there is none.

    Raises:
        UserError: for a file that holds no JSON object or list.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: expected the JSON of a benchmark, found: {error}") from error
    if not isinstance(content, (dict, list)):
        raise UserError(f"{file}: expected the JSON of a benchmark, found: {content!r}")
    return content


def _with_share(row: Row, peaks: Mapping[str, float | None]) -> Row:
    """A row with its rate and share, also where its file is older than they are."""
    rate = gmacs_per_second(row["macs"], row["ms_median"])
    return {"gmacs_per_second": rate, "share_of_peak": share_of_peak(rate, row["precision"], peaks)} | dict(row)


def read_kind(folder: Path) -> Kind:
    """What a folder of results/benchmarks holds.

    Raises:
        UserError: for a file that is no JSON of a benchmark.
    """
    deploy, bench, networks = (_read(folder / f"{name}.json") for name in ("deploy", "bench", "networks"))
    profile = folder / "deploy_profile.md"
    try:
        rows, own = (deploy, {}) if isinstance(deploy, list) else (deploy["rows"], deploy["machine"])
        machine = bench.get("machine", {}) | own
        figures = [*bench.get("figures", []), *_read(folder / "networks_bench.json").get("figures", [])]
        rows = [_with_share(row, machine.get("peaks", {})) for row in rows]
        text = profile.read_text(encoding="utf-8").rstrip() if profile.is_file() else ""
        return Kind(folder.name, machine, rows, figures, networks.get("rows", []), text)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}: expected the JSON files of a benchmark, found others: {error!r}") from error


def read_kinds(root: Path) -> list[Kind]:
    """Every folder of ``root`` with a ``deploy.json``, by name.

    Raises:
        UserError: when there is none, or a file is no JSON of a benchmark.
    """
    kinds = [read_kind(file.parent) for file in sorted(root.glob("*/deploy.json"))]
    if not kinds:
        raise UserError(f"{root}: expected folders with a deploy.json, found none; run python -m prune benchmark first")
    return kinds


def _label(key: Key) -> str:
    ratio, runtime, precision = key
    network = f"{100 * ratio:.0f}% of the channels removed" if ratio else "dense"
    return f"{network}, {RUNTIMES.get(runtime, runtime)} {precision}"


def _by_key(kind: Kind) -> dict[Key, Row]:
    return {(row["channel_ratio"], row["runtime"], row["precision"]): row for row in kind.rows}


def _keys(kinds: Sequence[Kind]) -> list[Key]:
    """The rows of all kinds: by channel ratio, eager PyTorch first in each."""
    keys = {key for kind in kinds for key in _by_key(kind)}
    return sorted(keys, key=lambda key: (key[0], key[1] != "pytorch", key[1], key[2]))


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f}%"


def machines_table(kinds: Sequence[Kind]) -> str:
    """A line per kind: CPU, cores, peaks in GMACs/s, memory bandwidth; blank where not measured."""
    cells = []
    for kind in kinds:
        peaks = kind.machine.get("peaks", {})
        copied = kind.machine.get("copy_gb_per_second")
        values = [None if peaks.get(number) is None else f"{peaks[number]:.0f}" for number in NUMBERS]
        cores = kind.machine.get("cores")
        cells.append(
            [kind.name, kind.machine.get("device"), cores, *values, None if copied is None else f"{copied:.0f}"]
        )
    header = ["kind", "CPU", "cores", *(f"{number} peak, GMACs/s" for number in NUMBERS), "memory copy, GB/s"]
    return markdown_table(header, cells)


def kinds_table(kinds: Sequence[Kind]) -> str:
    """A line per network, runtime and number format: speed-up over dense eager and share of the peak, kinds side by side."""
    found = [_by_key(kind) for kind in kinds]
    cells = []
    for key in _keys(kinds):
        line: list[str | None] = [_label(key)]
        for rows in found:
            row = rows.get(key)
            line += [None, None] if row is None else [f"{row['speedup']:.1f}×", _percent(row["share_of_peak"])]
        cells.append(line)
    return markdown_table(
        ["network", *(f"{kind.name}: {what}" for kind in kinds for what in ("speed-up", "of peak"))], cells
    )


def kinds_chart(kinds: Sequence[Kind], path: Path) -> Path:
    """Speed-up over dense eager and share of the peak, a bar per kind; returns ``path``."""
    keys, found = _keys(kinds), [_by_key(kind) for kind in kinds]
    figure = empty_figure(13, 1.8 + 0.42 * len(keys), "DeepLabV3-ResNet101, every kind of CPU that was measured")
    left, right = figure.subplots(1, 2, sharey=True)
    height = 0.8 / len(kinds)
    for number, (kind, rows) in enumerate(zip(kinds, found, strict=True)):
        style: dict[str, Any] = {"height": height, "color": COLORS[number % len(COLORS)], "edgecolor": "white"}
        style |= {"hatch": HATCHES[number % len(HATCHES)], "linewidth": 0}
        places = {
            key: index + height * (number - (len(kinds) - 1) / 2) for index, key in enumerate(keys) if key in rows
        }
        speedups = [rows[key]["speedup"] for key in places]
        bars = left.barh(list(places.values()), speedups, label=kind.name, **style)
        left.bar_label(bars, [f"{value:.1f}" for value in speedups], padding=3, fontsize=7)
        shares = {places[key]: rows[key]["share_of_peak"] for key in places if rows[key]["share_of_peak"] is not None}
        right.barh(list(shares), [100 * share for share in shares.values()], **style)
    left.set_yticks(range(len(keys)), [_label(key) for key in keys], fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("speed-up over the dense network in eager float32 on the same machine", fontsize=9)
    right.set_xlabel("percent of the machine's peak in the same number format (no bar: unknown)", fontsize=9)
    for axes in (left, right):
        plain(axes)
        axes.grid(axis="x", which="both", alpha=0.25, linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=len(kinds), frameon=False)
    return save(figure, path)


def _best(rows: Sequence[Row], key: str) -> str | None:
    """The most images per second and who gave them; None where none was measured."""
    measured = [row for row in rows if row.get(key)]
    if not measured:
        return None
    row = max(measured, key=lambda row: row[key])
    return f"{row[key]:.3g} ({RUNTIMES.get(row['runtime'], row['runtime'])} {row['precision']})"


def _networks_table(rows: Sequence[Row]) -> str:
    """Every network, dense and pruned: ms on every runtime, images/s, share of the float32 peak of its fastest float32 one."""
    columns = list(dict.fromkeys((row["runtime"], row["precision"]) for row in rows))
    lines: dict[tuple[str, float], dict[tuple[str, str], Row]] = {}
    for row in rows:
        lines.setdefault((row["name"], row["channel_ratio"]), {})[row["runtime"], row["precision"]] = row
    cells = []
    for (name, ratio), found in lines.items():
        first = next(iter(found.values()))
        floats = [row for row in found.values() if row["precision"] == "fp32"]
        share = _percent(min(floats, key=lambda row: row["ms_median"]).get("share_of_peak"))
        counts = f"{first['parameters'] / 1e6:.2f}", f"{first['macs'] / 1e9:.2f}"
        times = [f"{found[column]['ms_median']:.1f}" if column in found else None for column in columns]
        alone = _best(list(found.values()), "images_per_second")
        crowd = _best(floats, "images_per_second_one_per_core")
        cells.append([name, first["size"], f"{100 * ratio:.0f}%", *counts, *times, share, alone, crowd])
    titles = [f"{RUNTIMES.get(runtime, runtime)} {precision}, ms" for runtime, precision in columns]
    header = ["network", "px", "removed", "parameters, M", "GMACs", *titles, "best fp32, of peak"]
    return markdown_table([*header, "one after the other, best images/s", "one per core, best fp32 images/s"], cells)


def kind_page(kind: Kind) -> str:
    """Everything measured on one kind of machine, as a Markdown page."""
    parts = [
        f"# {kind.name}",
        "Written by `python -m prune benchmark`; changes by hand are lost.",
        machines_table([kind]),
    ]
    if kind.figures:
        cells = []
        for figure in kind.figures:
            bound, kept = f"{figure['relation']} {figure['bound']:g}", "yes" if figure["kept"] else "no"
            value = f"{figure['value']:.3g} {figure['unit']}".strip()
            cells.append([figure["name"], value, bound, kept, figure["detail"]])
        parts += ["## Figures", markdown_table(["figure", "measured", "bound", "kept", "detail"], cells)]
    cells = []
    for key, row in _by_key(kind).items():
        rate, ms, peak = f"{row['gmacs_per_second']:.0f}", f"{row['ms_median']:.0f}", f"{row['peak_mib']:.0f}"
        speedup = f"{row['speedup']:.1f}×"
        cells.append([_label(key), ms, speedup, rate, _percent(row["share_of_peak"]), peak, f"{row['file_mib']:.1f}"])
    header = ["network", "ms", "speed-up", "GMACs/s", "of peak", "peak MiB", "file MiB"]
    parts += ["## Deployment", markdown_table(header, cells)]
    if kind.profile:
        parts += ["## Where the time of the 50% network goes", kind.profile]
    if kind.networks:
        parts += ["## Every network", _networks_table(kind.networks)]
    return "\n\n".join(parts) + "\n"


def write_kinds(root: Path) -> list[Path]:
    """Write the page of every kind (``<kind>/tables.md``) and all side by side (``kinds.md``, ``.csv``, ``.png``).

    ``README.md`` in ``root`` gets the side-by-side tables too, where it holds the marks of ``MARKS``.

    Args:
        root: Folder of one folder per kind.

    Returns:
        The files written.

    Raises:
        UserError: when no folder holds a ``deploy.json``, or a file is no JSON of a benchmark.
    """
    kinds = read_kinds(root)
    written = [write_text(root / kind.name / "tables.md", kind_page(kind)) for kind in kinds]
    text = f"{machines_table(kinds)}\n\n{kinds_table(kinds)}\n\n![kinds side by side](kinds.png)"
    written.append(write_text(root / "kinds.md", text + "\n"))
    keys = [
        "channel_ratio",
        "runtime",
        "precision",
        "size",
        "ms_median",
        "speedup",
        "gmacs_per_second",
        "share_of_peak",
    ]
    keys.append("peak_mib")
    table = [[kind.name, *(row.get(key) for key in keys)] for kind in kinds for row in kind.rows]
    written.append(write_csv(["kind", *keys], table, root / "kinds.csv"))
    written.append(kinds_chart(kinds, root / "kinds.png"))
    readme = root / "README.md"
    if readme.is_file() and all(mark in (old := readme.read_text(encoding="utf-8")) for mark in MARKS):
        pattern = f"{re.escape(MARKS[0])}.*?{re.escape(MARKS[1])}"
        new = re.sub(pattern, lambda _: f"{MARKS[0]}\n{text}\n{MARKS[1]}", old, count=1, flags=re.DOTALL)
        written.append(write_text(readme, new))
    return written
