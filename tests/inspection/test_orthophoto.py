"""Orthophotos: read by windows, predicted into a GeoTIFF, measured, and placed on the map."""

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from prune.errors import UserError
from prune.inspection.cracks import measure_cracks
from prune.inspection.map_cracks import write_crack_map
from prune.inspection.map_prediction import mask_reader, predict_orthophoto
from prune.inspection.orthophoto import Orthophoto, is_orthophoto
from prune.inspection.records import CrackRecord
from prune.inspection.streamed import measure_streamed

rasterio = pytest.importorskip("rasterio")
UTM, MERCATOR, DEGREES = "EPSG:32633", "EPSG:3857", "EPSG:4326"
SITE = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
Picture = NDArray[np.uint8]


def geotiff(
    path: Path,
    image: NDArray[np.generic],
    crs: str | None = UTM,
    side: float = 0.002,
    origin: tuple[float, float] = (411000, 5657000),
    **how: Any,
) -> Path:
    """A GeoTIFF of bands (B, H, W) whose upper left corner is ``origin`` on the map."""
    transform = rasterio.Affine(side, 0, origin[0], 0, -side, origin[1]) if crs else rasterio.Affine.identity()
    shape = {"count": image.shape[0], "height": image.shape[1], "width": image.shape[2], "dtype": image.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **shape, **how) as file:
            file.write(image)
    return path


def cracked(shape: tuple[int, int] = (260, 330)) -> Picture:
    """Bands (3, H, W) of a gray wall with dark lines."""
    image = np.full((3, *shape), 180, np.uint8)
    image[:, 60:64, 10 : shape[1] - 10] = image[:, 20 : shape[0] - 20, 150:153] = 20
    image[:, 200:203, 20:70] = 20
    return image


def predict(image: Picture) -> tuple[Picture, NDArray[np.float32]]:
    """A network that knows dark from bright."""
    dark = image[:, :, 0] < 100
    return dark.astype(np.uint8), np.where(dark, 0.9, 0.1).astype(np.float32)


def test_pixels_come_as_they_are(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 90, 120), dtype=np.uint8)
    with Orthophoto(geotiff(tmp_path / "a.tif", image)) as photo:
        pixels, shown = photo.read(slice(10, 50), slice(100, 120))
        assert photo.size == (90, 120) and photo.placed and shown.all()
        assert np.array_equal(pixels, np.moveaxis(image, 0, 2)[10:50, 100:120])
        assert np.array_equal(photo.overview(), np.moveaxis(image, 0, 2)) and photo.overview(30).shape == (22, 30, 3)


def test_a_cut_file_is_named_whatever_is_read(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 90, 120), dtype=np.uint8)
    file = geotiff(tmp_path / "a.tif", image, compress="lzw")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)  # half of the pixels, no entry of the header
    file.write_bytes(content)
    with Orthophoto(file) as photo:
        for read in (lambda: photo.read(slice(0, 90), slice(0, 120)), photo.overview):
            with pytest.raises(UserError, match="a.tif: expected readable pixels, found: "):
                read()


def test_gray_wide_and_masked_pictures(tmp_path: Path) -> None:
    gray = np.arange(200, dtype=np.uint8).reshape(1, 10, 20)
    with Orthophoto(geotiff(tmp_path / "gray.tif", gray, nodata=7)) as photo:
        pixels, shown = photo.read(slice(0, 10), slice(0, 20))
        assert np.array_equal(pixels, np.repeat(gray[0][:, :, None], 3, axis=2)) and np.array_equal(shown, gray[0] != 7)
    wide = np.full((3, 10, 20), 0x1234, np.uint16)
    with Orthophoto(geotiff(tmp_path / "wide.tif", wide)) as photo:
        assert (photo.read(slice(0, 10), slice(0, 20))[0] == 0x12).all()
    rgba = np.full((4, 10, 20), 99, np.uint8)
    rgba[3, :, :5] = 0
    with Orthophoto(geotiff(tmp_path / "rgba.tif", rgba, photometric="RGB", alpha="yes")) as photo:
        pixels, shown = photo.read(slice(0, 10), slice(0, 20))
        assert pixels.shape == (10, 20, 3) and not shown[:, :5].any() and shown[:, 5:].all()


@pytest.mark.parametrize(
    ("crs", "side", "origin", "mm", "words"),
    [
        (UTM, 0.002, (411000, 5657000), 2, "coordinate system WGS 84 / UTM zone 33N"),
        ("EPSG:2263", 0.01, (980000, 190000), 3.048006, "coordinate system NAD83 / New York Long Island (ftUS)"),
        (MERCATOR, 0.002, (0, 0), 1.9866, "ground distances in WGS 84 / Pseudo-Mercator"),
        (DEGREES, 1e-7, (10, 0), None, "ground distances in WGS 84"),
        (SITE, 0.001, (0, 10), 1, "coordinate system site"),
    ],
)
def test_the_map_gives_the_scale(
    crs: str, side: float, origin: tuple[float, float], mm: float | None, words: str, tmp_path: Path
) -> None:
    if crs == MERCATOR:
        origin = (1500000, 6621293.72)  # 51° north, where Web Mercator stretches by 1 / cos 51°
        mm = 2 * math.cos(math.radians(51)) * 1.0007
    if crs == DEGREES:  # on the equator a degree is 111.32 km long and 110.57 km high
        mm = 1e-7 * math.sqrt(111319.49 * 110574.28) * 1000
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked(), crs, side, origin)) as photo:
        assert photo.scale is not None and photo.scale.source == words
        assert photo.scale.mm_per_pixel == pytest.approx(mm, rel=2e-3)


def test_without_a_coordinate_system_there_is_no_scale_and_no_place(tmp_path: Path) -> None:
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked(), None)) as photo:
        assert photo.scale is None and not photo.placed and photo.to_degrees(np.zeros((1, 2))) is None
        assert photo.system.number == -1 and photo.to_map(np.array([[3.0, 4.0]])).tolist() == [[3.5, -4.5]]


def test_places_on_the_map(tmp_path: Path) -> None:
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked())) as photo:
        assert photo.to_map(np.array([[0, 0], [100, 50]])) == pytest.approx(
            np.array([[411000.001, 5656999.999], [411000.201, 5656999.899]])
        )
        east, north = photo.to_degrees(np.zeros((1, 2)))[0]  # type: ignore[index]
        assert (east, north) == pytest.approx((13.7300491, 51.0576228), abs=1e-6)
    with Orthophoto(geotiff(tmp_path / "site.tif", cracked(), SITE)) as photo:
        assert photo.placed and photo.to_degrees(np.zeros((1, 2))) is None


def test_windows_give_what_the_whole_picture_gives(tmp_path: Path) -> None:
    image = cracked((700, 1100))
    with Orthophoto(geotiff(tmp_path / "a.tif", image)) as photo:
        seen: list[tuple[int, int]] = []

        def network(part: Picture) -> tuple[Picture, NDArray[np.float32]]:
            seen.append(part.shape[:2])
            return predict(part)

        out, likely = tmp_path / "classes.tif", tmp_path / "probability.tif"
        predict_orthophoto(photo, network, out, likely, window=512, overlap=20, colors={1: (255, 0, 0)})
        assert seen == [(532, 532), (532, 552), (532, 96), (208, 532), (208, 552), (208, 96)]
        with rasterio.open(out) as file, rasterio.open(tmp_path / "a.tif") as source, rasterio.open(likely) as shares:
            assert np.array_equal(file.read(1), image[0] < 100)
            assert (file.crs, file.transform) == (source.crs, source.transform) and file.colormap(1)[1] == (
                255,
                0,
                0,
                255,
            )
            assert set(np.unique(shares.read(1))) == {26, 230} and file.compression.name == "deflate"
        whole = measure_cracks(image[0] < 100)
        with mask_reader(out, 1, likely) as read:
            found = list(measure_streamed(read, photo.size, window=300, margin=60, width="mask"))
        assert sorted((c.length_px, c.area_px) for c in found) == sorted((c.length_px, c.area_px) for c in whole)
        assert all(0.85 < crack.probability < 0.95 for crack in found)


def test_pixels_without_data_are_background_and_not_looked_at(tmp_path: Path) -> None:
    image = cracked((600, 1100))
    image[:, :, 500:] = 0
    with Orthophoto(geotiff(tmp_path / "a.tif", image, nodata=0)) as photo:
        calls: list[Picture] = []

        def network(part: Picture) -> tuple[Picture, None]:
            calls.append(part)
            return predict(part)[0], None

        predict_orthophoto(photo, network, tmp_path / "classes.tif", window=512, overlap=0)
        assert len(calls) == 2
        with rasterio.open(tmp_path / "classes.tif") as file:
            assert np.array_equal(file.read(1)[:, :500], image[0, :, :500] < 100) and not file.read(1)[:, 500:].any()


def test_a_network_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def network(part: Picture) -> tuple[Picture, None]:
        raise UserError("no")

    with Orthophoto(geotiff(tmp_path / "a.tif", cracked())) as photo, pytest.raises(UserError, match="^no$"):
        predict_orthophoto(photo, network, tmp_path / "out" / "classes.tif")
    assert not list((tmp_path / "out").iterdir())


def records() -> list[CrackRecord]:
    return [CrackRecord.of(crack) for crack in measure_cracks(cracked()[0] < 100)]


def test_cracks_lie_on_the_map_where_other_programs_find_them(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked())) as photo:
        cracks = records()
        files = write_crack_map(photo, cracks, 2.0, tmp_path / "cracks.geojson", tmp_path / "cracks.gpkg")
        assert [file.name for file in files] == ["cracks.geojson", "cracks.gpkg"]
        corner = photo.to_degrees(np.zeros((1, 2)))[0]  # type: ignore[index]
    for file, crs in zip(files, (DEGREES, UTM), strict=True):
        assert pyogrio.list_layers(file)[0].tolist() == ["cracks", "MultiLineString"]
        info = pyogrio.read_info(file)
        assert info["crs"] == crs and info["features"] == len(cracks) == 2
        meta, _, _, values = pyogrio.raw.read(file)
        table = dict(zip(meta["fields"].tolist(), values, strict=True))
        assert table["number"].tolist() == [1, 2] and table["branches"].tolist() == [4, 1]
        assert table["length_mm"] == pytest.approx([2 * crack.length_px for crack in cracks], rel=1e-3)
        assert table["width_mean_mm"][1] == pytest.approx(6, abs=0.1) and table["width"][1] == "6.00 mm"
        assert not [name for name in table if name.endswith("_px")]
    west, south, east, north = pyogrio.read_bounds(files[1])[1][:, 1]
    assert (west - 411000, 5657000 - north) == pytest.approx((0.04, 0.403), abs=0.004)
    assert (east - 411000, 5657000 - south) == pytest.approx((0.139, 0.403), abs=0.004)
    assert pyogrio.read_info(files[1])["total_bounds"] == pytest.approx(
        (411000.02, 5656999.52, 411000.64, 5656999.96), abs=0.01
    )
    west, south, east, north = pyogrio.read_bounds(files[0])[1][:, 1]
    assert (west - corner[0]) * 111320 * math.cos(math.radians(51)) == pytest.approx(0.04, abs=0.01)
    assert (corner[1] - north) * 111200 == pytest.approx(0.403, abs=0.01)


def test_maps_without_a_place_are_in_px(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked(), None)) as photo:
        (file,) = write_crack_map(photo, records(), None, tmp_path / "cracks.geojson", tmp_path / "cracks.gpkg")
    meta, _, _, _ = pyogrio.raw.read(file)
    assert meta["crs"] is None or "Undefined" in meta["crs"]
    assert "length_px" in meta["fields"] and not [name for name in meta["fields"] if "mm" in name]
    west, _, _, north = pyogrio.read_bounds(file)[1][:, 1]
    assert (west, -north) == pytest.approx((20, 201.5), abs=2)


def test_a_map_without_cracks_is_a_map(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked(), SITE)) as photo:
        (file,) = write_crack_map(photo, [], 1.0, tmp_path / "cracks.geojson", tmp_path / "cracks.gpkg")
    assert pyogrio.read_info(file)["features"] == 0


def test_unresolved_widths_are_no_numbers(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    thin = CrackRecord(1, 50.0, 0.6, 0.7, 0.8, (1, 1), None, None, 40, (0, 0, 1, 50), 1, None, (((5, 5),),))
    with Orthophoto(geotiff(tmp_path / "a.tif", cracked())) as photo:
        (file,) = write_crack_map(photo, [thin], 2.0, None, tmp_path / "cracks.gpkg")
    meta, _, _, values = pyogrio.raw.read(file)
    table = dict(zip(meta["fields"].tolist(), values, strict=True))
    assert table["width"][0] == "< 2 mm" and np.isnan(table["width_max_mm"][0]) and table["length_mm"][0] == 100


def test_files_in_strips_get_memory_for_a_row_of_windows(tmp_path: Path) -> None:
    """Else every window would decode strips that are as wide as the file again."""
    from rasterio._env import get_gdal_config

    image = np.zeros((3, 64, 5000), np.uint8)
    before = get_gdal_config("GDAL_CACHEMAX")
    with Orthophoto(geotiff(tmp_path / "strips.tif", image)):
        assert get_gdal_config("GDAL_CACHEMAX") == 64 * 2**20 + 2048 * 5000 * 3
    with Orthophoto(geotiff(tmp_path / "tiles.tif", image, tiled=True, blockxsize=256, blockysize=256)):
        assert get_gdal_config("GDAL_CACHEMAX") == 64 * 2**20
    assert get_gdal_config("GDAL_CACHEMAX") == before


def test_orthophotos_are_told_from_photographs(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.tif")
    (tmp_path / "text.tif").write_text("no picture")
    assert is_orthophoto(geotiff(tmp_path / "map.tif", cracked()))
    assert not is_orthophoto(tmp_path / "photo.tif") and is_orthophoto(tmp_path / "photo.tif", megapixels=0.0005)
    assert not is_orthophoto(tmp_path / "text.tif") and not is_orthophoto(tmp_path / "map.jpg")


def test_without_rasterio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UserError, match=r"^rasterio is not installed: pip install prune-crackseg\[geo\]"):
        Orthophoto(tmp_path / "a.tif")


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(UserError, match="text.tif: expected a readable GeoTIFF, found: "):
        Orthophoto(tmp_path / "text.tif")
    with pytest.raises(UserError, match="missing.tif: no such file"):
        Orthophoto(tmp_path / "missing.tif")
    with pytest.raises(UserError, match="heights.tif: expected 8- or 16-bit integers, found float32"):
        Orthophoto(geotiff(tmp_path / "heights.tif", np.zeros((1, 5, 5), np.float32)))
