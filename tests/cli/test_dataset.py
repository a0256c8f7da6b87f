"""``python -m prune dataset`` end to end, near-duplicates, and the contact sheet."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from prune.cli import dataset as command
from prune.cli.dataset import DatasetOptions
from prune.data.duplicates import LARGEST_DISTANCE, near_duplicates, perceptual_hashes, thumbnail
from prune.data.find_split import find_split
from prune.data.labels import CRACK, S2DS
from prune.data.split_lists import write_lists
from prune.errors import PartlyDone
from prune.report.contact import COLUMNS, TILE, Section, contact_sheet, draw_tile
from tests.conftest import make_data, refused


def surface(seed: int, contrast: float = 25, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A concrete-like photograph: texture of all sizes around one gray, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    noise = sum(gaussian_filter(rng.normal(size=size), s) * s for s in (1, 3, 8))
    gray = 128 + contrast * np.asarray(noise)
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def recompressed(image: np.ndarray, scale: float = 0.75) -> np.ndarray:
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    picture.resize((round(picture.width * scale), round(picture.height * scale))).save(buffer, "JPEG", quality=60)
    return np.array(Image.open(buffer))


def write(folder: Path, stem: str, image: np.ndarray, crack: bool = True) -> None:
    """One pair in the folders images and masks."""
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    mask[10:13, 5:-5] = 255 * crack
    for name, array, suffix in (("images", image, "jpg"), ("masks", mask, "png")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / name / f"{stem}.{suffix}", quality=95)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data set with train, val and test; results land beside it."""
    monkeypatch.chdir(tmp_path)
    seeds = iter(range(100))
    for name, count in (("train", 6), ("val", 2), ("test", 3)):
        for number in range(count):
            write(tmp_path / "set" / name, f"{name}{number}", surface(next(seeds)), crack=number > 0)
    return tmp_path / "set"


def content(path: Path = Path("results/datasets/set/dataset.json")) -> dict:
    return json.loads(path.read_text())


# ---- near-duplicates


def test_a_recompressed_smaller_copy_is_found_and_nothing_else() -> None:
    photos = [surface(seed) for seed in range(40)]
    copies = [recompressed(photos[3]), recompressed(photos[7], 0.5), surface(99)]
    thumbnails = np.stack([thumbnail(photo) for photo in photos + copies])
    found = near_duplicates(thumbnails, [0] * 40 + [1] * 3)
    assert sorted((pair.first, pair.second) for pair in found) == [(3, 40), (7, 41)]
    assert all(pair.distance <= LARGEST_DISTANCE and pair.correlation > 0.95 for pair in found)


def test_copies_within_a_split_are_not_its_business() -> None:
    thumbnails = np.stack([thumbnail(surface(1))] * 3)
    assert near_duplicates(thumbnails, [0, 0, 0]) == []
    assert [(p.first, p.second, p.distance) for p in near_duplicates(thumbnails, [0, 0, 1])] == [(0, 2, 0), (1, 2, 0)]


def test_alike_hashes_of_different_textures_are_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    shading = gaussian_filter(rng.normal(size=(32, 32)), 1.2) * 60
    grains = rng.normal(size=(20, 32, 32))
    fine = 30 * (grains - gaussian_filter(grains, (0, 1, 1)))
    walls = np.clip(128 + shading + fine, 0, 255).astype(np.uint8)
    hashes = perceptual_hashes(walls)
    alike = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= LARGEST_DISTANCE
    assert np.triu(alike, 1).sum() > 100  # the hash alone errs
    assert near_duplicates(walls, list(range(20))) == []
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8) * 4, (2, 32, 32))
    assert near_duplicates(ramp, [0, 1]) == []  # nothing but shading: nothing to tell them apart by


def test_comparing_in_chunks_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = np.stack([thumbnail(surface(seed % 13)) for seed in range(30)])
    groups = [number % 3 for number in range(30)]
    whole = near_duplicates(thumbnails, groups)
    monkeypatch.setattr("prune.data.duplicates.ROWS", 4)
    assert near_duplicates(thumbnails, groups) == whole and len(whole) > 10
    assert near_duplicates(np.zeros((0, 32, 32), dtype=np.uint8), []) == []


# ---- the command


def test_the_command_describes_every_split(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([str(root)])
    shown = capsys.readouterr().out
    assert "train    6 images in" in shown and "images_masks: images/ + masks/, 2 classes" in shown
    assert "no near-duplicates across splits" in shown and "results/datasets/set/contact.png" in shown
    rows = {line.split("  ")[0]: line.split()[-3:] for line in shown.splitlines() if line}
    assert rows["images"] == ["6", "2", "3"] and rows["size in px (most common)"] == ["128x96"] * 3
    stored = content()
    train = stored["splits"]["train"]
    assert train["images"] == 6 and train["sizes"] == {"128x96": 6} and train["without_defect"] == ["train0"]
    assert train["pixel_share"]["Crack"] == pytest.approx(5 * 3 * 118 / (6 * 96 * 128))
    assert train["between_black_and_white"] == 0 and stored["problems"] == [] and stored["remarks"] == []


def test_labels_read_as_s2ds(root: Path) -> None:
    command.main([str(root / "test"), "--classes", "s2ds", "--output", "out", "--sheet", "0"])
    stored = content(Path("out/dataset.json"))
    assert list(stored["splits"]) == ["test"] and list(stored["splits"]["test"]["pixel_share"]) == list(S2DS.classes)
    assert stored["splits"]["test"]["pixel_share"]["Crack"] > 0 and not Path("out/contact.png").exists()


def test_damaged_files_are_listed_and_do_not_stop_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = root / "train/images/train2.jpg"
    image.write_bytes(image.read_bytes()[:500])
    (root / "train/masks/train3.png").unlink()
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(root / "test/masks/test1.png")
    with pytest.raises(PartlyDone, match=r"3 problems make files unusable, first: .*train3.jpg: no label") as caught:
        command.main([str(root)])
    assert caught.value.exit_code == 1
    shown = capsys.readouterr().out
    assert "3 problems" in shown and "train2.jpg: expected a readable image" in shown
    assert "test1.png: expected the size of its image, 128x96, found 6x5" in shown
    stored = content()
    assert len(stored["problems"]) == 3 and stored["splits"]["train"]["images"] == 4
    assert Path("results/datasets/set/contact.png").is_file()


def test_a_split_that_cannot_be_opened_is_a_problem_too(root: Path) -> None:
    for file in (root / "val/masks").iterdir():
        file.unlink()
    (root / "val/masks").rmdir()
    with pytest.raises(PartlyDone, match="1 problems? .*val: found images but neither"):
        command.main([str(root)])
    assert list(content()["splits"]) == ["train", "test"]
    with refused("val: found images") as caught:
        command.main([str(root / "val")])
    assert caught.value.exit_code == 2


def test_leaks_and_inverted_and_gray_masks_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "test", "copy", recompressed(surface(2), 1.0))
    for file in (root / "val/masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    file = root / "train/masks/train1.png"
    mask = np.array(Image.open(file))
    mask[40:60] = 100
    Image.fromarray(mask).save(file)
    command.main([str(root)])
    shown, stored = capsys.readouterr().out, content()
    assert "1 near-duplicate\n  train/train2 = test/copy" in shown
    assert stored["duplicates"][0]["first"] == "train/train2" and stored["duplicates"][0]["correlation"] > 0.95
    assert len(stored["remarks"]) == 1 and "val: crack covers 99% of the pixels: the masks look inverted" in shown
    assert "gray levels between black and white (3.5% of the pixels): crack above 127" in shown
    assert stored["splits"]["train"]["between_black_and_white"] == pytest.approx(20 / 96 / 6)


def test_sizes_and_a_missing_val_split(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "train", "large", surface(50, size=(200, 100)))
    write(root / "train", "small", surface(51, size=(40, 50)))
    (root / "val").rename(root.parent / "elsewhere")
    command.main([str(root)])
    shown, train = capsys.readouterr().out, content()["splits"]["train"]
    assert "128x96 (6)" in shown and "there is no val split: training holds out a tenth of train" in shown
    assert (train["smallest"], train["largest"]) == ("50x40", "100x200")


# ---- writing lists


def test_split_writes_lists_in_blocks_that_load_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = root.parent / "whole"
    for number in range(20):
        write(whole, f"p{number}", surface(number % 7, size=(40, 48)))
    command.main([str(whole), "--split", "70,10,20"])
    stems = {role: [p.stem for p in find_split(whole, None, role=role).pairs] for role in ("train", "val", "test")}
    assert {role: len(names) for role, names in stems.items()} == {"train": 14, "val": 2, "test": 4}
    assert sorted(name for names in stems.values() for name in names) == sorted(f"p{n}" for n in range(20))
    assert (whole / "val.txt").read_text() == "p14.jpg\np15.jpg\n"
    assert f"written to {whole / 'train.txt'}" in capsys.readouterr().out
    assert list(content(Path("results/datasets/whole/dataset.json"))["splits"]) == ["train", "val", "test"]
    before = (whole / "train.txt").read_text()
    with refused("--split: expected a folder without splits, found the splits train, val, test"):
        command.main([str(whole), "--split", "50,0,50"])
    with refused("found a list of names"):
        command.main([str(whole / "val.txt"), "--split", "50,0,50"])
    assert (whole / "train.txt").read_text() == before


def test_lists_are_not_overwritten_and_not_empty(root: Path) -> None:
    split = find_split(root / "train", None)
    with refused("--split: none of the 6 images is left for val"):
        write_lists(split, (0.98, 0.01, 0.01))
    (root / "train/test.txt").write_text("mine")
    with refused(r"test.txt exists already and is not overwritten"):
        write_lists(split, (0.5, 0, 0.5))
    assert sorted(f.name for f in (root / "train").glob("*.txt")) == ["test.txt"]


@pytest.mark.parametrize("text", ["70,10", "70,10,30", "a,b,c", "0,50,50", "70;10;20", "-10,10,100"])
def test_percents_that_are_none(text: str) -> None:
    with refused("--split: expected percents for train, val and test such as 70,10,20, found"):
        DatasetOptions(split=text)


def test_a_list_file_is_a_split(root: Path) -> None:
    (root / "train/some.txt").write_text("train1\ntrain2\n")
    command.main([str(root / "train/some.txt")])
    assert content(Path("results/datasets/some/dataset.json"))["splits"]["some"]["images"] == 2


# ---- the sheet


def test_tiles_outline_what_is_labeled_and_leave_the_rest() -> None:
    image = np.full((200, 640, 3), 120, dtype=np.uint8)
    label = np.zeros((200, 640), dtype=np.uint8)
    label[100, 50:600] = 1  # one pixel wide: half a pixel on the tile
    label[0:10, 0:10] = 255
    tile = draw_tile(image, label, CRACK.recolored("standard", on_photograph=True), "a")
    assert tile.picture.shape == (100, TILE, 3) and tile.defects == (1,)
    vivid = (tile.picture == (255, 0, 200)).all(axis=2)
    assert vivid[49].any() and vivid[51].any() and not vivid[50, 30:290].any()
    assert (tile.picture[:40] == 120).all()


def test_the_sheet_has_rows_of_tiles_and_cuts_long_captions() -> None:
    tiles = [draw_tile(surface(n), np.zeros((96, 128), np.uint8), CRACK, "long " * 40) for n in range(COLUMNS + 1)]
    one = contact_sheet([Section("train", tiles[:COLUMNS])], CRACK)
    two = contact_sheet([Section("train", tiles)], CRACK)
    assert two.shape[1] == one.shape[1] - 334 and two.shape[0] - one.shape[0] > tiles[0].picture.shape[0]
    # Five in rows of three leave one place empty, in rows of four three.
    assert one.dtype == np.uint8 and (one[:, :20] == 255).all() and (one[:, -20:] == 255).all()


def test_the_survey_of_other_data_is_not_replaced_silently(here: Path) -> None:
    data, other = make_data(here / "data", (2, 1, 1)), make_data(here / "other", (2, 1, 1))
    words = ["--output", "out", "--sheet", "0"]
    for _ in range(2):  # the same again
        command.main([str(data), *words])
    before = Path("out/dataset.json").read_bytes()
    with refused(r"dataset\.json was made with other settings, folder '.*data' instead of '.*other'.*--force"):
        command.main([str(other), *words])
    for more, name in ((["--classes", "crack"], "classes"), (["--mask_threshold", "9"], "mask_threshold")):
        with refused(rf"dataset\.json was made with other settings, {name} "):
            command.main([str(data), *words, *more])
    assert Path("out/dataset.json").read_bytes() == before
    command.main([str(other), *words, "--force"])
    assert json.loads(Path("out/dataset.json").read_text())["folder"] == str(other)
