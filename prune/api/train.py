"""``prune.train``: train a network, or fine-tune one."""

import copy
import dataclasses
import html
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prune.api.inputs import AnyModel, Data, class_set, of_result, opened_data, opened_network
from prune.api.model import Model, model_of
from prune.data.labels import ClassSet
from prune.data.split import Split
from prune.errors import UserError
from prune.files import locked
from prune.hardware import set_threads
from prune.models.checkpoint import Network, require_architecture
from prune.options import settings_from, with_settings
from prune.progress import say
from prune.report.curves import training_curves
from prune.tables import data_frame
from prune.training import ranks
from prune.training.history import Row
from prune.training.loop import Progress, RunFiles
from prune.training.prepare import fresh_network, training_splits
from prune.training.run import Material, Trained, require_unused, run_numbers, train_network
from prune.training.settings import TrainSettings, stored_settings


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Args:
        model: The network of the best epoch.
        progress: Epochs, best epoch, seconds.
        monitor: The validation score that chose the best epoch.
        checkpoint: File of the best epoch, if one was named.
        run: Folder of the run, if one was named.
        warning: What is wrong with the best epoch, empty = nothing.
    """

    model: Model
    progress: Progress
    monitor: str
    checkpoint: Path | None = None
    run: Path | None = None
    warning: str = ""

    @property
    def history(self) -> list[Row]:
        """One row per epoch with learning rate, losses and validation scores (0…1, None = absent class)."""
        return self.progress.history

    @property
    def table(self) -> Any:
        """``history`` as a pandas DataFrame; without pandas the rows themselves."""
        return data_frame(self.history)

    def __str__(self) -> str:
        best = self.progress.best if self.progress.best is not None else float("nan")
        shown = abs(best) if self.monitor == "loss" else best
        lines = [
            f"best epoch {self.progress.best_epoch} of {self.progress.epoch}: {self.monitor} {shown:.4f}, "
            f"{self.progress.seconds / 60:.1f} min"
        ]
        lines += [f"model    {self.checkpoint}"] if self.checkpoint else []
        lines += [f"history  {self.run / 'history.csv'}, curves.png"] if self.run else []
        lines += [f"WARNING  {self.warning}"] if self.warning else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The summary and a table of the epochs, as notebooks show it."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.history[0])
        rows = ["".join(f"<td>{_shown(value)}</td>" for value in row.values()) for row in self.history]
        table = "".join(f"<tr>{row}</tr>" for row in [head, *rows])
        return f"<pre>{html.escape(str(self))}</pre><table>{table}</table>"


def _shown(value: float | int | None) -> str:
    return "" if value is None else f"{value:.4g}"


@with_settings(TrainSettings)
def train(
    data: Data,
    val: Data | None = None,
    *,
    start: AnyModel | None = None,
    teacher: AnyModel | None = None,
    checkpoint: str | Path | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    classes: str | list[str] | ClassSet = "auto",
    factory: object = None,
    factory_options: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train or fine-tune a network on labeled images, and return the network of the best epoch.

    Sets PyTorch's number of threads to ``threads``, 0 = OMP_NUM_THREADS, else all cores.

    Args:
        data: What to learn from: a data folder, its training split, a list of names, or an opened split.
        val: What the best epoch is chosen on; default: the validation images of ``data``, else a tenth of it is held out.
        start: Network to fine-tune: checkpoint, model, network, or any ``torch.nn.Module`` that maps images (N, 3, H, W)
            to logits (N, C, H, W) or to a dict with them as ``out``. A copy is trained; its structure is kept.
        teacher: Network of the same classes to learn from besides the labels (see ``prune.training.distillation``).
        checkpoint: File of the network of the best epoch; default: ``best.pth`` in ``run``.
        run: Folder of last.pth, history.csv, curves.png, config.json and TensorBoard's events. Without it nothing of the
            kind is written, and the training cannot be resumed.
        resume: Continue the training in ``run`` where it stopped. Settings that are not given are those it was started
            with; different ones are refused, except for threads, workers, cache and device.
        force: Replace an earlier training in ``checkpoint`` and ``run``.
        classes: What to learn: ``s2ds``, ``crack``, names in the order of the outputs, or a class set; auto: what the
            network has, else those of the labels.
        factory: What builds a module (or the network of a checkpoint that names it): a function or class, or
            ``package.module:function``. Without one, a module can be trained but not written to a checkpoint.
        factory_options: Its keyword arguments, plain values.
        record: Plain values recorded with the settings in the lineage and config.json.
        **settings: Fields of ``prune.training.settings.TrainSettings``, the flags of the command line.

    Raises:
        UserError: for anything the user can fix, before anything is written; also when another process trains
            ``checkpoint``, and when ``checkpoint`` or ``run`` was used before and neither ``resume`` nor ``force`` is set.
        TrainingDiverged: when a loss or a weight stops being finite.
        TypeError: for arguments of another type and unknown ones.
    """
    folder = _path("run", run)
    if resume and folder is None:
        raise UserError("--resume: expected run, the folder of the training to continue, found none")
    if isinstance(classes, str) and (classes != "auto" or not resume):
        settings["classes"] = classes
    if resume and folder is not None:
        settings = _stored(folder) | settings
        classes = settings.get("classes", classes) if isinstance(classes, str) else classes
    config = _plain(settings_from(TrainSettings, "train", settings))
    file = _path("checkpoint", checkpoint) or (folder / "best.pth" if folder else None)
    told: dict[str, Any] = {"train_dir": _named(data), "val_dir": _named(val), "name": file.stem if file else None}
    told |= {"pruned_model": _named(start), "teacher": _named(teacher), "resume": resume, "force": force}
    files = RunFiles(file, folder, told | dict(record or {}))
    known = None if classes == "auto" else class_set(classes)
    built = {"factory": factory, "factory_options": factory_options, "classes": known}
    device = ranks.own_device(config.device)
    generators = [device] if device.type == "cuda" else []
    with ranks.joined(device), ExitStack() as held, torch.random.fork_rng(generators):
        if file is not None:
            ranks.agreed(lambda: held.enter_context(locked(file)))
        ranks.agreed(lambda: require_unused(files, resume, force))
        set_threads(config.threads or ranks.share_of_threads())
        numbers = run_numbers(config, files, resume)
        network = _opened("start", start, config, built)
        if network is not None:
            require_architecture(network, config.model)
            say("network", f"{network.architecture} from {network.file or 'memory'}")
        splits = _splits(data, val, _classes(network, known), config)
        fine_tuned = network is not None
        with ranks.first_goes_ahead():
            network = network or fresh_network(config, splits[0].classes)
        material = Material(network, *splits, fine_tuned, _opened("teacher", teacher, config, built))
        trained = train_network(material, config, files, numbers, resume)
    return _result(material, trained, files)


def _path(argument: str, path: object) -> Path | None:
    if path is not None and not isinstance(path, (str, Path)):
        raise TypeError(f"{argument}: expected a path, found {type(path).__name__}")
    return None if path is None else Path(path)


def _stored(folder: Path) -> dict[str, Any]:
    """The settings the run in ``folder`` was started with."""
    known = {item.name for item in dataclasses.fields(TrainSettings)}
    return {name: value for name, value in stored_settings(folder).items() if name in known}


def _plain(config: TrainSettings) -> TrainSettings:
    """The settings with paths as text, so that they can be stored."""
    paths: dict[str, Any] = {name: str(value) for name, value in vars(config).items() if isinstance(value, Path)}
    return dataclasses.replace(config, **paths) if paths else config


def _named(given: Any) -> str | None:
    """Data or a network as they are recorded: by folder, file or architecture."""
    if given is None or isinstance(given, (str, Path)):
        return None if given is None else str(given)
    if isinstance(given, Split):
        return str(given.folder)
    given = of_result(given)
    network = given.network if isinstance(given, Model) else given
    if isinstance(network, Network):
        return str(network.file or network.architecture)
    return type(given).__name__


def _opened(argument: str, given: object, config: TrainSettings, built: Mapping[str, Any]) -> Network | None:
    """A copy of the network that an argument names, None when it names none."""
    if given is None:
        return None
    network = opened_network(argument, given, trust_pickle=config.trust_pickle, **built)
    return network if isinstance(given, (str, Path)) else copy.deepcopy(network)


def _classes(network: Network | None, known: ClassSet | None) -> ClassSet | None:
    """What labels are read as: the classes of the network, else the named ones, None = what the labels hold."""
    if network is None:
        return known
    if known and network.classes.classes != known.classes:
        raise UserError(
            f"--classes {known.name}: {network.file or network.architecture} has the classes "
            f"{', '.join(network.classes.classes)}"
        )
    return network.classes


def _splits(data: Data, val: Data | None, classes: ClassSet | None, config: TrainSettings) -> tuple[Split, Split]:
    train_split = opened_data("data", data, "train", classes, config)
    return training_splits(
        train_split, opened_data("val", data if val is None else val, "val", train_split.classes, config)
    )


def _result(material: Material, trained: Trained, files: RunFiles) -> TrainResult:
    if files.folder is not None and ranks.is_first():
        title = f"{files.record['name']}, {material.train.folder}"
        training_curves(trained.progress.history, files.folder / "curves.png", title=title)
    model = model_of(material.network)
    return TrainResult(model, trained.progress, trained.monitor, files.checkpoint, files.folder, trained.warning)
