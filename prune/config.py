"""Every default, once: dataclasses checked at construction."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prune.errors import UserError
from prune.options import Parser, check, given_values, option, parse_amount, with_defaults
from prune.recipes import known_recipes, recipe_settings

Config = TypeVar("Config")
DEVICES = "auto, cpu, cuda or cuda:N"
DATASETS = ("auto", "s2ds", "crack500", "crackforest", "deepcrack", "crackseg9k", "images_masks")
"""Folder layouts of data sets; auto recognizes them."""
CLASS_SETS = ("s2ds", "crack")
LOSSES = ("ce", "bce", "focal", "dice", "ce_dice", "bce_dice", "focal_dice")
AUGMENTATIONS = ("full", "flips", "none")
MONITORS = ("auto", "miou_crack", "miou", "miou_defects", "crack_iou", "crack_lt_iou_4", "loss")
DEFAULT_MODEL = "deeplabv3_resnet101"
AMPS = ("auto", "off", "bf16", "fp16")
SWITCH = ("auto", True, False)
"""Choices of a flag that is on, off or decided by the program."""


@dataclass(frozen=True)
class DataOptions:
    """How labeled images are read, wherever a command reads some."""

    dataset: str = option("auto", "layout of the data folder", choices=DATASETS)
    mask_threshold: int = option(127, "gray levels of a mask above this are crack, 0 to 254", low=0)


@dataclass(frozen=True)
class TrainConfig(DataOptions):
    """Everything ``train.py`` can be told."""

    train_dir: str | None = option(
        None, "split folder, list of names or data folder to learn from; none: the default data", positional=True
    )
    val_dir: str | None = option(None, "the same, to choose the best epoch on; none: of TRAIN_DIR", positional=True)
    name: str = option("dense", "name of the run and of the model file", positional=True)
    recipe: str | None = option(None, f"file of settings, or those of a known system: {', '.join(known_recipes())}")
    model: str | None = option(None, f"network, see python -m prune models; none: {DEFAULT_MODEL}")
    classes: str = option("auto", "what to learn; auto: what the labels hold", choices=("auto", *CLASS_SETS))
    weights: str = option("auto", "start from", choices=("auto", "coco", "imagenet", "none"))
    pruned_model: str | None = option(None, "fine-tune this checkpoint; its structure is kept")
    train_pruned_fully: bool = option(True, "with --pruned_model: train all layers, False trains the heads only")
    keep_feature_extract: bool = option(False, "freeze the backbone, batch norm included")
    load_pretrained_weights: str | None = option(None, "start a fresh network from the matching weights of this file")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    epochs: int = option(100, "passes over the training data", low=1)
    batch_size: int = option(8, "crops per step", low=2)
    crop_size: int = option(512, "side of the square training crops in px", low=32)
    scale_min: float = option(0.5, "smallest random zoom", low=0.05)
    scale_max: float = option(2.0, "largest random zoom", low=0.05)
    augment: str = option("full", "variation of the crops besides zoom", choices=AUGMENTATIONS)
    loss: str = option("ce_dice", "training loss", choices=LOSSES)
    focal_gamma: float = option(2.0, "of the focal losses: larger = what is right already counts less", low=0)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    aux_weight: float = option(0.4, "weight of the auxiliary head's loss", low=0)
    optimizer: str = option("adamw", "optimizer", choices=("adam", "adamw", "sgd"))
    lr: float = option(5e-4, "peak learning rate", low=0)
    weight_decay: float = option(1e-4, "weight decay", low=0)
    momentum: float = option(0.9, "momentum of sgd", low=0)
    scheduler: str = option("poly", "learning rate over time", choices=("plateau", "poly", "cosine", "constant"))
    poly_power: float = option(0.9, "poly: exponent of the remaining share of steps", low=0)
    plateau_patience: int = option(5, "plateau: epochs without a lower validation loss before a cut", low=0)
    plateau_factor: float = option(0.1, "plateau: what a cut multiplies the learning rate by", low=0)
    min_lr: float = option(1e-8, "plateau: lowest learning rate", low=0)
    warmup_epochs: float | None = option(
        None, "epochs of linear warm-up; default: 1, of fewer than 10 --epochs a tenth", low=0
    )
    accumulate: int = option(1, "batches per optimizer step", low=1)
    clip: float = option(5.0, "largest gradient norm, 0 = no clipping", low=0)
    monitor: str = option(
        "auto",
        "validation score of the best epoch; miou_crack: mean of miou and crack_lt_iou_4, of miou alone where no crack is "
        "labeled or predicted; auto: miou_crack where the classes hold a crack, else miou",
        choices=MONITORS,
    )
    patience: int = option(30, "stop after this many epochs without a better score, 0 = never", low=0)
    val_images: int = option(0, "validation images the best epoch is chosen on, spread over all; 0 = all", low=0)
    amp: str = option("auto", "autocast; auto: on CPUs what is measured to be fastest, else bf16 or fp16", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: what is measured to be faster", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    workers: int = option(2, "data loading processes, 0 = none", low=0)
    cache: bool = option(False, "keep decoded images in RAM")
    seed: int = option(0, "seed of everything random", low=0)
    resume: bool = option(False, "continue the run NAME where it stopped")
    force: bool = option(False, "replace the model and the run NAME of an earlier training")

    def __post_init__(self) -> None:
        check(self)
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise UserError(f"--warmup_epochs: expected less than --epochs {self.epochs}, found {self.warmup_epochs:g}")
        if self.scale_max < self.scale_min:
            raise UserError(f"--scale_max: expected at least --scale_min {self.scale_min}, found {self.scale_max}")
        if self.plateau_factor >= 1:
            raise UserError(f"--plateau_factor: expected less than 1, found {self.plateau_factor:g}")
        if not self.name or self.name.startswith(".") or any(c in self.name for c in "/\\"):
            raise UserError(f"NAME: expected a plain file name without folders, found {self.name!r}")

    @property
    def warmup(self) -> float:
        """Epochs of warm-up: as given, else 1, and of a training of fewer than 10 epochs a tenth."""
        return min(1.0, self.epochs / 10) if self.warmup_epochs is None else self.warmup_epochs


def parse(
    config_class: type[Config], description: str, argv: Sequence[str] | None = None, prog: str | None = None
) -> Config:
    """Read a command line (None: the process's own) into a config: defaults, then ``--recipe``, then the flags."""
    parser = Parser(prog=prog, description=description)
    given = given_values(parser, config_class, sys.argv[1:] if argv is None else argv)
    recipe = given.get("recipe")
    settings = {} if recipe is None else recipe_settings(config_class, recipe)
    return config_class(**{**settings, **given})


RUNTIMES = ("pytorch", "onnx", "onnx-int8", "openvino", "openvino-int8", "ncnn")
"""What a pruned network can be timed on."""
TARGETS = ("target_macs", "target_params", "target_latency_ms")
"""What a pruned network may be asked to cost; the pruning ratio is then searched for."""


@dataclass(frozen=True)
class PruneConfig(DataOptions):
    """Everything ``torchvision_pruning.py`` can be told."""

    pruning_ratio: float = option(50.0, "percent of channels to remove, 0 to 99", low=0)
    target_macs: str | None = option(None, "search the ratio: MACs at --latency_size that remain, 40%, 12.5G or 800M")
    target_params: str | None = option(None, "search the ratio: parameters that remain, 40% or 5M")
    target_latency_ms: float | None = option(None, "search the ratio: ms per image of --latency_size", low=0)
    runtime: str = option("pytorch", "what --target_latency_ms and --round_to auto are measured on", choices=RUNTIMES)
    max_pruning_ratio: float = option(95.0, "with a target: largest ratio the search may take, in percent", low=1)
    importance_type: str = option("Taylor", "criterion", choices=("Taylor", "Magnitude", "Random"))
    p_value: int = option(2, "norm of the Magnitude criterion: 1 = L1, 2 = L2", low=1)
    model_name: str | None = option(None, "name of the pruned model; none: <model>_<criterion>_<ratio or target>")
    iterative_steps: int = option(1, "steps to the final ratio; gradients are taken anew before each", low=1)
    state_dict: str | None = option(None, "checkpoint to prune; none: the newest unpruned one in results/models")
    model: str | None = option(None, "network the checkpoint must hold; without any checkpoint: the one to build")
    keep_feature_extract: bool = option(False, "keep the backbone frozen while fine-tuning between steps")
    data_dir: str | None = option(
        None, "data folder, or its training split; default: what the checkpoint was trained on, else the default data"
    )
    allocation: str = option("local", "same share in every layer, or one ranking of all", choices=("local", "global"))
    max_layer_ratio: float = option(90.0, "global allocation: most percent taken from one layer", low=0)
    round_to: str | int = option(8, "layer widths become multiples of this; auto: of what is fastest on --runtime")
    batches: int = option(8, "labeled batches the Taylor gradients are taken from", low=1)
    batch_size: int = option(1, "crops per gradient batch; 1 needs the least memory", low=1)
    crop_size: int = option(512, "side of the square crops in px", low=32)
    amp: str = option("auto", "autocast while gradients are taken; auto: as train.py", choices=AMPS)
    loss: str = option("ce_dice", "training loss the gradients are taken of", choices=LOSSES)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    aux_weight: float = option(0.4, "weight of the auxiliary head's loss", low=0)
    recalibrate: bool = option(True, "estimate batch-norm statistics anew after the last step")
    recalibration_batches: int = option(8, "batches of 4 crops for that", low=1)
    finetune_epochs_per_step: int = option(0, "epochs of training between steps", low=0)
    lr: float = option(2e-4, "learning rate of that training", low=0)
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(3, "timed forward passes, 0 = do not measure", low=0)
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: what is measured to be faster", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    seed: int = option(0, "seed of crops and of the Random criterion", low=0)

    def __post_init__(self) -> None:
        spellings = {name.lower(): name for name in ("Taylor", "Magnitude", "Random")}
        chosen = spellings.get(self.importance_type.lower(), self.importance_type)
        object.__setattr__(self, "importance_type", chosen)
        check(self)
        for name, top in (("pruning_ratio", 99), ("max_pruning_ratio", 99), ("max_layer_ratio", 99), ("p_value", 2)):
            if getattr(self, name) > top:
                raise UserError(f"--{name}: expected at most {top}, found {getattr(self, name):g}")
        self._check_round_to()
        self._check_target()

    def _check_round_to(self) -> None:
        text = str(self.round_to)
        if text != "auto" and not (text.isdecimal() and int(text)):
            raise UserError(f"--round_to: expected auto or a whole number of at least 1, found {text!r}")
        object.__setattr__(self, "round_to", "auto" if text == "auto" else int(text))

    def _check_target(self) -> None:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{', '.join(f'--{name}' for name in given)}: expected one target, found {len(given)}")
        if given and self.pruning_ratio != PruneConfig.pruning_ratio:
            raise UserError(
                f"--{given[0]}: expected no --pruning_ratio beside it, as the ratio is searched for, "
                f"found {self.pruning_ratio:g}"
            )
        if self.allocation == "global" and (given or self.round_to == "auto"):
            flag = f"--{given[0]}" if given else "--round_to auto"
            raise UserError(f"{flag}: expected --allocation local, whose widths follow from the ratio, found global")
        if given and given[0] != "target_latency_ms":
            parse_amount(given[0], str(getattr(self, given[0])))

    @property
    def target(self) -> str | None:
        """The name of the one target that was given, a name of ``TARGETS``."""
        return next((name for name in TARGETS if getattr(self, name) is not None), None)

    @property
    def divisor(self) -> int:
        """``round_to`` as a number.

        Raises:
            UserError: while it is still auto.
        """
        if isinstance(self.round_to, str):
            raise UserError("--round_to: expected a whole number, found auto, which has not been measured")
        return self.round_to

    @property
    def criterion(self) -> str:
        """The criterion as tables call it: L1, L2, Taylor or Random."""
        return f"L{self.p_value}" if self.importance_type == "Magnitude" else self.importance_type


@dataclass(frozen=True)
class ScoringOptions:
    """How masks are scored, whoever made them."""

    protocol: str = option("plain", "s2ds leaves out a band along areal classes", choices=("plain", "s2ds"))
    tolerances: tuple[int, ...] = option((0, 2, 4, 8), "of the line scores, in px")
    f1_tolerances: tuple[int, ...] = option((2, 5), "of the pixel F1, in px")
    boundary_px: int = option(2, "tolerance of boundary F1, band of boundary IoU, in px", low=1)
    mm_per_pixel: str | None = option(None, "scale: a number, or a CSV file with the columns image,mm_per_pixel")
    seed: int = option(0, "seed of the bootstrap", low=0)

    def __post_init__(self) -> None:
        check(self)
        for name in ("tolerances", "f1_tolerances"):
            values = getattr(self, name)
            if not values or min(values) < 0 or max(values) > MAX_TOLERANCE or len(set(values)) < len(values):
                found = ",".join(map(str, values)) or "none"
                raise UserError(f"--{name}: expected different numbers from 0 to {MAX_TOLERANCE}, found {found}")
            object.__setattr__(self, name, tuple(sorted(values)))


MAX_TOLERANCE = 64
"""Largest tolerance in px; the largest published one is 32."""


def _check_output(config: Any) -> None:
    if config.output and not config.output.endswith(".xlsx"):
        raise UserError(f"--output: expected a file name ending in .xlsx, found {config.output!r}")


@dataclass(frozen=True)
class TestConfig(ScoringOptions, DataOptions):
    """Everything ``test.py`` can be told."""

    __test__ = False  # pytest would take the name for a test class

    test_dir: str | None = option(
        None, "split folder, list of names or data folder to score; none: the default data", positional=True
    )
    weights: tuple[str, ...] = option((), "checkpoints or exports to score, several are compared; none: the newest")
    classes: str | None = option(None, "of an export made by another tool", choices=CLASS_SETS)
    pruned_model: tuple[str, ...] = option((), "the same, for pruned checkpoints")
    use_pruned: bool = option(False, "without a file name: take the newest pruned checkpoint")
    output: str | None = option(None, "workbook to write, FILE.xlsx; the .json goes beside it")
    resize: int = option(
        0, "scale images to this longer side in px before the network, 0 = whole images as they are", low=0
    )
    crop: int = option(0, "score only the central square of this side in px, 0 = whole images", low=0)
    calibration: bool = option(False, "count confidences: expected calibration error and reliability diagram")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes, 0 = do not measure", low=0)
    amp: str = option("off", "autocast; auto: as train.py", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: yes, measured only with --amp auto", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    workers: int = option(1, "processes that read, and as many that score; 0 = none", low=0)
    networks: int = option(
        0,
        "copies of an export that share the threads, 0 = one, or one per thread if that is measured to be faster",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_output(self)
        for name in ("weights", "pruned_model"):
            files = getattr(self, name)
            # A flag that takes several files also takes the folder typed behind them.
            if self.test_dir is None and len(files) > 1 and Path(files[-1]).is_dir():
                object.__setattr__(self, "test_dir", files[-1])
                object.__setattr__(self, name, files[:-1])


@dataclass(frozen=True)
class ScoreConfig(ScoringOptions, DataOptions):
    """Everything ``python -m prune score`` can be told."""

    pred_dir: str | None = option(None, "folder of predicted masks", positional=True)
    label_dir: str | None = option(None, "folder of labels, or a split folder", positional=True)
    classes: str = option(
        "auto",
        "what is scored: all classes, or crack and background; auto: crack unless both sides hold classes of S2DS",
        choices=("auto", *CLASS_SETS),
    )
    probabilities: str | None = option(None, "folder of crack probabilities (.npy or gray images): adds calibration")
    output: str | None = option(None, "workbook to write, FILE.xlsx; the .json goes beside it")
    workers: int = option(1, "processes that score, 0 = none", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_output(self)
        if not self.pred_dir or not self.label_dir:
            raise UserError("score: expected two folders, PRED_DIR and LABEL_DIR")


@dataclass(frozen=True)
class VerdictLimits:
    """What counts as kept and as lost, in points of a hundredth."""

    keep_miou: float = option(2.0, "mIoU counts as kept when it drops by at most this many points", low=0)
    lose_crack: float = option(5.0, "cracks count as lost when ltIoU@4 drops by more than this many points", low=0)


@dataclass(frozen=True)
class CompareConfig(VerdictLimits):
    """Everything ``python -m prune compare`` can be told."""

    files: tuple[str, ...] = option((), "evaluations to compare, the .json files of test.py or score", positional=True)
    baseline: str | None = option(None, "the one of them the others are compared with; none: the first")
    output: str = option("results/metrics/comparison.xlsx", "workbook to write, FILE.xlsx; .json and .png go beside it")
    seed: int = option(0, "seed of the bootstrap", low=0)

    def __post_init__(self) -> None:
        check(self)
        _check_output(self)
        if len(self.files) < 2:
            raise UserError(f"compare: expected at least two .json files, found {len(self.files)}")


PICTURE_FORMATS = ("png", "jpg", "webp")
VIEWS = ("side_by_side", "overlay", "save_mask", "probability", "gradcam")
"""Pictures of what a network sees."""


@dataclass(frozen=True)
class InferenceConfig:
    """Everything ``inference.py`` can be told."""

    state_dict: str | None = option(None, "checkpoint or export to use; none: the newest in results/models")
    classes: str | None = option(None, "of an export made by another tool", choices=CLASS_SETS)
    image: str | None = option(None, "photograph or folder of photographs; none: the default data's test images")
    mode: str = option("side_by_side", "picture to make", choices=VIEWS)
    class_name: str | None = option(
        None, "class that gradcam and probability show; none: crack, else the first after the background", flag="class"
    )
    layer: str | None = option(None, "gradcam: module whose feature maps are weighed; none: the network's usual one")
    opacity: float = option(0.5, "of what is laid over the photograph, 0 to 1", low=0)
    save_figure: bool = option(False, "write files instead of opening a window")
    output_dir: str = option("results/figures", "folder of the files")
    format: str = option("png", "of the files; masks and gray levels are always png", choices=PICTURE_FORMATS)
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    amp: str = option("off", "autocast; auto: as train.py", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: yes, measured only with --amp auto", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    networks: int = option(
        0,
        "copies of an export that share the threads, 0 = one, or one per thread if that is measured to be faster",
        low=0,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.opacity > 1:
            raise UserError(f"--opacity: expected 0 to 1, found {self.opacity}")


@dataclass(frozen=True)
class PrepareConfig:
    """Everything ``python -m prune prepare`` can be told."""

    source: str | None = option(None, "folder with train/, val/, test/, or one split folder", positional=True)
    output: str | None = option(None, "folder to write the documented layout into", positional=True)
    force: bool = option(False, "write into a folder that already holds files")

    def __post_init__(self) -> None:
        if not self.source or not self.output:
            raise UserError("prepare: expected two folders, SOURCE and OUTPUT")


@dataclass(frozen=True)
class SynthesizeConfig:
    """Everything ``python -m prune synthesize`` can be told."""

    output: str | None = option(None, "folder to draw the images into", positional=True)
    images: int = option(60, "number of images over all splits")
    size: int = option(192, "side of the square images in px")
    seed: int = option(0, "same seed, same bytes", low=0)
    force: bool = option(False, "overwrite an earlier set")

    def __post_init__(self) -> None:
        check(self)
        if not self.output:
            raise UserError("synthesize: expected a folder to write to, found none")


@dataclass(frozen=True)
class ModelsConfig:
    """Everything ``python -m prune models`` can be told."""

    name: str | None = option(None, "one network; none: all", positional=True)
    summary: bool = option(False, "of one network: every layer with output shape, parameters and MACs")
    json: bool = option(False, "print the list for programs")
    classes: str = option("crack", "what the network shall tell apart", choices=CLASS_SETS)
    size: int = option(0, "of the summary: side of the input in px, 0 = of its recipe", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.summary and not self.name:
            raise UserError("--summary: expected the name of one network, python -m prune models lists them")


@dataclass(frozen=True)
class InspectConfig:
    """Everything ``python -m prune inspect`` can be told."""

    file: str | None = option(None, "checkpoint, a path or a name in results/models; none: the newest", positional=True)
    layers: bool = option(False, "list the width of every layer")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")


@dataclass(frozen=True)
class ExportConfig(DataOptions):
    """Everything ``python -m prune export`` can be told."""

    checkpoint: str | None = option(None, "checkpoint to export; none: the newest in results/models", positional=True)
    to: str = option("onnx", "runtime of the file", choices=("onnx", "openvino", "ncnn", "pt2"))
    precision: str = option(
        "fp32",
        "numbers in the file; bf16 (openvino) is computed in bfloat16 by CPUs that have it",
        choices=("fp32", "bf16", "fp16", "int8"),
    )
    size: tuple[str, ...] = option(("dynamic",), "height and width of its one input in px, or dynamic")
    argmax: bool = option(False, "make the class map inside the file")
    data: str | None = option(
        None,
        "data folder: train calibrates, test is compared on; default: what the checkpoint was trained on, else the default data",
    )
    calibration_images: int = option(0, "photographs INT8 is calibrated with, 0 = up to 64", low=0)
    parity_images: int = option(0, "test images the file is compared on, 0 = all", low=0)
    max_drop: float | None = option(
        None, "openvino int8: points the score may drop; sensitive layers stay in float", low=0
    )
    min_agreement: float | None = option(
        None, "percent of pixels of equal class; default: 99.9, bf16 and fp16 99.5, int8 95", low=0
    )
    max_miou_drop: float = option(1.0, "points of mIoU the file may lose", low=0)
    max_crack_drop: float = option(1.0, "points of crack ltIoU@4 the file may lose", low=0)
    accept_unjudged: bool = option(
        False, "accept a file whose cracks cannot be judged: no test image has a labeled one"
    )
    output: str | None = option(None, "file to write; none: results/exports/<model>[_<precision>].<suffix>")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.fixed_size is not None and min(self.fixed_size) < 32:
            raise UserError(f"--size: expected at least 32 px, found {' '.join(self.size)}")

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width in px, None = any size."""
        words = [word for text in self.size for word in text.lower().replace("x", " ").replace(",", " ").split()]
        if words == ["dynamic"]:
            return None
        if not words or len(words) > 2 or not all(word.isdigit() for word in words):
            raise UserError(f"--size: expected dynamic, or height and width in px, found {' '.join(self.size)}")
        return int(words[0]), int(words[-1])


CRITERIA = ("L1", "L2", "Taylor", "Random")
"""What a study can compare: magnitude with p = 1 and 2, first-order Taylor, and the control."""


@dataclass(frozen=True)
class StudyConfig(VerdictLimits, DataOptions):
    """Everything ``python -m prune study`` can be told."""

    data: str | None = option(None, "data folder with splits; none: the default data", positional=True)
    name: str = option("study", "prefix of every model, and name of the results", positional=True)
    criteria: str = option(",".join(CRITERIA), "importance criteria to compare")
    pruning_ratio: int = option(50, "percent of channels to remove, 1 to 99", low=1)
    iterative_steps: int = option(1, "pruning steps", low=1)
    dense: str | None = option(None, "start from this checkpoint instead of training one")
    model: str = option(DEFAULT_MODEL, "network to train")
    classes: str = option("auto", "what to learn; auto: what the labels hold", choices=("auto", *CLASS_SETS))
    weights: str = option("auto", "start from", choices=("auto", "coco", "imagenet", "none"))
    epochs: int = option(100, "of the dense network", low=1)
    finetune_epochs: int = option(30, "of every pruned network", low=1)
    batch_size: int = option(8, "crops per step", low=2)
    crop_size: int = option(512, "side of the square crops in px", low=32)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    lr: float = option(5e-4, "peak learning rate of the dense network", low=0)
    finetune_lr: float = option(2e-4, "peak learning rate of fine-tuning", low=0)
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes per network, interleaved", low=1)
    figures: int = option(6, "test images on the comparison sheet", low=0)
    workers: int = option(1, "data loading processes", low=0)
    cache: bool = option(True, "keep decoded images in RAM")
    seed: int = option(0, "seed of everything random", low=0)
    output: str | None = option(None, "folder of table and charts; none: results/studies/NAME")

    def __post_init__(self) -> None:
        check(self)
        unknown = [c for c in self.criteria.split(",") if c not in CRITERIA]
        if unknown:
            raise UserError(f"--criteria: expected some of {','.join(CRITERIA)}, found {','.join(unknown)}")


DemoConfig = with_defaults(
    StudyConfig,
    "DemoConfig",
    data="data/demo",
    name="demo",
    criteria="Taylor",
    epochs=6,
    finetune_epochs=18,
    batch_size=4,
    crop_size=96,
    class_weights="sqrt_inverse",
    lr=1e-3,
    finetune_lr=1e-3,
    latency_size=128,
    latency_repeats=3,
    figures=4,
    workers=0,
)
"""What ``python -m prune demo`` can be told: a study sized for ten minutes on two cores, nothing meant for real data."""


@dataclass(frozen=True)
class NetworksConfig(DataOptions):
    """Everything ``python -m prune networks`` can be told."""

    data: str | None = option(None, "data folder with splits; none: the default data", positional=True)
    name: str = option("networks", "prefix of every model", positional=True)
    models: str = option("all", "networks separated by commas, or all")
    classes: str = option("crack", "what to learn", choices=CLASS_SETS)
    weights: str = option("auto", "start from", choices=("auto", "coco", "imagenet", "none"))
    pruning_ratio: int = option(50, "percent of channels to remove by Taylor, 1 to 99", low=1)
    epochs: int = option(0, "of every network, 0 = as many as the budget allows", low=0)
    finetune_epochs: int = option(0, "of every pruned network, 0 = as many as of the dense one", low=0)
    budget: float = option(1.0, "tera-MACs a training may cost; each network gets 1 to 10 epochs", low=0)
    batch_size: int = option(4, "crops per step", low=2)
    crop_size: int = option(64, "side of the square crops in px", low=32)
    lr: float = option(1e-3, "peak learning rate of the dense networks", low=0)
    finetune_lr: float = option(1e-3, "peak learning rate of fine-tuning", low=0)
    val_images: int = option(20, "images the best epoch is chosen on, 0 = all", low=0)
    parity_images: int = option(16, "test images the float exports are compared on, 0 = all", low=0)
    int8_images: int = option(64, "test images the INT8 exports are compared on, 0 = all", low=0)
    latency_size: int = option(256, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes per network, interleaved", low=1)
    jobs: int = option(0, "networks at a time, sharing the cores; 0 = up to 4 on the CPU, 1 on a GPU", low=0)
    workers: int = option(0, "data loading processes of each job", low=0)
    seed: int = option(0, "seed of everything random", low=0)
    output: str | None = option(None, "folder of table and charts; none: results/networks")

    def __post_init__(self) -> None:
        check(self)


SUITES = ("all", "training", "pruning", "evaluation", "scores", "deploy", "folder", "networks", "report")
"""Of ``python -m prune benchmark``; report measures nothing, it writes the tables of all machines again."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Everything ``python -m prune benchmark`` can be told."""

    files: tuple[str, ...] = option(
        (),
        "networks to time, the first is the baseline of the others; none: the project's own figures",
        positional=True,
    )
    batch: int = option(1, "networks: images per pass", low=1)
    passes: int = option(20, "networks: timed passes of each", low=1)
    threads: int = option(0, "networks: CPU threads of every runtime, 0 = all cores", low=0)
    device: str = option("cpu", f"networks: {DEVICES}, of those PyTorch runs")
    suite: str = option(
        "all",
        "the project's own figures: which; all: all but networks; report: write the tables of all machines again",
        choices=SUITES,
    )
    models: str = option("all", "suite networks: networks separated by commas, or all")
    crop_size: int = option(256, "training: side of the crops in px", low=32)
    batch_size: int = option(4, "training: crops per step", low=2)
    repeats: int = option(5, "training: timed steps of each loop, interleaved; of the largest network 3 in 5", low=1)
    compiled: bool = option(True, "training: also time the loop under torch.compile where there is a C++ compiler: minutes")
    size: int = option(512, "networks, pruning, evaluation, deploy: side of the images in px", low=64)
    images: int = option(6, "evaluation: test images", low=1)
    score_size: int = option(1024, "scores: side of the image in px", low=64)
    score_repeats: int = option(9, "scores: timed repeats", low=1)
    output: str | None = option(
        None,
        "file of the figures; default: bench.json, networks_bench.json or latency.json in the folder of this kind of CPU in "
        "results/benchmarks",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DatasetConfig(DataOptions):
    """Everything ``python -m prune dataset`` can be told."""

    folder: str | None = option(
        None, "data folder, split folder or list of names; none: the default data", positional=True
    )
    classes: str | None = option(None, "what labels are read as; none: what they hold", choices=CLASS_SETS)
    split: str | None = option(None, "write train.txt, val.txt, test.txt with these percents, such as 70,10,20")
    sheet: int = option(12, "photographs on the contact sheet, 0 = no sheet", low=0)
    output: str | None = option(None, "folder of dataset.json and contact.png; none: results/datasets/<folder>")

    def __post_init__(self) -> None:
        check(self)
        if self.split is not None:
            _ = self.shares

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares (0…1) of train, val and test that ``--split`` asks for.

        Raises:
            UserError: for anything but three percents that add up to 100, some of them for train.
        """
        parts = str(self.split).split(",")
        numbers = [float(part) for part in parts if part.strip().replace(".", "", 1).isdecimal()]
        if len(parts) != 3 or len(numbers) != 3 or abs(sum(numbers) - 100) > 1e-6 or not numbers[0]:
            raise UserError(
                f"--split: expected percents for train, val and test such as 70,10,20, found {self.split!r}"
            )
        return numbers[0] / 100, numbers[1] / 100, numbers[2] / 100
