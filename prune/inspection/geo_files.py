"""Lines and points on maps, written feature by feature: GeoJSON and GeoPackage, by the standard library alone."""

import itertools
import json
import math
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from prune.files import atomic_path

Point = tuple[float, float]
Lines = Sequence[Sequence[Point]]
Value = str | int | float | None
DEGREE_DIGITS = 9
"""Digits of degrees behind the point: a tenth of a millimeter on the ground."""
SQL_TYPES = {str: "TEXT", int: "INTEGER", float: "REAL"}
UNDEFINED = -1
"""Number of the coordinate system of a GeoPackage without one: a plane of unknown place and unit."""


@dataclass(frozen=True)
class Feature:
    """A line on the map that may have several parts, and what is known of it.

    Args:
        lines: Points (x, y) of each part: degrees east and north, or coordinates of a map.
        properties: Texts, numbers, and None or NaN for what is unknown.
    """

    lines: Lines = field(repr=False)
    properties: Mapping[str, Value]


@dataclass(frozen=True)
class CoordinateSystem:
    """A coordinate system as a GeoPackage describes it.

    Args:
        number: Its code in the file, of EPSG where it has one.
        name: What it is called.
        organization: Who gave it the code, such as EPSG or NONE.
        definition: In well-known text (OGC 01-009), or ``undefined``.
    """

    number: int = UNDEFINED
    name: str = "Undefined Cartesian coordinate reference system"
    organization: str = "NONE"
    definition: str = "undefined"


def write_geojson(path: str | Path, features: Iterable[Feature]) -> Path:
    """Write features in degrees (WGS 84) as GeoJSON (RFC 7946), one per line, and return the path.

    Raises:
        UserError: when the file cannot be written.
    """
    with atomic_path(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(features):
            lines = [[[round(c, DEGREE_DIGITS) for c in point] for point in line] for line in feature.lines]
            content = {
                "type": "Feature",
                "geometry": {"type": "MultiLineString", "coordinates": lines},
                "properties": {name: _known(value) for name, value in feature.properties.items()},
            }
            file.write(",\n" if number else "\n")
            json.dump(content, file, ensure_ascii=False, allow_nan=False)
        file.write("\n]}\n")
    return Path(path)


def write_geopackage(
    path: str | Path, layer: str, columns: Mapping[str, type], features: Iterable[Feature], system: CoordinateSystem
) -> Path:
    """Write features as a layer of a GeoPackage (OGC 12-128r19), which QGIS and other programs open, and return the path.

    Args:
        path: The file; one that is there is replaced.
        layer: Name of its table.
        columns: Properties of all features with their types: str, int or float.
        features: With points in the coordinates of ``system``.
        system: Of the map.

    Raises:
        UserError: when the file cannot be written.
    """
    with atomic_path(Path(path)) as temporary:
        try:
            with closing(sqlite3.connect(temporary)) as database, database:
                database.executescript(SCHEMA)
                database.executemany(
                    "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, NULL)", _systems(system)
                )
                _write_layer(database, layer, columns, features, system.number)
        except sqlite3.OperationalError as error:  # a full disk
            raise OSError(str(error)) from error
    return Path(path)


SCHEMA = """
PRAGMA application_id = 1196444487;
PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""
"""The tables every GeoPackage has; the first number spells GPKG."""
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]'
)


def _systems(system: CoordinateSystem) -> list[tuple[str, int, str, int, str]]:
    """Rows of the coordinate systems: the three that every file must have, and the one in use."""
    geographic = ("Undefined geographic coordinate reference system", 0, "NONE", 0, "undefined")
    plane = CoordinateSystem()
    return [
        (plane.name, plane.number, plane.organization, plane.number, plane.definition),
        geographic,
        ("WGS 84 geodetic", 4326, "EPSG", 4326, WGS84),
        (system.name, system.number, system.organization, system.number, system.definition),
    ]


def _write_layer(
    database: sqlite3.Connection, layer: str, columns: Mapping[str, type], features: Iterable[Feature], number: int
) -> None:
    named = "".join(f", {_quoted(name)} {SQL_TYPES[kind]}" for name, kind in columns.items())
    database.execute(
        f"CREATE TABLE {_quoted(layer)} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom MULTILINESTRING{named})"
    )
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES (?, 'features', ?, ?)",
        (layer, layer, number),
    )
    database.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'MULTILINESTRING', ?, 0, 0)", (layer, number)
    )
    names = "".join(f", {_quoted(name)}" for name in columns)
    insert = f"INSERT INTO {_quoted(layer)} (geom{names}) VALUES (?{', ?' * len(columns)})"
    boxes: list[list[float]] = []
    for feature in features:
        box = _box(feature.lines)
        values = [_known(feature.properties.get(name)) for name in columns]
        database.execute(insert, (_geometry(feature.lines, box, number), *values))
        boxes = [box, *boxes]
        boxes = [
            [f(b[side] for b in boxes) for side, f in enumerate((min, max, min, max))]
        ]  # one box around all so far
    for box in boxes:
        database.execute(
            "UPDATE gpkg_contents SET min_x = ?, max_x = ?, min_y = ?, max_y = ? WHERE table_name = ?", (*box, layer)
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _box(lines: Lines) -> list[float]:
    """Smallest and largest x, smallest and largest y."""
    x, y = zip(*(point for line in lines for point in line), strict=True)
    return [min(x), max(x), min(y), max(y)]


def _geometry(lines: Lines, box: list[float], number: int) -> bytes:
    """Lines as a GeoPackage binary: its header, little-endian with the box, and well-known binary."""
    header = struct.pack("<2sBBi4d", b"GP", 0, 0b11, number, *box)
    parts = [
        struct.pack(f"<BII{2 * len(line)}d", 1, 2, len(line), *itertools.chain.from_iterable(line)) for line in lines
    ]
    return header + struct.pack("<BII", 1, 5, len(lines)) + b"".join(parts)


def _known(value: Value) -> Value:
    """A value with None for what is unknown."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
