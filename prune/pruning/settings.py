"""What pruning may be told."""

from dataclasses import dataclass

from prune.data.settings import DataOptions
from prune.errors import UserError
from prune.options import AMPS, DEVICES, LOSSES, SWITCH, check, option, parse_amount

CRITERIA = ("L1", "L2", "Taylor", "Random")
"""What a study can compare: magnitude with p = 1 and 2, first-order Taylor, and the control."""
RUNTIMES = ("pytorch", "onnx", "onnx-int8", "openvino", "openvino-int8", "ncnn")
"""What a pruned network can be timed on."""
TARGETS = ("target_macs", "target_params", "target_latency_ms")
"""What a pruned network may be asked to cost; the pruning ratio is then searched for."""


@dataclass(frozen=True)
class PruneSettings(DataOptions):
    """How a network is pruned."""

    pruning_ratio: float = option(50.0, "percent of channels to remove, 0 to 99", low=0)
    target_macs: str | None = option(None, "search the ratio: MACs at --latency_size that remain, 40%, 12.5G or 800M")
    target_params: str | None = option(None, "search the ratio: parameters that remain, 40% or 5M")
    target_latency_ms: float | None = option(None, "search the ratio: ms per image of --latency_size", low=0)
    runtime: str = option("pytorch", "what --target_latency_ms and --round_to auto are measured on", choices=RUNTIMES)
    max_pruning_ratio: float = option(95.0, "with a target: largest ratio the search may take, in percent", low=1)
    importance_type: str = option("Taylor", "criterion", choices=("Taylor", "Magnitude", "Random"))
    p_value: int = option(2, "norm of the Magnitude criterion: 1 = L1, 2 = L2", low=1)
    iterative_steps: int = option(1, "steps to the final ratio; gradients are taken anew before each", low=1)
    keep_feature_extract: bool = option(False, "keep the backbone frozen while fine-tuning between steps")
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
        if given and self.pruning_ratio != PruneSettings.pruning_ratio:
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
