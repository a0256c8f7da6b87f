"""Criteria that look at gradients of the training loss on labeled images: one forward and backward pass per gradient."""

from collections.abc import Iterator

import torch
from torch import nn

from prune.errors import UserError
from prune.pruning.criteria.criterion import Gradients
from prune.pruning.group import Group, Layer, Member, Norm, filters


def _gradient(criterion: str, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The gradient of a parameter of the layer ``name``.

    Raises:
        UserError: when there is none, or one that is not finite.
    """
    if tensor.grad is None:
        raise UserError(f"{criterion}: no gradient reached layer {name}; the loss must use every head")
    if not torch.isfinite(tensor.grad).all():
        raise UserError(f"{criterion}: the gradient of layer {name} is not finite")
    return tensor.grad


def _by_input(layer: Layer, values: torch.Tensor) -> torch.Tensor:
    """Values of the shape of a layer's weight, summed over the weights that read each input channel: float64, CPU."""
    ordered = filters(layer, values).double()
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
    return (ordered if depthwise else ordered.transpose(0, 1)).flatten(1).sum(1).cpu()


def _layers(model: nn.Module) -> dict[str, Layer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Layer)}


def _cleared(criterion: str, model: nn.Module, gradients: Gradients) -> Iterator[int | None]:
    """Every gradient in turn; cleared afterwards, so that one the caller forgot to clear does not leak into the next.

    Raises:
        UserError: when there is none.
    """
    seen = False
    for item in gradients:
        seen = True
        yield item
        model.zero_grad(set_to_none=True)
    if not seen:
        raise UserError(f"{criterion}: needs at least one labeled batch, found none")


class _InOneUnit:
    """A criterion of the loss: its scores have the same unit in every layer."""

    needs_gradients = True

    def comparable(self, scores: torch.Tensor) -> torch.Tensor:
        """Already in one unit."""
        return scores


class Taylor(_InOneUnit):
    """Squared first-order estimate of how the task loss changes when the channel is removed.

    Removing a channel is the same as setting to zero the weights that read it. To first order a labeled batch b then
    changes its loss by −Σ w·∂L_b/∂w over those weights, over all layers that read the channel; they see it after batch
    norm and activation, so the norm's scale and shift are accounted for exactly. The score is the mean over batches of
    the square, as in Molchanov et al. 2019 (Importance Estimation for Neural Network Pruning). It is in units of loss²,
    the same for every layer, so global ranking needs no normalization.

    Why this and not another aggregation: measured as the mean rank correlation within a group with the true change of
    the mean loss, |ΔL|, on small trained networks (chain of 2 layers, 8 seeds / residual with concatenation, 6 seeds /
    ``deeplabv3_tiny``, 2 seeds, 10 channels per group):

    - readers' weights, squared per batch (this): 0.81 / 0.69 / 0.66; absolute value per batch: 0.78 / 0.70 / 0.68;
    - batch norm's scale and shift as a gate (γ·∂L/∂γ + β·∂L/∂β): the same numbers, since ReLU is homogeneous;
    - gradients summed over batches first: 0.53 / 0.53 / 0.79. Signed effects of batches cancel where the network is well
      trained; where they do not, as in the third, barely trained and with tiny effects, the sum is the better estimate;
    - producers' filters instead of readers: 0.59 / 0.47 / 0.46; mean of squares over all members: 0.83 / 0.66 / 0.61, and
      0.72 instead of 0.83 across the layers of the residual network, as it depends on what members there are;
    - |w·∂L/∂w| summed element by element: 0.27 / 0.52 / 0.72; L1: −0.04 / 0.15 / 0.04; random: 0.00 / 0.05 / 0.00.

    The sign of ΔL, whether a removal hurts or helps, is not predicted by any of them (0.24 at best in the third).
    """

    def __init__(self) -> None:
        self._effects: dict[nn.Module, list[torch.Tensor]] = {}

    def collect(self, model: nn.Module, gradients: Gradients) -> None:
        """Note Σ w·∂L/∂w of every input channel of every layer, for one batch after the other.

        Raises:
            UserError: when a layer got no gradient or one that is not finite, or without any batch.
        """
        self._effects, layers = {layer: [] for layer in _layers(model).values()}, _layers(model)
        for item in _cleared("Taylor", model, gradients):
            self._note(item)
            for name, layer in layers.items():
                product = layer.weight.detach() * _gradient("Taylor", name, layer.weight)
                self._effects[layer].append(_by_input(layer, product))

    def _note(self, item: int | None) -> None:
        """Take note of the class a gradient was taken on."""

    def _squares(self, group: Group) -> torch.Tensor:
        """Squared change of the loss, float64 (channels, gradients)."""
        members = group.consumers or group.producers
        taken = len(self._effects[members[0].layer])
        change = torch.zeros(group.channels, taken, dtype=torch.float64)
        for member in members:
            change.index_add_(0, member.roots, torch.stack(self._effects[member.layer], dim=1)[member.indices])
        return change.square()

    def score(self, group: Group) -> torch.Tensor:
        """Mean over batches of the squared change of the loss."""
        return self._squares(group).mean(1)


class ClassBalancedTaylor(Taylor):
    """Taylor, taken per class and combined so that every class counts alike, however few its pixels are.

    T_c is Taylor's statistic of the training loss on the pixels labeled c alone (all others ignored), the mean over the
    batches that show c. A class's loss and gradients have a size of their own, so each T_c is divided by its sum over all
    input channels of the network; the score is the mean over the classes of T_c / ΣT_c. A crack of 0.1% of the pixels then
    decides as much as the background, while its pixels make up 0.001 of a mean cross entropy and 0.000001 of its square.

    The reference idea is the Equalization Importance Criterion of DCFP (Distribution Calibrated Filter Pruning, IEEE TCSVT
    34(7), 2024): importance is dominated by head classes, and the tail degenerates first. It balances ∂L/∂γ of batch norm by
    leaving out gradients of one sign while training; here the classes are told apart exactly and no training is needed.
    It costs one forward and backward pass per class that a batch shows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._classes: list[int | None] = []
        self._sums: dict[int | None, float] = {}

    def collect(self, model: nn.Module, gradients: Gradients) -> None:
        """Note the effects, the class of each, and the sum of every class's statistic."""
        self._classes = []
        super().collect(model, gradients)
        every = torch.cat([torch.stack(effects, dim=1) for effects in self._effects.values()]).square()
        self._sums = {
            label: float(every[:, self._taken(label)].mean(1).sum()) for label in dict.fromkeys(self._classes)
        }

    def _note(self, item: int | None) -> None:
        self._classes.append(item)

    def _taken(self, label: int | None) -> torch.Tensor:
        return torch.tensor([item == label for item in self._classes])

    def score(self, group: Group) -> torch.Tensor:
        """Mean over classes of the share in the class's own statistic; a class that nothing changes counts 0."""
        squares = self._squares(group)
        shares = [squares[:, self._taken(label)].mean(1) / (total or 1) for label, total in self._sums.items()]
        return torch.stack(shares).mean(0)


class Hessian(_InOneUnit):
    """The diagonal second-order estimate of how the loss rises when the channel is removed (LeCun et al. 1990, OBD).

    Optimal Brain Damage: a weight w set to zero raises the loss of a trained network by ½·h·w², h its entry on the diagonal
    of the Hessian. h is estimated by the mean over samples of (∂L/∂w)², the diagonal of the empirical Fisher matrix, which
    equals that of the Hessian for a likelihood at its optimum. The score is the sum over the weights that read the channel
    (setting them to zero removes it). In units of the loss, the same for every layer.

    What OBD leaves out, h between different weights, is what ``Taylor`` and ``Jacobian`` keep: they sum w·∂L/∂w before
    they square.
    """

    def __init__(self) -> None:
        self._rises: dict[nn.Module, torch.Tensor] = {}

    def collect(self, model: nn.Module, gradients: Gradients) -> None:
        """Add up ½·(w·∂L/∂w)² of every input channel of every layer over samples.

        Args:
            model: The network.
            gradients: One gradient per *sample*: the square of a batch's mean gradient is another quantity.

        Raises:
            UserError: when a layer got no gradient or one that is not finite, or without any sample.
        """
        totals: dict[nn.Module, torch.Tensor] = {}
        layers, samples = _layers(model), 0
        for _ in _cleared("Hessian", model, gradients):
            samples += 1
            for name, layer in layers.items():
                product = (layer.weight.detach() * _gradient("Hessian", name, layer.weight)).double()
                rise = _by_input(layer, product.square() / 2)
                totals[layer] = totals[layer] + rise if layer in totals else rise
        self._rises = {layer: total / samples for layer, total in totals.items()}

    def score(self, group: Group) -> torch.Tensor:
        """½ Σ w² · mean (∂L/∂w)² per channel."""
        total = torch.zeros(group.channels, dtype=torch.float64)
        for member in group.consumers or group.producers:
            total.index_add_(0, member.roots, self._rises[member.layer][member.indices])
        return total


class Jacobian(_InOneUnit):
    """The Jacobian criterion (Chen et al. 2025, Optimal Brain Connection, arXiv 2508.05521): Σ_m w_mᵀ(J_mᵀJ_m)w_m.

    m runs over all members of the group: the filter (with its bias) in every layer that produces the channel, the scale and
    shift of its batch norms, and the weights that read it in every layer. J_m has one row per labeled batch, the gradient
    of its loss with regard to w_m, so that a member's term is the sum over batches of (Σ w·∂L/∂w)²: weights of one member
    interact, the off-diagonal entries of JᵀJ, where OBD takes the diagonal. The mean over batches is taken instead of the
    sum, which ranks the same. In units of loss², the same for every layer.

    Against ``Taylor``: that adds the readers' effects before it squares, and leaves out producers and norms, whose terms
    are the same effect seen from the other side of a ReLU.
    """

    def __init__(self) -> None:
        self._outputs: dict[nn.Module, torch.Tensor] = {}
        self._inputs: dict[nn.Module, torch.Tensor] = {}

    def collect(self, model: nn.Module, gradients: Gradients) -> None:
        """Average (Σ w·∂L/∂w)² of every output and input channel over batches.

        Raises:
            UserError: when a layer or batch norm got no gradient or one that is not finite, or without any batch.
        """
        outputs: dict[nn.Module, list[torch.Tensor]] = {}
        inputs: dict[nn.Module, list[torch.Tensor]] = {}
        kinds = (*Layer.__args__, Norm)  # type: ignore[attr-defined]
        modules = {name: m for name, m in model.named_modules() if isinstance(m, kinds) and m.weight is not None}
        for _ in _cleared("Jacobian", model, gradients):
            for name, module in modules.items():
                product = (module.weight.detach() * _gradient("Jacobian", name, module.weight)).double()
                if isinstance(module, Layer):
                    inputs.setdefault(module, []).append(_by_input(module, product).square())
                    product = filters(module, product).flatten(1).sum(1)
                if module.bias is not None:
                    product = product + module.bias.detach() * _gradient("Jacobian", name, module.bias)
                outputs.setdefault(module, []).append(product.cpu().square())
        self._outputs = {module: torch.stack(values).mean(0) for module, values in outputs.items()}
        self._inputs = {module: torch.stack(values).mean(0) for module, values in inputs.items()}

    def score(self, group: Group) -> torch.Tensor:
        """Sum over the members of the mean squared change of the loss."""
        total = torch.zeros(group.channels, dtype=torch.float64)
        kept = ((group.producers, self._outputs), (group.norms, self._outputs), (group.consumers, self._inputs))
        for members, terms in kept:
            for member in members:
                total.index_add_(0, member.roots, self._term(group, member, terms)[member.indices])
        return total

    @staticmethod
    def _term(group: Group, member: Member, terms: dict[nn.Module, torch.Tensor]) -> torch.Tensor:
        if member.layer not in terms:
            raise UserError(
                f"Jacobian: expected gradients of every layer in the group of {group.name}, found none of one"
            )
        return terms[member.layer]
