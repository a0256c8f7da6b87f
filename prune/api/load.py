"""``prune.load``: a network from a file, for any runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prune.api.inputs import class_set, existing_file
from prune.api.model import Model
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.inference.predictor import TORCH_FREE_SUFFIXES
from prune.inference.settings import LoadSettings
from prune.options import settings_from, with_settings
from prune.progress import say


@with_settings(LoadSettings)
def load(
    file: str | os.PathLike[str],
    *,
    classes: str | Sequence[str] | ClassSet | None = None,
    factory: object = None,
    **settings: Any,
) -> Model:
    """Open a checkpoint (.pth) or an export (.onnx, .xml, .ncnn.param, .pt2).

    Exports to ONNX, OpenVINO and ncnn need their runtime only, not PyTorch.

    Args:
        file: The file.
        classes: What the outputs of an export made by another tool mean: s2ds, crack, a list of names, or a class set.
        factory: What builds a network from outside this project: the ``package.module:function`` its checkpoint names,
            or a function to call in its place. Code runs only when it is named here.
        **settings: ``threads`` (CPU threads, 0 = all cores), and for files that PyTorch runs ``device`` (auto, cpu, cuda,
            cuda:N), ``trust_pickle`` (read whole-module pickles, which can run code), ``amp`` and ``channels_last``
            (number format and memory format, see ``prune.inference.settings.LoadSettings``).

    Returns:
        The model, for ``model.predict("bridge.jpg")``, ``prune.evaluate(model, …)`` and so on.

    Raises:
        TypeError: for no path, an unknown argument or one of another type.
        UserError: for a missing or damaged file, and for a runtime that is not installed.
    """
    how = settings_from(LoadSettings, "load", settings)
    path = existing_file("file", file)
    named = class_set(classes)
    if path.suffix in TORCH_FREE_SUFFIXES:
        return Model(load_predictor(path, threads=how.threads, classes=named), how.threads)
    return Model(load_predictor(path, **_torch_options(path, how, factory)), how.threads)


def _torch_options(path: Path, how: LoadSettings, factory: object) -> dict[str, Any]:
    """The options of ``prune.inference.torch.open_torch``; sets the number of threads.

    Raises:
        UserError: without PyTorch, and for a device that does not exist.
    """
    try:
        from prune.hardware import choose_device, set_threads
        from prune.number_format import evaluation_format

        set_threads(how.threads)
    except ImportError as error:
        raise UserError(f"{path}: needs PyTorch, which is not installed: pip install prune-crackseg[train]") from error
    device = choose_device(how.device)
    numbers = evaluation_format(how.amp, how.channels_last, device)
    if how.amp != "off":
        say("numbers", numbers)
    return {
        "device": device,
        "autocast": numbers.autocast,
        "channels_last": numbers.channels_last,
        "trust_pickle": how.trust_pickle,
        "factory": factory,
    }
