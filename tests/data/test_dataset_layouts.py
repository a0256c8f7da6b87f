"""Every layout of the field through one entry point, and every way it can be wrong."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from prune.data import crackforest
from prune.data.crackforest import CrackForestLabels, read_mat, read_seg
from prune.data.dataset import SegmentationDataset, whole_images
from prune.data.find_split import DATASETS, LAYOUTS, find_split, hold_out
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.data.mask_files import label_files
from prune.data.split import cut_in_blocks, in_order
from prune.errors import UserError
from tests.conftest import draw_label, refused, write_pair

SIZE = (24, 32)
Writer = Callable[[Path, Sequence[str]], None]


def crack_of(stem: str) -> np.ndarray:
    """A crack whose place follows the name: bool (24, 32)."""
    mask = np.zeros(SIZE, dtype=bool)
    row = sum(stem.encode()) % 20
    mask[row : row + 2, 3:30] = True
    return mask


def write_image(file: Path, array: np.ndarray | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    photo = np.random.default_rng(sum(file.name.encode())).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(photo if array is None else array).save(file)


def write_mask(file: Path, stem: str, high: int = 255) -> None:
    write_image(file, (crack_of(stem) * high).astype(np.uint8))


def write_mat(file: Path, regions: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"groundTruth": {"Segmentation": regions.astype(np.uint16)}}, do_compression=True)


def write_seg(file: Path, regions: np.ndarray) -> None:
    """Runs of equal region in the Berkeley format."""
    lines = ["format ascii cr", f"width {regions.shape[1]}", f"height {regions.shape[0]}", "segments 4", "data"]
    for row, values in enumerate(regions):
        ends = [*np.flatnonzero(np.diff(values)), len(values) - 1]
        starts = [0, *(int(e) + 1 for e in ends[:-1])]
        lines += [f"{values[start]} {row} {start} {end}" for start, end in zip(starts, ends, strict=True)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def crack500(folder: Path, stems: Sequence[str], ending: str = "") -> None:
    for stem in stems:
        write_image(folder / f"{stem}.jpg")
        write_mask(folder / f"{stem}{ending}.png", stem)


def crack500_whole(folder: Path, stems: Sequence[str]) -> None:
    crack500(folder, stems, "_mask")


def pair_of_folders(
    folder: Path, stems: Sequence[str], names: tuple[str, str] = ("images", "masks"), high: int = 255
) -> None:
    for stem in stems:
        write_image(folder / names[0] / f"{stem}.jpg")
        write_mask(folder / names[1] / f"{stem}.png", stem, high)


def mat_files(folder: Path, stems: Sequence[str]) -> None:
    for stem in stems:
        write_image(folder / "image" / f"{stem}.jpg")
        write_mat(folder / "groundTruth" / f"{stem}.mat", crack_of(stem) + 1)


def seg_files(folder: Path, stems: Sequence[str]) -> None:
    for stem in stems:
        write_image(folder / "image" / f"{stem}.jpg")
        write_seg(folder / "seg" / f"{stem}.seg", crack_of(stem).astype(int))


def with_lists(folder: Path, stems: Sequence[str]) -> None:
    pair_of_folders(folder, stems, ("Images", "Masks"))
    (folder / "train.txt").write_text("\n".join(stems))


def deepcrack(root: Path, train: Sequence[str], test: Sequence[str] = ()) -> None:
    for name, stems in (("train", train), ("test", test)):
        if stems:
            pair_of_folders(root, stems, (f"{name}_img", f"{name}_lab"))


LAYOUT_WRITERS: dict[str, tuple[str, Writer]] = {
    "crops": ("crack500", crack500),
    "whole": ("crack500", crack500_whole),
    "mat": ("crackforest", mat_files),
    "seg": ("crackforest", seg_files),
    "folders": ("images_masks", pair_of_folders),
    "lists": ("crackseg9k", with_lists),
    "deepcrack": ("deepcrack", deepcrack),
}


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("kind", LAYOUT_WRITERS)
def test_every_layout_is_recognized_and_read(tmp_path: Path, kind: str, explicit: bool) -> None:
    dataset, write = LAYOUT_WRITERS[kind]
    write(tmp_path, ["b", "a10", "a2"])
    split = find_split(tmp_path, None, dataset=dataset if explicit else "auto")
    assert (split.dataset, split.layout, split.native, split.classes) == (dataset, dataset, CRACK, CRACK)
    assert [p.stem for p in split.pairs] == ["a10", "a2", "b"] and split.layout in LAYOUTS
    for pair in split.pairs:
        label = split.read_label(pair)
        assert label.dtype == np.uint8 and np.array_equal(label == 1, crack_of(pair.stem)) and label.max() == 1
        assert split.read_image(pair).shape == (*SIZE, 3)
    assert split.describe().startswith(f"{dataset}: ") and "2 classes" in split.describe()


@pytest.mark.parametrize("kind", LAYOUT_WRITERS)
def test_splits_travel_to_worker_processes(tmp_path: Path, kind: str) -> None:
    LAYOUT_WRITERS[kind][1](tmp_path, ["a", "b"])
    split = find_split(tmp_path, S2DS)
    copy = pickle.loads(pickle.dumps(split))
    assert copy == split and np.array_equal(copy.read_label(copy.pairs[0]), split.read_label(split.pairs[0]))


def test_a_loader_with_a_worker_reads_mat_files(tmp_path: Path) -> None:
    mat_files(tmp_path, ["a", "b"])
    samples = list(whole_images(SegmentationDataset(find_split(tmp_path, S2DS)), workers=1))
    assert [set(s.label.unique().tolist()) for s in samples] == [{0, 6}, {0, 6}]


@pytest.mark.parametrize("names", [("Image", "GT"), ("imgs", "Label"), ("IMG", "mask"), ("images", "labels")])
def test_names_of_folders_and_endings_of_masks(tmp_path: Path, names: tuple[str, str]) -> None:
    for stem, ending in (("a", "_mask"), ("b", "_Label"), ("c", "_gt"), ("d", ""), ("e_gt", ""), ("f_mask", "_mask")):
        write_image(tmp_path / names[0] / f"{stem}.png")
        write_mask(tmp_path / names[1] / f"{stem}{ending}.png", stem)
    split = find_split(tmp_path, None)
    assert split.dataset == "images_masks" and [p.stem for p in split.pairs] == ["a", "b", "c", "d", "e_gt", "f_mask"]
    assert f"{names[0]}/ + {names[1]}/" in split.describe()


# ---- class sets


def test_labels_are_joined_by_class_name(tmp_path: Path) -> None:
    label = draw_label(32, np.random.default_rng(0))
    label[0, :5] = 7
    write_pair(tmp_path / "s2ds", "1", label, np.random.default_rng(0))
    split = find_split(tmp_path / "s2ds", CRACK)
    expected = np.where(label == 7, IGNORE_INDEX, label == 6)
    assert split.native == S2DS and np.array_equal(split.read_label(split.pairs[0]), expected)
    assert "7 classes read as the 2 of crack" in split.describe()
    pair_of_folders(tmp_path / "masks", ["a"])
    split = find_split(tmp_path / "masks", S2DS)
    assert np.array_equal(split.read_label(split.pairs[0]), crack_of("a") * 6)
    shouting = ClassSet("own", ("Background", "Hole", "CRACK"), ((0, 0, 0), (9, 9, 9), (255, 255, 255)))
    split = find_split(tmp_path / "masks", shouting)
    assert np.array_equal(split.read_label(split.pairs[0]), crack_of("a") * 2)


def test_classes_without_anything_in_common_are_refused(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a"])
    foreign = ClassSet("foreign", ("class 0", "class 1"), ((0, 0, 0), (1, 1, 1)))
    with refused(r"data have the classes Background, Crack; .* found the classes class 0, class 1"):
        find_split(tmp_path, foreign)


def test_native_classes_of_s2ds(data: Path) -> None:
    split = find_split(data, None, role="val")
    assert split.classes is S2DS and split.dataset == "s2ds" and split.layout == "ids" and split.folder == data / "val"


# ---- gray masks


def test_gray_levels_are_cut_at_the_threshold_and_told(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a"])
    levels = np.zeros(SIZE, dtype=np.uint8)
    levels[0] = [0, 1, 127, 128, 200, 254, 255, 255] * 4
    write_image(tmp_path / "masks/a.png", levels)
    split = find_split(tmp_path, None)
    assert split.read_label(split.pairs[0])[0, :8].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert "gray levels between black and white (2.6% of the pixels): crack above 127" in split.describe()
    higher = find_split(tmp_path, None, threshold=200)
    assert higher.read_label(split.pairs[0])[0, :8].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_color_and_one_bit_masks(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b", "c"])
    write_image(tmp_path / "masks/b.png", np.dstack([crack_of("b").astype(np.uint8) * 255] * 3))
    Image.fromarray(crack_of("c")).save(tmp_path / "masks/c.png")
    split = find_split(tmp_path, None)
    assert Image.open(tmp_path / "masks/c.png").mode == "1"
    assert all(np.array_equal(split.read_label(p) == 1, crack_of(p.stem)) for p in split.pairs)


def test_masks_of_ids(tmp_path: Path) -> None:
    stems = [f"{i:03d}" for i in range(40)]
    pair_of_folders(tmp_path, stems, high=1)
    split = find_split(tmp_path, None)
    assert "ids 0 and 1" in split.describe()
    assert all(np.array_equal(split.read_label(p) == 1, crack_of(p.stem)) for p in split.pairs[:3])
    write_mask(tmp_path / "masks/001.png", "001")  # not one of those sampled
    split = find_split(tmp_path, None)
    with refused(r"001.png: expected ids 0 and 1 .* found the value 255"):
        split.read_label(split.pairs[1])


def test_ids_of_classes_and_mixed_spellings_are_no_masks_of_crack(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b"], high=6)
    with refused("masks: expected masks of crack and background, found ids of s2ds: .*Labels_gr"):
        find_split(tmp_path, None)
    write_image(tmp_path / "masks/b.png", 255 * crack_of("b").astype(np.uint8))
    with refused("masks of one coding, found ids of s2ds in a.png and black and white in b.png"):
        find_split(tmp_path, None)
    assert (
        find_split(tmp_path, None, threshold=5).read_label(find_split(tmp_path, None, threshold=5).pairs[0]).max() == 1
    )


def test_ignored_pixels_among_ids_0_and_1(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b"], high=1)
    label = crack_of("b").astype(np.uint8)
    label[0] = 255
    write_image(tmp_path / "masks/b.png", label)
    split = find_split(tmp_path, None)
    assert np.array_equal(split.read_label(split.pairs[1]), label)


def test_black_masks_do_not_decide_how_crack_is_spelled(tmp_path: Path) -> None:
    stems = [f"{i:03d}" for i in range(60)]
    pair_of_folders(tmp_path, stems, high=0)
    assert "all masks are black" in find_split(tmp_path, None).describe()
    write_mask(tmp_path / "masks/001.png", "001")  # not one of the first sampled
    split = find_split(tmp_path, None)
    assert np.array_equal(split.read_label(split.pairs[1]) == 1, crack_of("001"))


def test_masks_that_would_all_read_as_empty_are_refused(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b"], high=87)
    with refused("masks: expected masks with crack above 127, found no level above 87: set --mask_threshold below 87"):
        find_split(tmp_path, None)
    split = find_split(tmp_path, None, threshold=40)
    assert np.array_equal(split.read_label(split.pairs[0]) == 1, crack_of("a"))


# ---- CrackForest


REGIONS = np.array([[1, 2, 3, 3], [1, 2, 2, 3], [4, 1, 1, 1]])


def test_crack_is_regions_2_and_4_only(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", REGIONS)
    write_seg(tmp_path / "a.seg", REGIONS - 1)
    assert np.array_equal(read_mat(tmp_path / "a.mat"), REGIONS)
    assert np.array_equal(read_seg(tmp_path / "a.seg"), REGIONS - 1)
    for name in ("a.mat", "a.seg"):
        assert CrackForestLabels()(tmp_path / name).tolist() == [[0, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]]
        assert CrackForestLabels().size(tmp_path / name) == (3, 4)


def test_photographs_without_ground_truth_are_left_out_and_counted(tmp_path: Path) -> None:
    mat_files(tmp_path, ["001", "002"])
    seg_files(tmp_path, ["001", "002"])  # the official download has both
    for stem in ("201", "202", "203"):
        write_image(tmp_path / f"image/{stem}.jpg")
    split = find_split(tmp_path, None)
    assert [p.stem for p in split.pairs] == ["001", "002"] and all(p.label.suffix == ".mat" for p in split.pairs)
    assert "3 photographs without ground truth left out" in split.describe()
    (tmp_path / "image/002.jpg").unlink()
    with refused(r"002.mat: no image with the same stem"):
        find_split(tmp_path, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("width 4\nheight 3\n0 0 0 3\n", "expected a Berkeley segmentation"),
        ("width 4\ndata\n0 0 0 3\n", "no line height in the header"),
        ("width 4\nheight 2\ndata\n0 0 0 3\n", "4 pixels without a region"),
        ("width 4\nheight 1\ndata\n0 0 0 4\n", "runs outside the picture"),
        ("width 4\nheight 1\ndata\n0 0 0\n", "expected a Berkeley segmentation"),
        ("width 90000000\nheight 90000000\ndata\n", "a size of 90000000x90000000"),
        ("width 4\nheight 1\ndata\n7 0 0 3\n", "expected the regions 0 to 3, found 7"),
        ("width 4\nheight 1\ndata\n9223372036854775807 0 0 3\n", "the region 9223372036854775807"),
        ("width 4\nheight 1\ndata\n99999999999999999999999 0 0 3\n", "expected a Berkeley segmentation"),
        ("width 20000\nheight 10000\ndata\n0 0 0 3\n", "at least 199999996 pixels without a region"),
    ],
)
def test_damaged_seg_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.seg").write_text(content)
    with refused(f"x.seg: .*{message}"):
        CrackForestLabels()(tmp_path / "x.seg")


def test_damaged_mat_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.mat"
    file.write_bytes(b"no matlab at all")
    with refused(r"x.mat: expected a MATLAB file"):
        read_mat(file)
    write_mat(file, REGIONS)
    file.write_bytes(file.read_bytes()[:-20])
    with refused(r"x.mat: expected a MATLAB file"):
        read_mat(file)
    savemat(file, {"other": REGIONS})
    with refused(r"x.mat: expected the field groundTruth.Segmentation"):
        read_mat(file)
    write_mat(file, REGIONS + 3)
    with refused(r"x.mat: expected the regions 1 to 4, found 5"):
        CrackForestLabels()(file)
    write_mat(file, np.ones((900, 900)))
    monkeypatch.setattr(crackforest, "LARGEST_MAT", 100_000)
    with refused(r"x.mat: more than 0 MiB unpacked"):
        read_mat(file)


# ---- what does not fit


def test_an_unknown_data_set_lists_the_known(tmp_path: Path) -> None:
    with refused(f"--dataset: expected one of {', '.join(DATASETS)}, found 'cityscapes'"):
        find_split(tmp_path, None, dataset="cityscapes")


@pytest.mark.parametrize("dataset", DATASETS[1:])
def test_a_forced_layout_says_what_it_expected_and_what_it_found(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "notes.md").write_text("")
    write_image(tmp_path / "a.jpg")
    expected = LAYOUTS["ids" if dataset == "s2ds" else dataset]
    with pytest.raises(UserError) as caught:
        find_split(tmp_path, None, dataset=dataset)
    assert (
        f"{tmp_path}: expected {expected}" in caught.value.message and "found a.jpg, notes.md" in caught.value.message
    )


def test_two_layouts_in_one_folder_are_ambiguous(tmp_path: Path) -> None:
    crack500(tmp_path, ["a"])
    pair_of_folders(tmp_path, ["b"])
    with refused(r"fits the layouts of crack500 \(.*\) and images_masks \(.*\): say which with --dataset"):
        find_split(tmp_path, None)
    assert [p.stem for p in find_split(tmp_path, None, dataset="crack500").pairs] == ["a"]
    assert [p.stem for p in find_split(tmp_path, None, dataset="images_masks").pairs] == ["b"]


def test_official_s2ds_is_not_crack500(tmp_path: Path) -> None:
    label = draw_label(32, np.random.default_rng(0))
    Image.fromarray(S2DS.colorize(label)).save(tmp_path / "1_lab.png")
    Image.fromarray(S2DS.colorize(label)).save(tmp_path / "1.jpg")
    assert find_split(tmp_path, None).layout == "official"


def test_two_folders_of_masks_are_ambiguous(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a"])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 1 1")  # boxes of a detector, no masks
    assert find_split(tmp_path, None).describe().startswith("images_masks: images/ + masks/")
    write_mask(tmp_path / "labels/a.png", "a")
    with refused("expected one of the folders mask.* and label.*, found both"):
        find_split(tmp_path, None)


@pytest.mark.parametrize("kind", ["crops", "whole", "folders"])
def test_orphans_duplicates_sizes_and_empty_folders(tmp_path: Path, kind: str) -> None:
    LAYOUT_WRITERS[kind][1](tmp_path, ["a", "b", "c"])
    split = find_split(tmp_path, None)
    label = split.pairs[1].label
    write_image(label, np.zeros((10, 20), dtype=np.uint8))
    with refused(rf"{label.name}: expected the size of its image, 32x24, found 20x10"):
        find_split(tmp_path, None)
    label.unlink()
    with refused(r"b.jpg: no label with the same stem"):
        find_split(tmp_path, None)
    split.pairs[1].image.unlink()
    split.pairs[2].image.unlink()
    with refused(rf"{split.pairs[2].label.name}: no image with the same stem"):
        find_split(tmp_path, None)
    write_image(split.pairs[0].image.with_suffix(".jpeg"))
    with refused("a second file with the stem 'a' beside"):
        find_split(tmp_path, None)


def test_empty_folders(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    with refused(r"expected images/ \+ masks/, found no image files in it"):
        find_split(tmp_path, None)


def test_labels_of_a_split_folder_for_scoring(tmp_path: Path) -> None:
    crack500_whole(tmp_path / "c", ["a"])
    pair_of_folders(tmp_path / "p", ["a"])
    assert label_files(tmp_path / "c")[0] == {"a": tmp_path / "c/a_mask.png"}
    assert label_files(tmp_path / "p")[0] == {"a": tmp_path / "p/masks/a.png"}
    assert label_files(tmp_path / "p/masks")[0] == {"a": tmp_path / "p/masks/a.png"}


# ---- roots, roles, lists


def test_roles_of_a_root(tmp_path: Path) -> None:
    for name in ("Train", "valid", "test"):
        pair_of_folders(tmp_path / name, [name])
    for role, stem in (("train", "Train"), ("val", "valid"), ("test", "test")):
        split = find_split(tmp_path, None, role=role)
        assert [p.stem for p in split.pairs] == [stem] and split.folder == tmp_path / stem
    assert find_split(tmp_path / "test", None, role="train").pairs[0].stem == "test"
    with refused("expected one split, found train, val, test: name the folder"):
        find_split(tmp_path, None)


def test_a_root_without_the_split_lists_those_it_has(tmp_path: Path) -> None:
    pair_of_folders(tmp_path / "train", ["a", "b"])
    pair_of_folders(tmp_path / "val", ["c"])
    with refused("expected a split test, found train, val"):
        find_split(tmp_path, None, role="test")


def test_crops_of_crack500_are_preferred_and_told(tmp_path: Path) -> None:
    crack500(tmp_path / "traincrop/traincrop", ["a_1", "a_2"])  # as the archives unpack
    crack500_whole(tmp_path / "traindata/traindata", ["a"])
    crack500_whole(tmp_path / "valdata", ["v"])
    crack500(tmp_path / "testcrop", ["t_1"])
    split = find_split(tmp_path, None, role="train")
    assert split.folder == tmp_path / "traincrop/traincrop" and len(split.pairs) == 2
    assert "using traincrop, not traindata" in split.describe() and "X.jpg + X.png side by side" in split.describe()
    assert "X.jpg + X_mask.png side by side" in find_split(tmp_path, None, role="val").describe()
    assert [p.stem for p in find_split(tmp_path / "traindata", None).pairs] == ["a"]


def test_lists_of_crack500_name_image_and_mask(tmp_path: Path) -> None:
    crack500(tmp_path / "traincrop", ["a", "b", "c"])
    crack500(tmp_path / "testcrop", ["t"])
    (tmp_path / "train.txt").write_text("traincrop/c.jpg traincrop/c.png\n\n# note\ntraincrop/a.jpg traincrop/a.png\n")
    split = find_split(tmp_path / "train.txt", None)
    assert [p.stem for p in split.pairs] == ["a", "c"] and split.dataset == "crack500"
    assert "listed in train.txt" in split.describe()
    assert len(find_split(tmp_path, None, role="test").pairs) == 1  # folders come before lists
    (tmp_path / "train.txt").write_text("traincrop/c.jpg traincrop/a.png\n")
    with refused(r"train.txt, line 1: expected c.png as the label of traincrop/c.jpg, found"):
        find_split(tmp_path / "train.txt", None)


def test_lists_beside_folders(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b 1", "c", "d", "e.2"], ("Images", "Masks"))
    write_image(tmp_path / "Images/orphan.png")
    (tmp_path / "train.txt").write_text("a\nb 1.jpg\n")
    (tmp_path / "val.txt").write_text("Images/c.jpg\n")
    (tmp_path / "test.txt").write_text(
        "Images/d.jpg\tMasks/d.png\r\n\ufeffe.2\n".replace("\ufeff", ""), encoding="utf-8-sig"
    )
    stems = {role: [p.stem for p in find_split(tmp_path, None, role=role).pairs] for role in ("train", "val", "test")}
    assert stems == {"train": ["a", "b 1"], "val": ["c"], "test": ["d", "e.2"]}
    assert find_split(tmp_path, None, role="val").dataset == "crackseg9k"
    with refused("expected one split, found train, val, test"):
        find_split(tmp_path, None)
    with refused(r"orphan.png: no label with the same stem"):
        (tmp_path / "only").mkdir()
        for name in ("Images", "Masks"):
            (tmp_path / name).rename(tmp_path / "only" / name)
        find_split(tmp_path / "only", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nnowhere.jpg\n", r"train.txt, line 2: expected the name of an image in .*, found 'nowhere.jpg'"),
        ("Images/nowhere/a.jpg\n", r"line 1: expected the name of an image"),
        ("a\n\na.jpg\n", r"line 3: 'a.jpg' is listed a second time"),
        ("orphan", r"line 1: no label for the image 'orphan'"),
        ("# nothing\n\n", r"train.txt: expected one image name a line, found none"),
    ],
)
def test_names_that_are_wrong(tmp_path: Path, content: str, message: str) -> None:
    pair_of_folders(tmp_path, ["a", "b"])
    write_image(tmp_path / "images/orphan.jpg")
    (tmp_path / "train.txt").write_text(content)
    for folder in (tmp_path, tmp_path / "train.txt"):
        with refused(message):
            find_split(folder, None, role="train")


def test_lines_too_long_for_a_name(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b"])
    for line, message in (
        ("x" * 300, "train.txt, line 1: expected the name of an image"),
        (f"{'x' * 300}/a", "train.txt, line 1: expected the name of an image"),
        ("x" * 10_000, "train.txt, line 1: expected one image name a line, found a line of 10,000 characters"),
    ):
        (tmp_path / "train.txt").write_text(f"{line}\n")
        with refused(message):
            find_split(tmp_path / "train.txt", None)


def test_a_list_that_is_no_text_or_lies_beside_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with refused(r"train.txt: expected a list of names"):
        find_split(tmp_path / "train.txt", None)
    (tmp_path / "train.txt").write_text("a\n")
    with refused(r"expected Images/ \+ Labels_grayscale/ or .*, found train.txt"):
        find_split(tmp_path / "train.txt", None)


def test_lists_of_s2ds_and_in_a_folder_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for stem in ("1", "2", "3"):
        write_pair(tmp_path, stem, draw_label(32, rng), rng)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/fold1.txt").write_text("1\n3\n")
    split = find_split(tmp_path / "lists/fold1.txt", S2DS)
    assert split.layout == "ids" and [p.stem for p in split.pairs] == ["1", "3"]
    (tmp_path / "train.txt").write_text("2\n")
    assert [p.stem for p in find_split(tmp_path, S2DS).pairs] == ["2"]


def test_deepcrack_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deepcrack(tmp_path, [f"{i:02d}" for i in range(20)], ["t1", "t2"])
    whole = find_split(tmp_path / "train_img", None)
    assert len(whole.pairs) == 20 and whole.dataset == "deepcrack" and "train_img/ + train_lab/" in whole.describe()
    train, val = (find_split(tmp_path, None, role=role) for role in ("train", "val"))
    stems = [{p.stem for p in split.pairs} for split in (train, val)]
    assert not stems[0] & stems[1] and len(stems[0] | stems[1]) == 20 and len(stems[1]) == 2
    assert "2 of 20 images, held out" in val.describe() and "the other 2 of 20 images are held out" in train.describe()
    assert [p.stem for p in find_split(tmp_path, None, role="test").pairs] == ["t1", "t2"]
    monkeypatch.chdir(tmp_path / "train_img")
    assert len(find_split(Path(), None).pairs) == 20
    (tmp_path / "alone_img").mkdir()
    with refused(r"alone_img: expected train_img/ \+ train_lab/, found nothing"):
        find_split(tmp_path / "alone_img", None, dataset="deepcrack")


# ---- holding out


def test_hold_out_is_deterministic_disjoint_and_in_blocks(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, [f"photo{i}" for i in range(100)])
    split = find_split(tmp_path, None)
    rest, held = hold_out(split, 0.16)
    assert hold_out(split, 0.16) == (rest, held)
    assert len(held.pairs) == 16 and sorted([*rest.pairs, *held.pairs], key=lambda p: p.stem) == list(split.pairs)
    numbers = sorted(int(p.stem.removeprefix("photo")) for p in held.pairs)
    runs = np.split(np.array(numbers), np.flatnonzero(np.diff(numbers) > 1) + 1)
    assert [len(run) for run in runs] == [4, 4, 4, 4]  # neighbors by number, not by alphabet
    assert all(25 * i <= run[0] and run[-1] < 25 * (i + 1) for i, run in enumerate(runs))


def test_at_least_one_is_held_out_and_at_least_one_kept(tmp_path: Path) -> None:
    pair_of_folders(tmp_path, ["a", "b"])
    split = find_split(tmp_path, None)
    for share in (0.001, 0.999):
        assert [len(part.pairs) for part in hold_out(split, share)] == [1, 1]
    (tmp_path / "images/b.jpg").unlink()
    (tmp_path / "masks/b.png").unlink()
    with refused("expected at least 2 images to hold some out, found 1"):
        hold_out(find_split(tmp_path, None))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 118, 537, 3368])
@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.45, 0.1, 0.45), (0.5, 0, 0.5), (1.0, 0, 0)])
def test_blocks_have_the_shares_that_were_asked(count: int, shares: tuple[float, ...]) -> None:
    parts = cut_in_blocks(count, shares)
    assert parts.shape == (count,)
    for part, share in enumerate(shares):
        found = int((parts == part).sum())
        assert abs(found - share * count) <= 1 + 0.5 * (share * count) ** 0.5
        assert found > 0 or share * count < 1


def test_names_are_ordered_as_people_number_them() -> None:
    assert in_order(["a10", "a2", "b1", "a2b", "3", "x²"]) == ["3", "a2", "a2b", "a10", "b1", "x²"]
