from pathlib import Path

import numpy as np
import pytest
from tests.conftest import refused
import torch
from PIL import Image

from prune.data import images
from prune.data.dataset import SegmentationDataset, checked, class_pixels, training_loader, whole_images
from prune.data.images import read_color_label, read_id_label, read_image
from prune.data.labels import IGNORE_INDEX, S2DS
from prune.data.find_split import find_split
from prune.data.transforms import Augmentation, Preprocessing, RandomScaledCrop, training_transform
from prune.errors import UserError
from tests.conftest import draw_label, write_pair

RNG = np.random.default_rng(1)
PHOTO = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "jpg"])
def test_every_file_format_is_read(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PHOTO).save(tmp_path / f"a.{suffix}", quality=100)
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.shape == (12, 20, 3) and read.dtype == np.uint8
    if suffix != "jpg":
        assert np.array_equal(read, PHOTO)


def test_modes_other_than_rgb_become_rgb(tmp_path: Path) -> None:
    gray = PHOTO[:, :, 0]
    alpha = np.dstack([PHOTO, np.full(gray.shape, 7, np.uint8)])
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(alpha, "RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "wide.png")
    Image.fromarray(PHOTO).quantize(256).save(tmp_path / "palette.png")
    three = np.repeat(gray[:, :, None], 3, axis=2)
    assert np.array_equal(read_image(tmp_path / "gray.png"), three)
    assert np.array_equal(read_image(tmp_path / "wide.png"), three)
    assert np.array_equal(read_image(tmp_path / "rgba.png"), PHOTO)
    assert np.abs(read_image(tmp_path / "palette.png").astype(int) - PHOTO).mean() < 20


def test_exif_rotation_is_applied_to_pixels_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png"), np.rot90(PHOTO, -1))
    assert images.image_size(tmp_path / "turned.png") == (20, 12)


def test_damaged_files_are_named_in_one_line(tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("cut.png", "text.png", "empty.png"):
        with refused(f"{name}: expected a readable image") as caught:
            read_image(tmp_path / name)
        assert "\n" not in caught.value.message


def test_a_huge_image_is_refused_with_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_MEGAPIXELS", 1e-5)
    with refused("the limit is 1e-05"):
        read_image(tmp_path / "a.png")


def test_id_labels_map_ignored_ids_and_name_unknown_ones(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 6], [7, 255, 3]], dtype=np.uint8)
    Image.fromarray(ids).save(tmp_path / "good.png")
    assert read_id_label(tmp_path / "good.png", S2DS).tolist() == [[0, 1, 6], [255, 255, 3]]
    ids[0, 0] = 42
    Image.fromarray(ids).save(tmp_path / "bad.png")
    with refused(r"bad.png: expected ids 0 to 6 or 7/255 \(ignored\), found 42"):
        read_id_label(tmp_path / "bad.png", S2DS)
    Image.fromarray(PHOTO).save(tmp_path / "rgb.png")
    with refused("rgb.png: expected a single-channel label"):
        read_id_label(tmp_path / "rgb.png", S2DS)


def test_palette_label_keeps_its_ids(tmp_path: Path) -> None:
    label = draw_label(32, RNG)
    picture = Image.fromarray(label, "P")
    picture.putpalette(S2DS.palette.ravel().tolist() + [0] * (768 - 21))
    picture.save(tmp_path / "p.png")
    assert np.array_equal(read_id_label(tmp_path / "p.png", S2DS), label)


def test_color_labels_survive_compression_noise(tmp_path: Path) -> None:
    label = draw_label(64, RNG)
    noisy = S2DS.colorize(label).astype(int)
    noisy = np.where(noisy > 0, noisy - RNG.integers(0, 50, noisy.shape), noisy + RNG.integers(0, 60, noisy.shape))
    Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "noisy.png")
    assert np.array_equal(read_color_label(tmp_path / "noisy.png", S2DS), label)


@pytest.mark.parametrize("color", [(255, 0, 255), (128, 0, 0)])
def test_unknown_colors_are_named(tmp_path: Path, color: tuple[int, int, int]) -> None:
    picture = S2DS.colorize(draw_label(64, RNG))
    picture[10:20, 10:20] = color
    Image.fromarray(picture).save(tmp_path / "odd.png")
    with refused(rf"odd.png: expected the colors of s2ds labels, found color \({color[0]}"):
        read_color_label(tmp_path / "odd.png", S2DS)


def test_all_three_layouts_give_the_same_samples(tmp_path: Path) -> None:
    label = draw_label(32, RNG)
    for kind in ("ids", "colors"):
        write_pair(tmp_path / kind, "001", label, np.random.default_rng(0), kind)
    flat = tmp_path / "official"
    flat.mkdir()
    (flat / "001.png").write_bytes((tmp_path / "colors/Images/001.png").read_bytes())
    (flat / "001_lab.png").write_bytes((tmp_path / "colors/Labels_RGB/001.png").read_bytes())
    for kind in ("ids", "colors", "official"):
        split = find_split(tmp_path / kind, S2DS)
        assert split.layout == kind and [p.stem for p in split.pairs] == ["001"]
        assert np.array_equal(split.read_label(split.pairs[0]), label)


def test_pairing_is_by_stem_not_by_position(tmp_path: Path) -> None:
    for stem in ("b", "a", "c"):
        write_pair(tmp_path, stem, draw_label(16, RNG), RNG)
    pairs = find_split(tmp_path, S2DS).pairs
    assert [p.stem for p in pairs] == ["a", "b", "c"]
    assert all(p.image.stem == p.label.stem for p in pairs)


def test_unusable_folders_are_errors_that_name_them(tmp_path: Path) -> None:
    with refused("data folder .*nowhere not found"):
        find_split(tmp_path / "nowhere", S2DS)
    with refused(r"expected Images/ \+ Labels_grayscale/ or .* found nothing"):
        find_split(tmp_path, S2DS)
    (tmp_path / "Images").mkdir()
    with refused("neither Labels_grayscale nor Labels_RGB"):
        find_split(tmp_path, S2DS)
    (tmp_path / "Labels_grayscale").mkdir()
    with refused("found no image files"):
        find_split(tmp_path, S2DS)


def test_orphans_and_sizes_are_errors_that_name_the_file(tmp_path: Path) -> None:
    for stem in ("001", "002"):
        write_pair(tmp_path, stem, draw_label(32, RNG), RNG)
    (tmp_path / "Labels_grayscale/002.png").unlink()
    with refused("002.png: no label with the same stem"):
        find_split(tmp_path, S2DS)
    (tmp_path / "Images/002.png").unlink()
    Image.fromarray(draw_label(32, RNG)).save(tmp_path / "Labels_grayscale/003.png")
    with refused("003.png: no image with the same stem"):
        find_split(tmp_path, S2DS)
    (tmp_path / "Labels_grayscale/003.png").unlink()
    Image.fromarray(draw_label(48, RNG)).save(tmp_path / "Labels_grayscale/001.png")
    with refused("001.png: expected the size of its image, 32x32, found 48x48"):
        find_split(tmp_path, S2DS)
    Image.fromarray(PHOTO).save(tmp_path / "Images/001.tif")
    with refused("a second file with the stem '001'"):
        find_split(tmp_path, S2DS)


def test_fingerprint_follows_the_bytes(tmp_path: Path) -> None:
    write_pair(tmp_path, "001", draw_label(32, RNG), RNG)
    before = find_split(tmp_path, S2DS).fingerprint()
    assert find_split(tmp_path, S2DS).fingerprint() == before
    Image.fromarray(draw_label(32, RNG)).save(tmp_path / "Labels_grayscale/001.png")
    assert find_split(tmp_path, S2DS).fingerprint() != before


def test_padding_is_ignored_not_background(data: Path) -> None:
    dataset = SegmentationDataset(find_split(data / "train", S2DS), training_transform(Augmentation(160, (1.0, 1.0))))
    sample = dataset[(0, 0)]
    assert sample.image.shape == (3, 160, 160) and sample.image.dtype == torch.float32
    assert int((sample.label != IGNORE_INDEX).sum()) <= 64 * 64
    assert int((sample.label == 0).sum()) < 64 * 64


def test_image_and_mask_are_cut_alike() -> None:
    from torchvision import tv_tensors

    grid = torch.arange(40 * 50, dtype=torch.int32).remainder(200).to(torch.uint8).reshape(40, 50)
    crop = RandomScaledCrop(24, (1.0, 1.0))
    for seed in range(5):
        torch.manual_seed(seed)
        image, mask = crop(tv_tensors.Image(grid.expand(3, -1, -1)), tv_tensors.Mask(grid))
        assert torch.equal(image[0].as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor))


def test_samples_depend_on_seed_epoch_and_index_only(data: Path) -> None:
    split = find_split(data / "train", S2DS)
    transform = training_transform(Augmentation(48))
    one, two = SegmentationDataset(split, transform, seed=3), SegmentationDataset(split, transform, seed=3, cache=True)
    torch.manual_seed(0)
    first = one[(2, 1)]
    torch.manual_seed(99)
    assert torch.equal(first.image, two[(2, 1)].image) and torch.equal(first.label, two[(2, 1)].label)
    assert not torch.equal(first.image, one[(3, 1)].image)
    assert not torch.equal(first.image, SegmentationDataset(split, transform, seed=4)[(2, 1)].image)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_order_does_not_depend_on_workers(data: Path, workers: int) -> None:
    dataset = SegmentationDataset(find_split(data / "train", S2DS), training_transform(Augmentation(48)), seed=5)
    batches = list(checked(training_loader(dataset, 3, workers)))
    reference = list(checked(training_loader(dataset, 3, 0)))
    assert len(batches) == len(dataset) // 3
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(batches, reference, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_in_a_worker_stays_a_one_line_error(tmp_path: Path, workers: int) -> None:
    for stem in ("001", "002"):
        write_pair(tmp_path, stem, draw_label(64, RNG), RNG)
    file = tmp_path / "Images/002.png"
    file.write_bytes(file.read_bytes()[:900])
    dataset = SegmentationDataset(find_split(tmp_path, S2DS), training_transform(Augmentation(32)))
    with refused("002.png: expected a readable image") as caught:
        list(whole_images(dataset, workers))
    assert "Traceback" not in caught.value.message
    with refused("002.png: expected a readable image"):
        list(checked(training_loader(dataset, 2, workers)))


def test_class_pixels_counts_labeled_pixels(tmp_path: Path) -> None:
    label = np.zeros((10, 10), dtype=np.uint8)
    label[0] = 7
    label[1, :4] = 6
    write_pair(tmp_path, "1", label, RNG)
    assert class_pixels(SegmentationDataset(find_split(tmp_path, S2DS))).tolist() == [86, 0, 0, 0, 0, 0, 4]


def test_preprocessing_is_the_plain_formula() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    prepared = Preprocessing()
    expected = ((image / 255 - prepared.mean) / prepared.std).transpose(2, 0, 1)[None]
    found = prepared.normalize(image)
    assert found.dtype == np.float32 and found.shape == (1, 3, 5, 4)
    assert np.allclose(found, expected, rtol=0, atol=1e-6)
    assert Preprocessing.from_dict(prepared.to_dict()) == prepared
