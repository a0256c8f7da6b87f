"""Settings of pruning."""

from dataclasses import dataclass

from prune.data.settings import DataOptions
from prune.errors import UserError
from prune.options import AMPS, DEVICES, LOSSES, OUTPUT_STRIDES, SWITCH, check, option, parse_amount
from prune.pruning.criteria import CLASS_BALANCE, IMPORTANCE_TYPES

RUNTIMES = ("pytorch", "onnx", "onnx-int8", "openvino", "openvino-int8", "ncnn")
"""What a pruned network can be timed on."""
ALLOCATIONS = ("local", "global", "isomorphic", "latency")
"""Where channels are taken, see ``prune.pruning.allocation`` and ``prune.pruning.latency_allocation``."""
TARGETS = ("target_macs", "target_params", "target_latency_ms")
"""What a pruned network may be asked to cost; the pruning ratio is then searched for."""


@dataclass(frozen=True)
class PruneSettings(DataOptions):
    """How a network is pruned."""

    pruning_ratio: float = option(50.0, "percent of channels to remove, 0 to 99", low=0)
    target_macs: str | None = option(
        None, "search for the ratio: MACs to keep at --latency_size, such as 40%, 12.5G or 800M"
    )
    target_params: str | None = option(None, "search for the ratio: parameters to keep, such as 40% or 5M")
    target_latency_ms: float | None = option(None, "search for the ratio: ms per image at --latency_size", low=0)
    runtime: str = option("pytorch", "runtime that --target_latency_ms and --round_to auto measure", choices=RUNTIMES)
    max_pruning_ratio: float = option(95.0, "with a target: largest ratio to try, in percent", low=1)
    importance_type: str = option("Taylor", "criterion", choices=tuple(IMPORTANCE_TYPES))
    p_value: int = option(2, "norm of the Magnitude criterion: 1 = L1, 2 = L2", low=1)
    class_balance: bool = option(False, "Taylor per class, so that rare classes count as much as the background")
    iterative_steps: int = option(1, "number of steps to the final ratio; gradients are recomputed before each", low=1)
    keep_feature_extract: bool = option(False, "keep the backbone frozen while fine-tuning between steps")
    allocation: str = option(
        "local",
        "local: the same share of every layer; global: one ranking of all channels; isomorphic: one ranking of all layers with the "
        "same couplings; latency: where --target_latency_ms is reached at the least loss of importance",
        choices=ALLOCATIONS,
    )
    max_layer_ratio: float = option(
        90.0, "allocations other than local: largest percentage removed from one layer", low=0
    )
    layer_times: str | None = option(
        None,
        "file that keeps the layer times of latency allocation; default: results/pruning/layer_times.json",
        metavar="FILE",
    )
    output_stride: int | None = option(
        None,
        "DeepLab and FCN: pixels per feature of the backbone, weights kept; 16 for 8 removes most of its last layers' MACs",
        choices=OUTPUT_STRIDES,
    )
    round_to: str | int = option(8, "layer widths become multiples of this; auto: the best of several on --runtime")
    batches: int = option(8, "labeled batches for the gradients", low=1)
    batch_size: int = option(1, "crops per gradient batch; 1 needs the least memory", low=1)
    crop_size: int = option(512, "side of the square crops in px", low=32)
    amp: str = option("auto", "autocast while gradients are computed; auto: as in train.py", choices=AMPS)
    loss: str = option("ce_dice", "training loss for the gradients", choices=LOSSES)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    aux_weight: float = option(0.4, "weight of the auxiliary head's loss", low=0)
    recalibrate: bool = option(True, "re-estimate batch-norm statistics after the last step")
    recalibration_batches: int = option(8, "batches of 4 crops to re-estimate them on", low=1)
    finetune_epochs_per_step: int = option(0, "epochs of training between steps", low=0)
    lr: float = option(2e-4, "learning rate of the training between steps", low=0)
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(3, "timed forward passes, 0 = do not measure", low=0)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: measure which is faster", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    seed: int = option(0, "random seed of the crops and the Random criterion", low=0)

    def __post_init__(self) -> None:
        spellings = {name.lower(): name for name in IMPORTANCE_TYPES}
        chosen = spellings.get(self.importance_type.lower(), self.importance_type)
        object.__setattr__(self, "importance_type", chosen)
        check(self)
        for name, top in (("pruning_ratio", 99), ("max_pruning_ratio", 99), ("max_layer_ratio", 99), ("p_value", 2)):
            if getattr(self, name) > top:
                raise UserError(f"--{name}: expected at most {top}, found {getattr(self, name):g}")
        if self.class_balance and self.importance_type != CLASS_BALANCE:
            raise UserError(
                f"--class_balance: expected --importance_type {CLASS_BALANCE}, which can be taken per class, "
                f"found {self.importance_type}"
            )
        self._check_round_to()
        self._check_target()
        self._check_allocation()

    def _check_round_to(self) -> None:
        text = str(self.round_to)
        if text != "auto" and not (text.isdecimal() and int(text)):
            raise UserError(f"--round_to: expected auto or a whole number of at least 1, found {text!r}")
        object.__setattr__(self, "round_to", "auto" if text == "auto" else int(text))

    def _check_target(self) -> None:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{', '.join(f'--{name}' for name in given)}: expected one target, found {len(given)}")
        if given and self.pruning_ratio != PruneSettings.pruning_ratio:
            raise UserError(
                f"--{given[0]}: expected no --pruning_ratio beside it, as the ratio is searched for, "
                f"found {self.pruning_ratio:g}"
            )
        if given and given[0] != "target_latency_ms":
            parse_amount(given[0], str(getattr(self, given[0])))

    def _check_allocation(self) -> None:
        wish = f"--{self.target}" if self.target else "--round_to auto" if self.round_to == "auto" else None
        if self.allocation in ("global", "isomorphic") and wish:
            raise UserError(
                f"{wish}: expected --allocation local, whose widths follow from the ratio, found {self.allocation}"
            )
        if self.allocation == "latency" and self.target != "target_latency_ms":
            found = f"--{self.target}" if self.target else "none"
            raise UserError(f"--allocation latency: expected --target_latency_ms beside it, found {found}")

    @property
    def gradients(self) -> str:
        """What gradients are taken of: ``batch``, ``sample`` or ``class``; empty = the criterion needs none."""
        return "class" if self.class_balance else IMPORTANCE_TYPES[self.importance_type]

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
        """The criterion as tables call it: L1, L2, Taylor-balanced, or its ``importance_type``."""
        if self.importance_type == "Magnitude":
            return f"L{self.p_value}"
        return f"{self.importance_type}-balanced" if self.class_balance else self.importance_type
