"""Knowledge distillation: a student learns from the class probabilities of a teacher besides the labels."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from prune.data.labels import IGNORE_INDEX
from prune.errors import UserError
from prune.models import all_logits, mode, without_auxiliary
from prune.models.checkpoint import Network
from prune.training.parallel import global_sum


def pixelwise_kl(student: torch.Tensor, teacher: torch.Tensor, label: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), mean over the valid pixels (Hinton et al. 2015).

    The factor T² keeps the size of the gradients the same for every temperature. 0 when no pixel is valid.

    Args:
        student: Logits float32 (N, C, H, W).
        teacher: Logits float32 (N, C, H, W); no gradient flows into them.
        label: int64 (N, H, W); pixels that are ignored are left out.
        temperature: T, larger = softer probabilities.
    """
    valid = label != IGNORE_INDEX
    wanted = (teacher.detach() / temperature).log_softmax(1)
    found = (student / temperature).log_softmax(1)
    divergence = F.kl_div(found, wanted, reduction="none", log_target=True).sum(1)
    return temperature**2 * global_sum((divergence * valid).sum()) / global_sum(valid.sum()).clamp(min=1)


@dataclass(frozen=True)
class Distillation:
    """The distillation loss of a batch.

    Args:
        teacher: Network on the device of the batch; it runs in evaluation mode and without gradients.
        weight: Weight of this loss beside the others.
        temperature: See ``pixelwise_kl``.
    """

    teacher: nn.Module
    weight: float = 1.0
    temperature: float = 2.0

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """What the teacher says of ``images`` (N, 3, H, W): float32 (N, C, H, W)."""
        with torch.no_grad(), without_auxiliary(self.teacher) as teacher, mode(teacher, training=False):
            return all_logits(teacher, images)["out"].float()

    def loss(self, student: torch.Tensor, teacher: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The weighted loss as a scalar, see ``pixelwise_kl``."""
        return self.weight * pixelwise_kl(student, teacher, label, self.temperature)


def require_fitting_teacher(teacher: Network, student: Network) -> None:
    """Check that a teacher speaks of the same classes and takes the same images as the student.

    Raises:
        UserError: when it does not.
    """
    name = teacher.file or teacher.architecture
    if teacher.classes.classes != student.classes.classes:
        raise UserError(
            f"--teacher: expected the classes {', '.join(student.classes.classes)}, "
            f"found {', '.join(teacher.classes.classes)} in {name}"
        )
    if teacher.preprocessing != student.preprocessing:
        raise UserError(f"--teacher: expected the normalization of the network that learns, found another in {name}")
