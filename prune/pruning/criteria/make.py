"""The criterion that the settings name."""

from prune.pruning.criteria.criterion import Criterion
from prune.pruning.criteria.gradients import ClassBalancedTaylor, Hessian, Jacobian, Taylor
from prune.pruning.criteria.weights import FPGM, LAMP, BNScale, Magnitude, Random
from prune.pruning.settings import PruneSettings


def make_criterion(config: PruneSettings) -> Criterion:
    """The criterion that ``--importance_type``, ``--p_value`` and ``--class_balance`` name."""
    if config.importance_type == "Magnitude":
        return Magnitude(config.p_value)
    if config.importance_type == "Random":
        return Random(config.seed)
    if config.class_balance:
        return ClassBalancedTaylor()
    kinds: dict[str, type[Criterion]] = {
        "Taylor": Taylor,
        "FPGM": FPGM,
        "BNScale": BNScale,
        "LAMP": LAMP,
        "Hessian": Hessian,
        "Jacobian": Jacobian,
    }
    return kinds[config.importance_type]()
