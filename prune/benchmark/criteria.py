"""How well importance criteria rank channels: rank correlation with the true change of the loss, for every class.

The figures of ``docs/criteria.md`` are those of ``rank_agreement``. It silences one channel after the other and recomputes
the loss, which no criterion can afford.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from prune.api.pruning_data import PruningData
from prune.data.dataset import Batch
from prune.data.labels import IGNORE_INDEX
from prune.data.split import Split
from prune.models import all_logits, mode
from prune.models.checkpoint import Network
from prune.progress import progress
from prune.pruning.criteria import IMPORTANCE_TYPES
from prune.pruning.criteria.make import make_criterion
from prune.pruning.graph import Graph, only_frozen
from prune.pruning.group import Group, filters
from prune.pruning.settings import PruneSettings
from prune.tables import text_table
from prune.training.losses import Loss

ALL = "all pixels"
"""The loss of all pixels, beside those of the pixels of one class."""


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation between scores and true changes of the loss within a group, mean over groups.

    Args:
        correlations: By criterion, then by class or ``ALL``; NaN where the loss of a class never changed.
        groups: How many groups were ranked.
        channels: Channels per group, at most.
    """

    correlations: Mapping[str, Mapping[str, float]]
    groups: int
    channels: int

    def __str__(self) -> str:
        columns = list(next(iter(self.correlations.values())))
        rows = [[name, *(f"{own[column]:.2f}" for column in columns)] for name, own in self.correlations.items()]
        return text_table(["criterion", *columns], rows)


def default_criteria(config: PruneSettings) -> dict[str, PruneSettings]:
    """Every criterion as tables call it, with the settings that choose it."""
    kinds = [replace(config, importance_type=name) for name in IMPORTANCE_TYPES]
    kinds += [replace(config, importance_type="Magnitude", p_value=1)]
    kinds += [replace(config, importance_type="Taylor", class_balance=True)]
    return {kind.criterion: kind for kind in kinds}


@contextmanager
def silenced(group: Group, channel: int) -> Iterator[None]:
    """Set what reads one channel of a group to zero inside the block: the network is as if it were removed."""
    changed = []
    with torch.no_grad():
        for member in group.consumers or group.producers:
            weight = filters(member.layer, member.layer.weight)  # type: ignore[arg-type]
            inward = weight if weight.shape[1] == 1 or not group.consumers else weight.transpose(0, 1)
            own = member.indices[member.roots == channel]
            changed.append((inward, own, inward[own].clone()))
            inward[own] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            for inward, own, before in changed:
                inward[own] = before


def class_losses(model: nn.Module, batches: Sequence[Batch], loss: Loss, classes: int) -> NDArray[np.float64]:
    """Loss of all pixels and of those of every class, float64 (1 + classes,): means over the batches that show it.

    The main head in evaluation mode; NaN for a class that no batch shows.
    """
    found = np.full((len(batches), 1 + classes), np.nan)
    with torch.no_grad(), mode(model, training=False):
        for row, (images, label) in zip(found, batches, strict=True):
            logits = all_logits(model, images)["out"]
            row[0] = float(loss(logits, label))
            for index in set(label.unique().tolist()) - {IGNORE_INDEX}:
                row[1 + index] = float(loss(logits, torch.where(label == index, label, IGNORE_INDEX)))
    seen = ~np.isnan(found)
    return np.where(seen, found, 0).sum(0) / np.where(seen.any(0), seen.sum(0), np.nan)


def _scores(
    network: Network, train: Split, criteria: Mapping[str, PruneSettings], device: torch.device
) -> dict[str, list[torch.Tensor]]:
    """The scores of every group by every criterion."""
    scores = {}
    for name, config in criteria.items():
        criterion, data = make_criterion(config), PruningData(network, train, config, device)
        with only_frozen(network.model, ()):
            if criterion.needs_gradients:
                criterion.collect(network.model, data.gradients())
            graph = Graph(network.model)
            scores[name] = [criterion.score(graph.coupling(group)) for group in graph.groups()]
    return scores


def rank_agreement(
    network: Network,
    train: Split,
    held_out: Split,
    config: PruneSettings,
    criteria: Mapping[str, PruneSettings] | None = None,
    channels: int = 10,
    batches: int = 4,
    batch_size: int = 8,
) -> Agreement:
    """Rank correlation of criteria with the true change |ΔL| of the training loss when a channel is removed.

    Args:
        network: Trained; it is copied, and compared on the CPU.
        train: What gradients are taken on.
        held_out: What the true change is taken on.
        config: Crops, loss and number of labeled batches.
        criteria: By name, None = ``default_criteria``.
        channels: How many of each group are silenced, drawn by the seed.
        batches: Of held-out crops.
        batch_size: Crops in each.
    """
    device, network = torch.device("cpu"), copy.deepcopy(network)
    network.model.to(device)
    scores = _scores(network, train, criteria or default_criteria(config), device)
    data = PruningData(network, held_out, config, device)
    drawn, number = list(data.batches(data.plain, batches, batch_size)), len(network.classes)
    before = class_losses(network.model, drawn, data.step.loss, number)
    rng = np.random.default_rng(config.seed)
    found: dict[str, list[list[float]]] = {name: [] for name in scores}
    with only_frozen(network.model, ()):
        graph = Graph(network.model)
        couplings = [graph.coupling(group) for group in graph.groups()]
    for index, group in enumerate(progress(couplings, "silencing channels", "group")):
        chosen = np.sort(rng.permutation(group.channels)[:channels])
        changes = []
        for channel in chosen.tolist():
            with silenced(group, channel):
                changes.append(np.abs(class_losses(network.model, drawn, data.step.loss, number) - before))
        for name, own in scores.items():
            found[name].append(_correlations(own[index].numpy()[chosen], np.array(changes)))
    columns = [ALL, *network.classes.classes]
    means = {name: dict(zip(columns, _means(rows), strict=True)) for name, rows in found.items()}
    return Agreement(means, len(couplings), channels)


def _correlations(scores: NDArray[np.float64], changes: NDArray[np.float64]) -> list[float]:
    """Spearman's correlation with every column of changes (channels, columns); NaN where either is constant."""
    if np.ptp(scores) == 0 or len(scores) < 3:
        return [math.nan] * changes.shape[1]
    constant = [not np.ptp(column) > 0 for column in changes.T]
    return [
        math.nan if flat else float(spearmanr(scores, c).statistic) for c, flat in zip(changes.T, constant, strict=True)
    ]


def _means(rows: Sequence[Sequence[float]]) -> list[float]:
    """Column means without NaN."""
    columns = np.array(rows).T
    return [float(np.nanmean(column)) if not np.isnan(column).all() else math.nan for column in columns]
