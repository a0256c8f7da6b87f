"""Corrected pairs: exact pixels, through the data room and ``score``."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prune
from prune.data.find_split import find_split
from prune.data.images import read_image
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.web.correction import plain_name, s2ds_ids, saved_pair
from tests.conftest import refused

PHOTO = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
CRACKS = np.array([[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 1, 255, 0, 0]], np.uint8)
OTHER_ORDER = ClassSet("own", ("Background", "crack", "SPALLING", "Rust"), ((0, 0, 0),) * 4)


def test_a_saved_pair_comes_back_pixel_by_pixel_with_the_ids_of_s2ds(tmp_path: Path) -> None:
    file = saved_pair(PHOTO, CRACKS, CRACK, tmp_path / "new" / "pairs", "wall")
    assert file == tmp_path / "new/pairs/Labels_grayscale/wall.png"
    split = find_split(tmp_path / "new/pairs", None)
    assert [pair.stem for pair in split.pairs] == ["wall"] and split.dataset == "s2ds"
    assert (read_image(split.pairs[0].image) == PHOTO).all()
    assert (split.read_label(split.pairs[0]) == np.where(CRACKS == 1, 6, CRACKS)).all()
    as_cracks = find_split(tmp_path / "new/pairs", CRACK)
    assert (as_cracks.read_label(as_cracks.pairs[0]) == CRACKS).all()


def test_saved_labels_can_be_scored(tmp_path: Path) -> None:
    file = saved_pair(PHOTO, CRACKS % 255, CRACK, tmp_path / "pairs", "wall")
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.where(CRACKS == 1, 255, 0).astype(np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(masks / "wall.png")
    scores = prune.score(masks, file.parent.parent, classes="crack")
    assert scores.summary["crack_iou"] == pytest.approx(4 / 5)


def test_classes_are_joined_by_name() -> None:
    class_map = np.array([[0, 1, 2, 255]], np.uint8)
    assert s2ds_ids(class_map, OTHER_ORDER).tolist() == [[0, 6, 5, 255]]
    assert s2ds_ids(np.array([[0, 1, 6, 7, 255]], np.uint8), S2DS).tolist() == [[0, 1, 6, 7, 255]]


def test_a_class_s2ds_does_not_have_is_refused_where_it_occurs(tmp_path: Path) -> None:
    with refused("^expected the classes Control Point, .*, Crack in a correction, found Rust$"):
        saved_pair(PHOTO[:1, :4], np.array([[0, 1, 2, 3]], np.uint8), OTHER_ORDER, tmp_path, "wall")
    assert not any(tmp_path.rglob("*.png"))
    unknown = ClassSet("own", ("Background", "Rust"), ((0, 0, 0),) * 2)
    assert s2ds_ids(np.array([[0, 255]], np.uint8), unknown).tolist() == [[0, 255]]


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    with refused("^expected a class map of the photograph's size, 5x4, found 4x4$"):
        saved_pair(PHOTO, CRACKS[:, :4], CRACK, tmp_path, "wall")
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images" / "Wall.jpg").write_bytes(b"other")
    files = [saved_pair(PHOTO, CRACKS, CRACK, tmp_path, "wall").name for _ in range(2)]
    assert files == ["wall_2.png", "wall_3.png"]
    assert (tmp_path / "Images" / "Wall.jpg").read_bytes() == b"other"


def test_a_pair_that_a_killed_page_half_named_is_finished_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Path] = []

    def replace(self: Path, target: Path) -> None:
        if named:
            os._exit(9)
        named.append(target)
        os.replace(self, target)  # noqa: PTH105

    if os.fork() == 0:
        monkeypatch.setattr(Path, "replace", replace)
        saved_pair(PHOTO, CRACKS, CRACK, tmp_path, "wall")
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
    with refused("Labels_grayscale/wall.png: no image with the same stem"):
        find_split(tmp_path, None)
    (tmp_path / "Images" / ".other.01234567.writing.png").write_bytes(b"of a label that is not there")
    assert saved_pair(PHOTO + 1, CRACKS, CRACK, tmp_path, "wall").name == "wall_2.png"
    pairs = find_split(tmp_path, None).pairs
    assert [pair.stem for pair in pairs] == ["wall", "wall_2"] and (read_image(pairs[0].image) == PHOTO).all()


def test_visitors_who_save_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    threads = [threading.Thread(target=saved_pair, args=(PHOTO, CRACKS, CRACK, tmp_path, "a")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(find_split(tmp_path, None).pairs) == 6


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Brücke 7", "Brucke_7"),
        ("../../etc/passwd", "etc_passwd"),
        ("", "photo"),
        ("墙", "photo"),
        ("a" * 300, "a" * 80),
    ],
)
def test_names_are_plain(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text("a file")
    with refused(f"^cannot create the folder {tmp_path}/pairs: "):
        saved_pair(PHOTO, CRACKS, CRACK, tmp_path / "pairs", "wall")
