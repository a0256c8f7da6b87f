"""``torchvision_pruning.py``: a checkpoint in, a smaller one and a report of what was removed out."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from prune.api.budget import Plan, plan
from prune.api.defaults import open_lineage_split
from prune.cli.prune import PruneOptions
from prune.cli.train import TrainOptions
from prune.data.dataset import Batch, SegmentationDataset, class_pixels, draw_batch
from prune.data.find_split import usable_crop
from prune.data.labels import S2DS
from prune.data.transforms import Augmentation, training_transform
from prune.errors import UserError
from prune.files import MODELS, PRUNING, check_writable, find_model, locked, visible, write_json
from prune.hardware import choose_device, set_threads
from prune.models import build_model
from prune.models.checkpoint import (
    Network,
    load_checkpoint,
    new_stage,
    newest_model,
    require_architecture,
    save_checkpoint,
)
from prune.models.cost import count, measure_latency
from prune.models.freezing import freeze, unfreeze
from prune.models.pretrained import initialize
from prune.number_format import NumberFormat, number_format
from prune.pruning.pruner import Hooks, PruneOutcome, prune_model
from prune.pruning.recalibrate import recalibrate_batch_norm
from prune.pruning.report import Cost, PruningReport, layer_widths
from prune.training.losses import class_weights, make_loss
from prune.training.settings import DEFAULT_MODEL
from prune.training.step import Stepper, batch_gradients, make_optimizer, train_one_epoch

CALIBRATION_BATCH = 4
"""Images per batch-norm recalibration batch: ASPP's pooled branch needs several for a variance."""
CALIBRATION_CROP = 256
"""Largest side of its crops in px: per-channel statistics need no more."""


@dataclass(frozen=True)
class PruneResult:
    """The report and the files it describes."""

    report: PruningReport
    model: Path
    json: Path
    csv: Path

    def __str__(self) -> str:
        return f"{self.report}\nmodel    {self.model}\nreport   {self.json}\nlayers   {self.csv}"


def _network(config: PruneOptions) -> Network:
    """The named checkpoint, else the newest unpruned one, else a fresh network with the best weights to be had."""
    if config.state_dict:
        network = load_checkpoint(find_model(config.state_dict), config.trust_pickle)
        require_architecture(network, config.model)
        return network
    if visible(MODELS, "*.pth"):
        network = load_checkpoint(newest_model(pruned=False))
        require_architecture(network, config.model)
        return network
    name = config.model or DEFAULT_MODEL
    model = build_model(name, len(S2DS))
    print(
        f"no checkpoint in {MODELS}: a fresh {name} with {initialize(model, name, 'auto')}; train it before you trust it"
    )
    return Network(model, name)


class _Material:
    """Labeled batches for every purpose of one pruning run, drawn from one split."""

    def __init__(self, network: Network, config: PruneOptions, device: torch.device) -> None:
        self.config, self.device = config, device
        split = open_lineage_split(config, config.data_dir, "train", network, "--data_dir")
        self.crop = usable_crop(split, config.crop_size)
        print(f"crops    {self.crop} px")
        plain = Augmentation(
            self.crop, (1.0, 1.0), rotate=0, jitter=0, blur=0, noise=0, preprocessing=network.preprocessing
        )
        varied = Augmentation(min(self.crop, CALIBRATION_CROP), preprocessing=network.preprocessing)
        self.plain = SegmentationDataset(split, training_transform(plain), config.seed)
        self.varied = SegmentationDataset(split, training_transform(varied), config.seed)
        weights = None
        if config.class_weights != "none":
            weights = class_weights(config.class_weights, class_pixels(self.plain), network.classes)
        loss = make_loss(config.loss, None if weights is None else weights.to(device))
        backward = config.importance_type == "Taylor" or config.finetune_epochs_per_step
        numbers = number_format(config.amp, config.channels_last, device) if backward else NumberFormat()
        if backward:
            print(f"numbers  {numbers}")
        self.step = Stepper(network.model, loss, device, numbers, config.aux_weight)
        self._rounds = 0

    def batches(self, dataset: SegmentationDataset, number: int, size: int) -> Iterator[Batch]:
        """``number`` batches of ``size`` crops, others at every call, the same for the same seed."""
        self._rounds += 1
        for i in range(number):
            yield draw_batch(dataset, self._rounds, range(i * size, (i + 1) * size))

    def gradients(self) -> Iterator[None]:
        """Gradients of the training loss, batch after batch."""
        return batch_gradients(self.step, self.batches(self.plain, self.config.batches, self.config.batch_size))

    def hooks(self) -> Hooks:
        """What pruning is handed, as far as ``config`` asks for it."""
        finetune: Callable[[int], None] | None = self.finetune if self.config.finetune_epochs_per_step else None
        recalibrate = self.recalibrate if self.config.recalibrate and self.config.pruning_ratio else None
        return Hooks(self.gradients, finetune, recalibrate)

    def recalibrate(self) -> None:
        """Estimate batch-norm statistics anew on training crops."""
        images = (
            images.to(self.device, memory_format=self.step.numbers.memory_format)
            for images, _ in self.batches(self.varied, self.config.recalibration_batches, CALIBRATION_BATCH)
        )
        recalibrate_batch_norm(self.step.model, images)

    def finetune(self, step: int) -> None:
        """Train for ``--finetune_epochs_per_step`` epochs; the optimizer is new, because the tensors are."""
        model: nn.Module = self.step.model
        if self.config.keep_feature_extract:
            freeze(model.get_submodule("backbone"))
        settings = TrainOptions(lr=self.config.lr)
        optimizer = make_optimizer(model, settings)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.step.numbers.autocast == torch.float16)
        size = min(CALIBRATION_BATCH, len(self.varied))
        for epoch in range(self.config.finetune_epochs_per_step):
            batches = self.batches(self.varied, max(1, len(self.varied) // size), size)
            loss = train_one_epoch(self.step, batches, optimizer, scaler, settings, lambda number, value: None)
            print(f"step {step}, epoch {epoch + 1}/{self.config.finetune_epochs_per_step}: loss {loss:.3f}")
        if self.config.keep_feature_extract:
            unfreeze(model.get_submodule("backbone"))


def _cost(network: Network, file: Path, size: tuple[int, int], latency_ms: float | None) -> Cost:
    parameters, macs = count(network.model, size)
    channels = sum(row[3] for row in layer_widths(network.model))
    return Cost(channels, parameters, macs, file.stat().st_size / 2**20, latency_ms)


def _file_size_of(network: Network, beside: Path) -> Path:
    """The file the network came from; a fresh one is written so that its size can be told."""
    return network.file or save_checkpoint(network, beside.with_name(f"{beside.stem}_before.pth"))


def _latencies(dense: nn.Module, pruned: nn.Module, config: PruneOptions) -> tuple[float | None, float | None, str]:
    """Median latency in ms before and after, and the conditions as a sentence."""
    if not config.latency_repeats:
        return None, None, ""
    size = (config.latency_size, config.latency_size)
    contenders = {"before": dense, "after": pruned}
    measured = measure_latency(contenders, size, config.latency_repeats, choose_device(config.device))
    after = measured["after"]
    conditions = (
        f"latency: median of {after.repeats} interleaved passes at 1x3x{size[0]}x{size[1]}, float32, "
        f"{after.device}, {after.threads} threads"
    )
    return measured["before"].median_ms, after.median_ms, conditions


def _report(
    dense: Network, pruned: Network, source: Path, file: Path, planned: Plan, outcome: PruneOutcome
) -> PruningReport:
    """Costs of the network and its file before and after, the target, and what the user must know."""
    config = planned.config
    old, new, conditions = _latencies(dense.model, pruned.model, config)
    size = (config.latency_size, config.latency_size)
    before, after = _cost(dense, source, size, old), _cost(pruned, file, size, new)
    notes = [] if pruned.file else [f"the unpruned network is kept in {source}"]
    budget = planned.reached(after)
    notes += [*(budget.notes() if budget else []), *planned.disagreement(pruned.model)]
    settings, layers = planned.settings(), outcome.layers
    return PruningReport(
        settings, before, after, layers, size, conditions, notes=notes, budget=budget, divisors=planned.divisors
    )


def _model_file(network: Network, config: PruneOptions) -> Path:
    """Where the pruned network goes: ``--model_name``, else a name that tells origin, criterion and ratio or target."""
    stem = network.file.stem if network.file else network.architecture
    goal = f"{config.pruning_ratio:g}"
    if config.target:
        asked = str(getattr(config, config.target)).replace("%", "pct").replace(" ", "").removesuffix(".0")
        goal = config.target.removeprefix("target_").removesuffix("_ms") + asked
    name = config.model_name or f"{stem}_{config.criterion.lower()}_{goal}"
    file = MODELS / f"{name.removesuffix('.pth')}.pth"
    if network.file and file.resolve() == network.file.resolve():
        raise UserError(f"--model_name {name}: would overwrite the model that is pruned, choose another name")
    return file


def prune(config: PruneOptions) -> PruneResult:
    """Prune a checkpoint as ``config`` says.

    Writes results/models/NAME.pth and results/pruning/NAME.{json,csv}.

    Raises:
        UserError: for anything the user can fix, whenever the result is not what was asked for, and when another process
            trains or prunes a network of that name.
    """
    start = time.perf_counter()
    set_threads(config.threads)
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    check_writable(MODELS)
    network = _network(config)
    print(f"model    {network.file or network.architecture}")
    model_file = _model_file(network, config)
    planned = plan(network, config)
    with locked(model_file):
        return _prune(network, model_file, planned, device, start)


def _prune(network: Network, model_file: Path, planned: Plan, device: torch.device, start: float) -> PruneResult:
    """``prune``, with everything named; ``start`` is when it began, in seconds of ``time.perf_counter``."""
    config = planned.config
    network.model.to(device)
    material = _Material(network, config, device)
    if not network.file:
        material.recalibrate()
    source = _file_size_of(network, model_file)
    dense = Network(copy.deepcopy(network.model).cpu(), network.architecture, network.classes)
    outcome = prune_model(network.model, config, material.hooks())
    settings = planned.settings() | {"number_format": material.step.numbers.record()}
    network.lineage = [
        *network.lineage,
        *([new_stage("prune", settings, {})] if config.pruning_ratio else []),
    ]
    save_checkpoint(network, model_file)
    report = _report(dense, network, source, model_file, planned, outcome)
    report.settings, report.seconds = settings, time.perf_counter() - start
    json = write_json(PRUNING / f"{model_file.stem}.json", report.to_json())
    return PruneResult(report, model_file, json, report.write_csv(json.with_suffix(".csv")))


def run(config: PruneOptions) -> None:
    """Prune and print the report."""
    print(prune(config))
