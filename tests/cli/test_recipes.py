import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torchvision import tv_tensors

from prune.cli import train
from prune.cli.inference import InferenceOptions
from prune.cli.train import TrainOptions
from prune.cli.verbs import parse
from prune.data.labels import IGNORE_INDEX
from prune.data.preprocessing import Preprocessing
from prune.data.transforms import augmentation, training_transform
from prune.models import ARCHITECTURES
from prune.options import check, option
from prune.recipes import ONE_RUN, known_recipes, read_recipe, recipe_file, recipe_settings
from prune.training.losses import make_loss
from prune.training.settings import AUGMENTATIONS
from tests.cli.test_commands import error_of
from tests.conftest import ROOT, TINY, refused

NAMES = "attention_unet, crack500_unet, cracksense, hrsegnet, unet_pretrained"


def settings(*words: str) -> TrainOptions:
    return parse(TrainOptions, "", list(words))


def write(folder: Path, text: str) -> str:
    (folder / "mine.ini").write_text(text, encoding="utf-8")
    return str(folder / "mine.ini")


@pytest.mark.parametrize("name", known_recipes())
def test_every_recipe_is_made_of_flags_and_names_what_exists(name: str) -> None:
    config = settings("--recipe", name)
    assert config.recipe == name and config.model in ARCHITECTURES
    assert config.optimizer != "sgd" or config.momentum == 0.9
    make_loss(config.loss)
    text = recipe_file(name).read_text(encoding="utf-8")
    assert text.startswith("#") and all(len(line) <= 120 for line in text.splitlines())


def test_the_settings_of_the_known_systems() -> None:
    assert ", ".join(known_recipes()) == NAMES
    expected = {
        "cracksense": {
            "model": "deeplabv3_resnet101", "epochs": 400, "patience": 20, "monitor": "loss", "crop_size": 512,
            "loss": "ce", "class_weights": "crack=2", "optimizer": "adam", "lr": 1e-3,
            "weight_decay": 0.0, "scheduler": "constant", "warmup_epochs": 0.0, "clip": 0.0,
        },
        "crack500_unet": {
            "model": "unet", "loss": "dice", "optimizer": "adam", "lr": 1e-5, "weight_decay": 1e-8,
            "scheduler": "plateau", "plateau_patience": 5, "plateau_factor": 0.1, "min_lr": 1e-8,
            "amp": "auto", "augment": "flips", "crop_size": 640, "scale_min": 1.0, "scale_max": 1.0,
        },
        "attention_unet": {
            "model": "attention_unet", "crop_size": 256, "loss": "bce", "optimizer": "adam", "lr": 1e-4, "epochs": 50,
            "scheduler": "constant",
        },
        "hrsegnet": {
            "model": "hrsegnet_b16", "crop_size": 400, "aux_weight": 1.0, "optimizer": "sgd", "momentum": 0.9,
            "lr": 0.01, "weight_decay": 5e-4, "scheduler": "poly", "poly_power": 0.9, "batch_size": 32,
        },
        "unet_pretrained": {
            "model": "unet_resnet34", "weights": "auto", "optimizer": "sgd", "lr": 1e-3, "momentum": 0.9,
            "weight_decay": 1e-4, "batch_size": 8, "epochs": 10, "loss": "bce",
            "scheduler": "constant", "crop_size": 448,
        },
    }  # fmt: skip
    for name, values in expected.items():
        found = recipe_settings(TrainOptions, name)
        assert {key: found.get(key) for key in values} == values


def test_flags_win_over_the_recipe_and_the_recipe_over_defaults(tmp_path: Path) -> None:
    file = write(
        tmp_path, "\ufefflr = 0.25  # a comment\r\n[train]\n; another\n  batch_size=4\ncache = yes\nLOSS = focal\n"
    )
    config = settings("a", "b", "c", "--lr", "0.5", "--recipe", file, "--cache", "False")
    assert (config.lr, config.batch_size, config.cache, config.loss) == (0.5, 4, False, "focal")
    assert (config.train_dir, config.recipe, config.epochs) == ("a", file, TrainOptions.epochs)
    assert settings("--recipe", write(tmp_path, "# nothing\n")) == dataclasses.replace(TrainOptions(), recipe=file)
    assert (
        settings("--recipe", write(tmp_path, "class_weights = crack=2,spalling=3")).class_weights
        == "crack=2,spalling=3"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning = 1", r"mine.ini: expected names of flags, found 'learning': "),
        ("crop-size = 64", r"mine.ini: expected names of flags, found 'crop-size': did you mean crop_size\?"),
        ("qqqq = 64", r"mine.ini: expected names of flags, found 'qqqq': --help lists them"),
        ("lr = fast", r"mine.ini: --lr: invalid float value: 'fast'"),
        ("epochs = 1.5", r"mine.ini: --epochs: invalid int value: '1.5'"),
        ("epochs = -3", r"mine.ini: --epochs: expected at least 1, found -3"),
        ("cache = perhaps", r"mine.ini: --cache: expected True or False, found 'perhaps'"),
        ("loss = hinge", r"mine.ini: --loss: expected one of ce, .*found 'hinge'"),
        ("scale_min = 1\nscale_max = 0.5", r"mine.ini: --scale_max: expected at least --scale_min 1.0, found 0.5"),
        ("lr =", r"mine.ini: --lr: invalid float value: ''"),
        ("# text\nlr 0.1\n", r"mine.ini, line 2: expected key = value, found 'lr 0.1'"),
        ("lr = 1\nlr = 2", r"mine.ini: expected lr once, found it twice"),
        ("train_dir = data", r"mine.ini: train_dir belongs to one run, not into a recipe: give it on the command line"),
        ("name = a", r"mine.ini: name belongs to one run"),
        ("resume = True", r"mine.ini: resume belongs to one run"),
        ("recipe = cracksense", r"mine.ini: recipe belongs to one run"),
        ("trust_pickle = True", r"mine.ini: trust_pickle belongs to one run"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    with refused(message):
        settings("--recipe", write(tmp_path, text))


def test_unknown_and_unreadable_recipes_list_the_known(tmp_path: Path) -> None:
    with refused(f"--recipe: expected one of {NAMES} or a file, found 'magic'$"):
        settings("--recipe", "magic")
    with refused(r"found 'crack_sense', did you mean cracksense\?"):
        settings("--recipe", "crack_sense")
    (tmp_path / "model.pth").write_bytes(b"\x80\x04\xff\xfe")
    with refused(f"--recipe: .*model.pth: expected one of {NAMES} or a text file of key = value lines, found no text"):
        settings("--recipe", str(tmp_path / "model.pth"))
    for name in ("", str(tmp_path)):
        with refused("--recipe: expected one of"):
            settings("--recipe", name)


def test_configs_with_and_without_a_recipe_are_parsed_alike(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Other:
        recipe: str | None = option(None, "settings")
        depth: int = option(3, "how deep", low=1)

        def __post_init__(self) -> None:
            check(self)

    assert parse(Other, "", ["--recipe", write(tmp_path, "depth = 5")]).depth == 5
    assert parse(Other, "", []).depth == 3
    with refused("found 'lr'"):
        parse(Other, "", ["--recipe", write(tmp_path, "lr = 5")])
    assert parse(InferenceOptions, "", ["--opacity", "0.25"]).opacity == 0.25


def test_what_belongs_to_one_run_exists() -> None:
    assert {field.name for field in dataclasses.fields(TrainOptions)} >= set(ONE_RUN)


def test_a_run_records_what_its_recipe_said(data: Path, here: Path) -> None:
    file = write(here, "epochs = 1\nlr = 0.002\nloss = bce_dice\naugment = flips\noptimizer = sgd\n")
    train.main(
        [
            str(data / "train"),
            str(data / "val"),
            "a",
            "--recipe",
            "mine.ini",
            *TINY,
            "--weights",
            "none",
            "--lr",
            "0.001",
        ]
    )
    stored = json.loads(Path("results/runs/a/config.json").read_text(encoding="utf-8"))
    expected = {
        "recipe": "mine.ini",
        "lr": 0.001,
        "loss": "bce_dice",
        "augment": "flips",
        "optimizer": "sgd",
        "epochs": 1,
    }
    assert {key: stored[key] for key in expected} == expected and file.endswith("mine.ini")


def test_the_command_says_it_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, "lerning_rate = 1\nlr = 1\n")
    error = error_of(train.main, ["--recipe", "mine.ini"], capsys)
    assert error.startswith("error: mine.ini: expected names of flags, found 'lerning_rate'")


def test_the_files_are_part_of_the_package() -> None:
    assert '"prune.recipes" = ["*.ini"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def variants(kind: str, scale: tuple[float, float] = (1.0, 1.0)) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What 40 draws make of one picture that is exactly one crop, before normalization."""
    plain = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    transform = training_transform(augmentation(kind, 32, scale, plain))
    rng = torch.Generator().manual_seed(1)
    image = tv_tensors.Image(torch.randint(0, 256, (3, 32, 32), generator=rng, dtype=torch.uint8))
    label = tv_tensors.Mask(torch.randint(0, 7, (32, 32), generator=rng, dtype=torch.uint8))
    torch.manual_seed(0)
    drawn = [transform(image, label) for _ in range(40)]
    # Back to gray levels, so that pictures can be compared exactly.
    return [(image, label), *(((a * 255).round().to(torch.uint8), b) for a, b in drawn)]


def test_no_augmentation_leaves_the_crop_as_it_is() -> None:
    (image, label), *drawn = variants("none")
    assert all(torch.equal(a, image) and torch.equal(b, label) for a, b in drawn)
    assert not torch.equal(variants("none", (0.5, 0.5))[1][0], image)


def test_flips_only_flip_image_and_label_together() -> None:
    (image, label), *drawn = variants("flips")
    ways = [(), (-1,), (-2,), (-2, -1)]
    seen = set()
    for a, b in drawn:
        fitting = [way for way in ways if torch.equal(a, image.flip(way)) and torch.equal(b, label.flip(way))]
        assert len(fitting) == 1
        seen.add(fitting[0])
    assert seen == set(ways)


def test_a_wide_picture_is_padded_to_the_square_with_ignored_pixels() -> None:
    transform = training_transform(augmentation("flips", 64, (1.0, 1.0), Preprocessing()))
    image, label = tv_tensors.Image(torch.zeros(3, 36, 64, dtype=torch.uint8)), torch.ones(36, 64, dtype=torch.uint8)
    made = transform(image, tv_tensors.Mask(label))[1]
    assert made.shape == (64, 64) and int((made == 1).sum()) == 36 * 64
    assert int((made == IGNORE_INDEX).sum()) == 28 * 64


def test_full_is_what_it_was_and_unknown_kinds_are_refused() -> None:
    from prune.data.transforms import Augmentation

    assert augmentation("full", 64, (0.5, 2.0), Preprocessing()) == Augmentation(64, (0.5, 2.0))
    assert all(augmentation(kind, 64, (1.0, 1.0), Preprocessing()) for kind in AUGMENTATIONS)
    with refused("--augment: expected one of full, flips, none, found 'wild'"):
        augmentation("wild", 64, (1.0, 1.0), Preprocessing())


def test_a_recipe_of_megabytes_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("epochs = " + "1" * (2 << 20))
    with refused("^--recipe: .*a.ini: expected .* text file of key = value lines of at most 1 MiB, found 2 MiB$"):
        read_recipe(tmp_path / "a.ini")
