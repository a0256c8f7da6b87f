"""What a saved network is: one self-describing file that runs no code when it is read."""

import datetime
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.data.preprocessing import Preprocessing
from prune.errors import UserError
from prune.files import MODELS, visible
from prune.hardware import versions
from prune.models import ARCHITECTURES, build_model, output_layers
from prune.models.rebuild import rebuild
from prune.models.torch_file import read_torch, write_torch

FORMAT = "prune-checkpoint"
FORMAT_VERSION = 1


@dataclass
class Network:
    """A network with everything needed to use it.

    Args:
        model: The module, see ``prune.models.build_model``.
        architecture: Its name, see ``prune.models.architecture``.
        classes: What its output channels mean.
        preprocessing: What must happen to an image first.
        lineage: What was done to it so far, oldest first: ``{"stage", "settings", "scores", "date"}``.
        file: Where it was loaded from, if it was.
        foreign: Whether it was a bare state dict, which does not tell what the network was trained on.
    """

    model: nn.Module
    architecture: str
    classes: ClassSet = S2DS
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    file: Path | None = None
    foreign: bool = False

    @property
    def auxiliary(self) -> bool:
        """Whether the auxiliary head is there."""
        return getattr(self.model, "aux_classifier", None) is not None

    @property
    def pruned(self) -> bool:
        """Whether a pruning stage is part of its lineage."""
        return _was_pruned(self.lineage)

    def history(self) -> list[str]:
        """The lineage as short sentences, for reports."""
        return [describe_stage(stage) for stage in self.lineage]


def _was_pruned(lineage: Iterable[Mapping[str, Any]]) -> bool:
    return any(stage["stage"] == "prune" for stage in lineage)


def new_stage(stage: str, settings: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the lineage: ``stage`` is train, prune or fine-tune; settings and scores are plain values."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {"stage": stage, "settings": dict(settings), "scores": dict(scores), "date": now}


def describe_stage(stage: Mapping[str, Any]) -> str:
    """One line such as ``train: 20 epochs on data/S2DS/train, best miou 0.512 in epoch 18, seed 0``."""
    settings, scores = stage["settings"], stage["scores"]
    if stage["stage"] == "prune":
        return (
            f"prune: {settings.get('criterion')} {settings.get('pruning_ratio'):g} % of channels, "
            f"{settings.get('allocation')}, {settings.get('iterative_steps')} step(s)"
        )
    best = ", ".join(f"{key} {value:.4g}" for key, value in scores.items() if isinstance(value, (int, float)))
    warning = f", {scores['warning']}" if scores.get("warning") else ""
    return f"{stage['stage']}: on {settings.get('train_dir')}, {best}, seed {settings.get('seed')}{warning}"


def _flushed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous CPU copies with denormals set to zero, so that no CPU runs the network ten times slower."""
    flushed = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().contiguous()
        if value.is_floating_point():
            value = torch.where(value.abs() < torch.finfo(value.dtype).tiny, torch.zeros_like(value), value)
        flushed[name] = value
    return flushed


def not_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity, None when all are finite."""
    return next((name for name, tensor in state.items() if not torch.isfinite(tensor).all()), None)


def require_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise ``UserError`` when a tensor of the state dict that is read from or written to ``path`` is not finite."""
    name = not_finite(state)
    if name is not None:
        raise UserError(f"{path}: expected finite weights, found NaN or infinity in {name}: its training diverged")


def save_checkpoint(network: Network, path: Path) -> Path:
    """Write ``network`` as one pickle-free file, atomically, and return ``path``.

    The state dict's shapes are the widths of the layers: ``load_checkpoint`` rebuilds a pruned network from them.

    Raises:
        UserError: when a weight is not finite or the file cannot be written; an earlier file stays as it was.
    """
    state = _flushed(network.model.state_dict())
    require_finite(state, path)
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "architecture": {
            "name": network.architecture,
            "num_classes": len(network.classes),
            "auxiliary": network.auxiliary,
        },
        "classes": network.classes.to_dict(),
        "preprocessing": network.preprocessing.to_dict(),
        "lineage": network.lineage,
        "versions": versions(),
        "state_dict": state,
    }
    write_torch(content, path)
    return path


def _plain_state(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a foreign file: bare, nested under a usual key, or of a trusted module."""
    if isinstance(content, nn.Module):
        content = content.state_dict()
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if (
        not isinstance(content, Mapping)
        or not all(isinstance(v, torch.Tensor) for v in content.values())
        or not content
    ):
        raise UserError(f"{path}: expected a checkpoint or a state dict, found {type(content).__name__}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def read_state_dict(path: Path, trust_pickle: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of any file that holds a state dict: this project's checkpoints, torchvision's weights, others'.

    Raises:
        UserError: as ``read_torch``, when there is no state dict, and when a tensor is not finite.
    """
    state = _plain_state(read_torch(path, trust_pickle), path)
    require_finite(state, path)
    return state


def _described(state: Mapping[str, torch.Tensor], path: Path) -> tuple[str, int, bool]:
    """Architecture, number of classes and whether there are auxiliary heads, from the names and shapes of the tensors.

    Networks of one family have the same names; the one whose dense widths fit best is taken, although a pruned
    network is rebuilt alike under either name.
    """
    best: tuple[int, str, int, bool] | None = None
    for name, auxiliary in itertools.product(ARCHITECTURES, (False, True)):
        try:
            with torch.device("meta"):
                model = build_model(name, 2, auxiliary)
        except UserError:  # an optional package is missing
            continue
        own = model.state_dict()
        if own.keys() != state.keys():
            continue
        fitting = sum(own[key].shape == tensor.shape for key, tensor in state.items())
        output = next(key for key, module in model.named_modules() if module is output_layers(model)[0])
        if best is None or fitting > best[0]:
            best = fitting, name, int(state[f"{output}.weight"].shape[0]), auxiliary
    if best is None:
        raise UserError(
            f"{path}: expected the state dict of a network this project knows (python -m prune models), found other weights"
        )
    return best[1:]


def _from_plain_state(state: dict[str, torch.Tensor], path: Path) -> Network:
    """A network from a bare state dict, dense or pruned; two classes are taken for background and crack."""
    name, number, auxiliary = _described(state, path)
    if number > IGNORE_INDEX:
        raise UserError(f"{path}: expected at most {IGNORE_INDEX} classes, found {number}")
    require_finite(state, path)
    known = next((classes for classes in (S2DS, CRACK) if len(classes) == number), None)
    names = tuple(f"class {i}" for i in range(number))
    classes = known or ClassSet(f"{number} unnamed classes", names, ((128, 128, 128),) * number)
    return Network(rebuild(name, number, auxiliary, state), name, classes, file=path, foreign=True)


def load_checkpoint(path: Path, trust_pickle: bool = False) -> Network:
    """Rebuild the network stored in ``path``, dense or pruned, in evaluation mode; its logits equal the saved one's bit by bit.

    This project's checkpoints and bare state dicts of the networks it knows (torchvision's names) load; ``trust_pickle`` also opens whole-module
    pickles, which can run any code.

    Raises:
        UserError: when the file is missing, damaged, of a newer format, holds something else or weights that are not finite.
    """
    content = read_torch(path, trust_pickle)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return _from_plain_state(_plain_state(content, path), path)
    if content["version"] > FORMAT_VERSION:
        raise UserError(f"{path}: format version {content['version']}, this program reads up to {FORMAT_VERSION}")
    try:
        built, state = content["architecture"], content["state_dict"]
        classes = ClassSet.from_dict(content["classes"])
        if built["num_classes"] != len(classes):
            raise UserError(f"{path}: expected outputs for its {len(classes)} classes, found {built['num_classes']}")
        require_finite(state, path)
        model = rebuild(built["name"], len(classes), built["auxiliary"], state)
        preprocessing = Preprocessing.from_dict(content["preprocessing"])
        return Network(model, built["name"], classes, preprocessing, content["lineage"], path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: the checkpoint is incomplete ({error!r})") from error


class _Classified(Protocol):
    """What has classes and comes from a file."""

    @property
    def classes(self) -> ClassSet:
        """What the outputs mean."""

    @property
    def file(self) -> Path | None:
        """Where it came from."""


def require_classes(network: _Classified, classes: ClassSet) -> None:
    """Raise ``UserError`` when the network's outputs are not the classes of the data."""
    if network.classes.classes != classes.classes:
        raise UserError(
            f"{network.file}: the data has the {len(classes)} classes of {classes.name}, "
            f"found a network of {len(network.classes)} classes ({network.classes.name})"
        )


def require_architecture(network: Network, name: str | None) -> None:
    """Raise ``UserError`` when a network was asked for by name and the file holds another."""
    if name is not None and network.architecture != name:
        raise UserError(
            f"{network.file}: expected a checkpoint of {name} (--model), found one of {network.architecture}"
        )


def _lineage(content: Any) -> Iterable[Mapping[str, Any]]:
    """The lineage in a file; a bare state dict or another program's file has none."""
    return content.get("lineage", ()) if isinstance(content, Mapping) else ()


def newest_model(pruned: bool | None = None) -> Path:
    """The newest checkpoint in ``results/models``, of the pruned or the dense ones when asked.

    Raises:
        UserError: when there is none; the message says which command makes one.
    """
    files = sorted(visible(MODELS, "*.pth"), key=lambda f: f.stat().st_mtime, reverse=True)
    for file in files:
        if pruned is None or _was_pruned(_lineage(read_torch(file))) == pruned:
            return file
    kind, maker = {
        None: ("", "train.py"),
        False: ("unpruned ", "train.py"),
        True: ("pruned ", "torchvision_pruning.py"),
    }[pruned]
    raise UserError(f"no {kind}checkpoint in {MODELS}: make one with python {maker}, or name a file")
