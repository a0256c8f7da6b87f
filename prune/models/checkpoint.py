"""Checkpoints: one self-describing file per network that runs no code when it is read."""

import datetime
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from prune.data.labels import S2DS, ClassSet
from prune.data.preprocessing import Preprocessing
from prune.errors import UserError
from prune.files import MODELS, visible
from prune.hardware import versions
from prune.models import ARCHITECTURES, architecture
from prune.models.factory import PREFIX, Factory, trusted
from prune.models.output_stride import as_built, output_stride, set_output_stride
from prune.models.outputs import traced_logits
from prune.models.rebuild import fill, rebuild
from prune.models.state_dict import describe_state, unnamed_classes
from prune.models.torch_file import read_torch, write_torch
from prune.models.weight_packages import described_weights
from prune.shapes import Each, Many, check_shape

FORMAT = "prune-checkpoint"
FORMAT_VERSION = 2
SHAPE = {
    "architecture": {"name": str, "num_classes": int, "auxiliary": bool, "options?": dict, "output_stride?": int},
    "classes": dict,
    "preprocessing": dict,
    "lineage": Many({"stage": str, "settings": dict, "scores": dict, "date?": str}),
    "state_dict": Each(object),
}
"""What a checkpoint must hold besides tensors."""
"""Of files that hold an output stride; all others are written as version 1, which earlier programs read."""


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
        factory: What builds it, when it is not a network of this project.
    """

    model: nn.Module
    architecture: str
    classes: ClassSet = S2DS
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    file: Path | None = None
    foreign: bool = False
    factory: Factory | None = None

    @property
    def title(self) -> str:
        """A short name: that of its file, else of its architecture."""
        return self.file.stem if self.file else self.architecture.replace(":", ".").rsplit(".", 1)[-1]

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
    return any(isinstance(stage, Mapping) and stage.get("stage") == "prune" for stage in lineage)


def new_stage(stage: str, settings: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the lineage: ``stage`` is train, prune, fine-tune, stride, qat or quantize; settings and scores are plain values."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {"stage": stage, "settings": dict(settings), "scores": dict(scores), "date": now}


def describe_stage(stage: Mapping[str, Any]) -> str:
    """One line such as ``train: 20 epochs on data/S2DS/train, best miou 0.512 in epoch 18, seed 0``."""
    settings, scores = stage["settings"], stage["scores"]
    stride = f"output stride {settings['output_stride']}" if settings.get("output_stride") else ""
    if stage["stage"] == "stride":
        return f"{stride}, weights kept"
    if stage["stage"] == "quantize":
        return f"quantize: int8 by {settings.get('means')}, {settings.get('calibration_images')} calibration images"
    if stage["stage"] == "prune":
        ratio = settings.get("pruning_ratio")
        share = f"{ratio:g}%" if isinstance(ratio, (int, float)) else "an unknown share"
        return (
            f"prune: {settings.get('criterion')} {share} of channels, "
            f"{settings.get('allocation')}, {settings.get('iterative_steps')} step(s){stride and ', '}{stride}"
        )
    best = ", ".join(f"{key} {value:.4g}" for key, value in scores.items() if isinstance(value, (int, float)))
    warning = f", {scores['warning']}" if scores.get("warning") else ""
    source = described_weights(settings)
    start = f", from {source}" if source else ""
    return f"{stage['stage']}: on {settings.get('train_dir')}{start}, {best}, seed {settings.get('seed')}{warning}"


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
        UserError: when a weight is not finite, the file cannot be written, or nothing is known that could rebuild the
            network; an earlier file stays as it was.
    """
    require_factory(network)
    state = _flushed(network.model.state_dict())
    require_finite(state, path)
    write_torch(_content(network, state), path)
    return path


def size_mib(network: Network) -> float:
    """Size in MiB of the file of a network, or of the one that would be written."""
    if network.file is not None and network.file.is_file():
        return network.file.stat().st_size / 2**20
    written = io.BytesIO()
    torch.save(_content(network, _flushed(network.model.state_dict())), written)
    return written.tell() / 2**20


def require_factory(network: Network) -> None:
    """Raise ``UserError`` when nothing is known that could rebuild the network from a checkpoint."""
    if network.factory is None and network.architecture not in ARCHITECTURES:
        try:
            architecture(network.architecture)
        except UserError:
            raise UserError(
                f"--factory: expected what builds {network.architecture}, a function or package.module:function, so "
                "that a checkpoint can name it, found none"
            ) from None


def _content(network: Network, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What a checkpoint holds."""
    built = {"name": network.architecture, "num_classes": len(network.classes), "auxiliary": network.auxiliary}
    if network.factory is not None:
        built |= {"name": network.factory.architecture, "options": dict(network.factory.options)}
    plain = as_built(network.model)
    if not plain:  # shapes do not tell strides
        built["output_stride"] = output_stride(network.model)
    return {
        "format": FORMAT,
        "version": 1 if plain else FORMAT_VERSION,
        "architecture": built,
        "classes": network.classes.to_dict(),
        "preprocessing": network.preprocessing.to_dict(),
        "lineage": network.lineage,
        "versions": versions(),
        "state_dict": state,
    }


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


def _from_plain_state(state: dict[str, torch.Tensor], path: Path, factory: object) -> Network:
    """A network from a bare state dict, dense or pruned, of a network this project knows or that ``factory`` builds."""
    require_finite(state, path)
    if factory is not None:
        named = Factory.of(factory)
        model = fill(trusted(named, factory), state, named.architecture)
        classes = unnamed_classes(traced_logits(model)["out"].shape[1], path)
        return Network(model, named.architecture, classes, file=path, foreign=True, factory=named)
    name, number, auxiliary = describe_state(state, path)
    classes = unnamed_classes(number, path)
    return Network(rebuild(name, number, auxiliary, state), name, classes, file=path, foreign=True)


def _rebuilt(
    built: Mapping[str, Any], state: dict[str, torch.Tensor], factory: object
) -> tuple[nn.Module, Factory | None]:
    """The module that a checkpoint describes, and what built it when it is not a network of this project."""
    name = built["name"]
    if not name.startswith(PREFIX):
        return rebuild(name, built["num_classes"], built["auxiliary"], state), None
    stored = Factory(name.removeprefix(PREFIX), built["options"])
    return fill(trusted(stored, factory), state, name), stored


def load_checkpoint(path: Path, trust_pickle: bool = False, factory: object = None) -> Network:
    """Rebuild the network stored in ``path``, dense or pruned, in evaluation mode; its logits equal the saved one's bit by bit.

    This project's checkpoints and bare state dicts of the networks it knows (torchvision's names) load.

    Args:
        path: The file.
        trust_pickle: Also open whole-module pickles, which can run any code.
        factory: What builds a network from outside this project: the ``package.module:function`` that the checkpoint
            names, or a function to call in its place. Without it no such function is imported or called.

    Raises:
        UserError: when the file is missing, damaged, of a newer format, holds something else or weights that are not
            finite, and when it needs a factory and none or another is named.
        TypeError: for a factory that is neither text nor function.
    """
    if factory is not None:
        Factory.of(factory)
    content = read_torch(path, trust_pickle)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return _from_plain_state(_plain_state(content, path), path, factory)
    check_shape(content, {"version": int}, str(path))
    if content["version"] > FORMAT_VERSION:
        raise UserError(f"{path}: format version {content['version']}, this program reads up to {FORMAT_VERSION}")
    check_shape(content, SHAPE, str(path))
    try:
        built, state = content["architecture"], content["state_dict"]
        classes = ClassSet.from_dict(content["classes"])
        if built["num_classes"] != len(classes):
            raise UserError(f"{path}: expected outputs for its {len(classes)} classes, found {built['num_classes']}")
        require_finite(state, path)
        model, named = _rebuilt(built, state, factory)
        if "output_stride" in built:
            set_output_stride(model, built["output_stride"], "output stride")
        preprocessing = Preprocessing.from_dict(content["preprocessing"])
        lineage = content["lineage"]
        return Network(model, built["name"], classes, preprocessing, lineage, path, factory=named)
    except UserError as error:
        raise error if str(path) in error.message else UserError(f"{path}: {error.message}") from error
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
    found = content.get("lineage", ()) if isinstance(content, Mapping) else ()
    return found if isinstance(found, (list, tuple)) else ()


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
