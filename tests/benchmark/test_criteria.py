"""The agreement of criteria with the true change of the loss, on networks whose answers are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prune.benchmark.criteria import ALL, Agreement, _correlations, class_losses, rank_agreement, silenced
from prune.data.find_split import find_split
from prune.data.labels import S2DS
from prune.models.checkpoint import Network
from prune.pruning.graph import Graph
from prune.pruning.settings import PruneSettings
from prune.training.losses import make_loss

CPU = torch.device("cpu")


class Constant(nn.Module):
    """Five channels that are 1 everywhere, and a classifier that adds 0.1 to 0.5 of them to the logit of the last class.

    The norms of the filters that make the channels are 2, 1, 4, 3 and 5, so small that the image makes no difference.
    """

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 5, 1))
        self.classifier = nn.Conv2d(5, classes, 1, bias=False)
        with torch.no_grad():
            self.backbone[0].weight[:] = 1e-6 * torch.tensor([2.0, 1, 4, 3, 5]).view(5, 1, 1, 1)
            self.backbone[0].bias.fill_(1)
            self.classifier.weight.zero_()
            self.classifier.weight[-1] = torch.arange(1, 6).view(5, 1, 1) / 10

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.classifier(self.backbone(images))}


def test_criteria_rank_channels_as_their_scores_say(data: Path) -> None:
    """Ranks 2 1 4 3 5 against 1 2 3 4 5: Spearman's correlation is 1 - 6 · 4 / (5 · 24) = 0.8, for every labeled class."""
    network, split = Network(Constant(), "constant", S2DS), find_split(data, S2DS, role="train")
    config = PruneSettings(importance_type="Magnitude", p_value=1, crop_size=64, loss="ce")
    found = rank_agreement(network, split, split, config, {"L1": config}, channels=10, batches=1, batch_size=4)
    assert (found.groups, list(found.correlations["L1"])) == (1, [ALL, *S2DS.classes])
    known = {name: value for name, value in found.correlations["L1"].items() if not math.isnan(value) and name != ALL}
    assert "Crack" in known and known == dict.fromkeys(known, pytest.approx(0.8))
    assert torch.equal(network.model.state_dict()["classifier.weight"], Constant().state_dict()["classifier.weight"])


def test_a_silenced_channel_is_read_as_zero_inside_the_block_only() -> None:
    model = Constant()
    graph = Graph(model)
    (group,) = (graph.coupling(one) for one in graph.groups())
    before, image = model.classifier.weight.clone(), torch.zeros(1, 3, 2, 2)
    with silenced(group, 3):
        assert torch.equal(model.classifier.weight[:, 3], torch.zeros(7, 1, 1))
        assert model(image)["out"][0, -1, 0, 0].item() == pytest.approx(1.5 - 0.4)
    assert torch.equal(model.classifier.weight, before)
    assert model(image)["out"][0, -1, 0, 0].item() == pytest.approx(1.5)


def test_losses_are_means_over_the_pixels_of_a_class_and_over_the_batches_that_show_it() -> None:
    """The logits are 0 and ln 3: probabilities 1/4 and 3/4, losses ln 4 and ln 4/3; class 2 is never shown."""

    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = torch.tensor([0.0, math.log(3), -1e4]).view(1, 3, 1, 1)
            return {"out": logits.expand(len(images), 3, *images.shape[2:])}

    image = torch.zeros(1, 3, 2, 2)
    batches = [(image, torch.tensor([[[0, 0], [0, 1]]])), (image, torch.tensor([[[0, 0], [0, 255]]]))]
    found = class_losses(Fixed(), batches, make_loss("ce"), 3)
    background, crack = math.log(4), math.log(4 / 3)
    expected = [((3 * background + crack) / 4 + background) / 2, background, crack, math.nan]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_never_changes_has_no_correlation() -> None:
    changes = np.array([[1.0, 0, 3], [2, 0, 2], [3, 0, 1], [4, 0, math.nan]])
    found = _correlations(np.array([1.0, 2, 3, 4]), changes)
    assert found[0] == pytest.approx(1) and math.isnan(found[1]) and math.isnan(found[2])
    assert all(map(math.isnan, _correlations(np.ones(4), changes)))
    assert all(map(math.isnan, _correlations(np.array([1.0, 2]), changes[:2])))


def test_the_table_has_a_row_per_criterion() -> None:
    shown = str(Agreement({"L1": {ALL: 0.5, "Crack": math.nan}, "Taylor": {ALL: -0.25, "Crack": 1.0}}, 2, 10))
    assert [line.split() for line in shown.splitlines() if line.split()[0] in ("L1", "Taylor")] == [
        ["L1", "0.50", "nan"],
        ["Taylor", "-0.25", "1.00"],
    ]
