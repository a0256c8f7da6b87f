from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from prune.data.find_split import SPLITS
from prune.data.labels import S2DS
from prune.errors import UserError
from prune.options import SURFACES
from prune.synthetic import Scene, draw_scene, split_counts, synthesize
from tests.conftest import refused

KINDS = ("Images", "Labels_grayscale", "Labels_RGB")
CRACK_ID = S2DS.classes.index("Crack")
AREAL = ("Control Point", "Vegetation", "Efflorescence", "Corrosion", "Spalling")


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(128, np.random.default_rng([0, number])) for number in range(20)]


@pytest.fixture(scope="module")
def shares(scenes: list[Scene]) -> NDArray[np.float64]:
    return np.array([np.bincount(scene.label.ravel(), minlength=7) / scene.label.size for scene in scenes])


@pytest.mark.parametrize("size", [64, 97, 192])
def test_scene_has_the_documented_arrays(size: int) -> None:
    scene = draw_scene(size, np.random.default_rng(1))
    assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
    assert scene.label.shape == (size, size) and scene.label.dtype == np.uint8
    assert scene.label.max() < len(S2DS)


def test_every_class_is_frequent(shares: NDArray[np.float64]) -> None:
    present = (shares > 0).mean(axis=0)
    assert (present >= 0.4).all(), dict(zip(S2DS.classes, present, strict=True))


def test_background_dominates_and_class_shares_are_realistic(shares: NDArray[np.float64]) -> None:
    mean = {name: share[share > 0].mean() for name, share in zip(S2DS.classes, shares.T, strict=True)}
    assert mean["Background"] > 0.75
    assert 0.004 < mean["Crack"] < 0.025
    for name in AREAL:
        assert 0.015 < mean[name] < 0.1, (name, mean[name])


def test_cracks_are_darker_than_their_surroundings(scenes: list[Scene]) -> None:
    crack_id = S2DS.classes.index("Crack")
    cracked = [scene for scene in scenes if (scene.label == crack_id).sum() > 20]
    for scene in cracked:
        gray, crack = scene.image.mean(axis=2), scene.label == crack_id
        near = ndimage.binary_dilation(crack, iterations=6) & ~ndimage.binary_dilation(crack, iterations=2)
        assert gray[crack].mean() < 0.75 * gray[near & (scene.label == 0)].mean()


@pytest.mark.parametrize(
    ("name", "channels"), [("Vegetation", (1, 0)), ("Vegetation", (1, 2)), ("Corrosion", (0, 1)), ("Corrosion", (1, 2))]
)
def test_plants_are_green_and_rust_is_orange(scenes: list[Scene], name: str, channels: tuple[int, int]) -> None:
    more, less = channels
    colors = np.concatenate([scene.image[scene.label == S2DS.classes.index(name)] for scene in scenes]).astype(float)
    assert colors[:, more].mean() > 1.15 * colors[:, less].mean()


def test_lime_is_brighter_than_the_wall(scenes: list[Scene]) -> None:
    lime_id = S2DS.classes.index("Efflorescence")
    brighter = [
        scene.image[scene.label == lime_id].mean() > scene.image[scene.label == 0].mean() + 15
        for scene in scenes
        if (scene.label == lime_id).sum() > 100
    ]
    assert np.mean(brighter) > 0.8


def test_writes_the_documented_layout(tmp_path: Path) -> None:
    summary = synthesize(tmp_path, 7, 64, 3)
    stems = {"train": ["000", "001", "002", "003", "004"], "val": ["005"], "test": ["006"]}
    expected = {f"{split}/{kind}/{stem}.png" for split in SPLITS for kind in KINDS for stem in stems[split]}
    assert set(content(tmp_path)) == expected
    image, ids, colors = (pixels(tmp_path / "val" / kind / "005.png") for kind in KINDS)
    scene = draw_scene(64, np.random.default_rng([3, 5]))
    assert np.array_equal(image, scene.image) and np.array_equal(ids, scene.label)
    assert np.array_equal(colors, S2DS.colorize(scene.label))
    assert summary.counts == {"train": 5, "val": 1, "test": 1} and summary.pixels.sum() == 7 * 64 * 64
    text = str(summary)
    assert str(tmp_path) in text and "train 5" in text and all(name in text for name in S2DS.classes)


def test_same_seed_gives_the_same_bytes_and_another_seed_another_picture(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthesize(tmp_path / name, 3, 64, seed)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    one, other = content(tmp_path / "a"), content(tmp_path / "c")
    assert all(one[name] != other[name] for name in one if "Images" in name)


def test_an_image_does_not_depend_on_how_many_are_drawn(tmp_path: Path) -> None:
    synthesize(tmp_path / "few", 3, 64, 5)
    synthesize(tmp_path / "more", 8, 64, 5)
    few, more = ({Path(n).name: b for n, b in content(tmp_path / d).items() if "Images" in n} for d in ("few", "more"))
    assert set(few) <= set(more) and all(few[name] == more[name] for name in few)


@pytest.mark.parametrize(
    ("images", "expected"), [(3, (1, 1, 1)), (20, (14, 3, 3)), (60, (42, 9, 9)), (100, (70, 15, 15))]
)
def test_split_counts(images: int, expected: tuple[int, int, int]) -> None:
    assert split_counts(images) == dict(zip(("train", "val", "test"), expected, strict=True))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((2, 64, 0), "--images: expected at least 3, one per split, found 2"),
        ((3, 63, 0), "--size: expected at least 64 px, found 63"),
        ((3, 64, -1), "--seed: expected at least 0, found -1"),
    ],
)
def test_refuses_impossible_numbers(tmp_path: Path, numbers: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UserError) as error:
        synthesize(tmp_path / "out", *numbers)
    assert error.value.message == message and not (tmp_path / "out").exists()


def test_refuses_to_overwrite_unless_forced(tmp_path: Path) -> None:
    synthesize(tmp_path, 3, 64, 0)
    before = content(tmp_path)
    with refused("train already contains files: choose another folder or add --force"):
        synthesize(tmp_path, 3, 64, 1)
    assert content(tmp_path) == before
    synthesize(tmp_path, 3, 64, 1, force=True)
    assert set(content(tmp_path)) == set(before) and content(tmp_path) != before


def test_force_leaves_files_of_others_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "val" / "Images" / "photo.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    with refused(r"photo\.png does not belong to the new set"):
        synthesize(tmp_path, 3, 64, 0, force=True)
    assert content(tmp_path) == {"val/Images/photo.png": b"precious"}


@pytest.fixture(scope="module")
def roads() -> list[Scene]:
    return [draw_scene(128, np.random.default_rng([1, number]), "asphalt") for number in range(20)]


def test_pavement_has_cracks_and_plants_only(roads: list[Scene]) -> None:
    names = {S2DS.classes[number] for scene in roads for number in np.unique(scene.label)}
    assert names == {"Background", "Vegetation", "Crack"}
    share = np.array([(scene.label == CRACK_ID).mean() for scene in roads])
    assert 0.6 <= (share > 0).mean() < 1 and 0.004 < share[share > 0].mean() < 0.05


def test_cracks_of_pavement_are_darker_but_less_so_than_in_concrete(roads: list[Scene], scenes: list[Scene]) -> None:
    def contrast(drawn: list[Scene]) -> float:
        ratios = []
        for scene in drawn:
            gray, crack = scene.image.mean(axis=2), scene.label == CRACK_ID
            near = ndimage.binary_dilation(crack, iterations=6) & ~ndimage.binary_dilation(crack, iterations=2)
            if crack.sum() > 20:
                ratios.append(gray[crack].mean() / gray[near & (scene.label == 0)].mean())
        return float(np.median(ratios))

    assert contrast(scenes) < contrast(roads) < 0.9


def test_a_mixed_set_has_both_surfaces_and_the_default_is_concrete() -> None:
    drawn = [[draw_scene(64, np.random.default_rng([2, n]), kind).label.max() for n in range(12)] for kind in SURFACES]
    concrete, asphalt, mixed = (np.array(labels) for labels in drawn)
    assert len(mixed) == 12 and not (mixed == concrete).all() and not (mixed == asphalt).all()
    first, second = (draw_scene(64, np.random.default_rng(4), *more).image for more in ((), ("concrete",)))
    assert np.array_equal(first, second)


def test_another_surface_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with refused("--surface: expected one of concrete, asphalt, mixed, found 'ice'"):
        synthesize(tmp_path / "a", 3, 64, 0, surface="ice")
    assert not (tmp_path / "a").exists()
