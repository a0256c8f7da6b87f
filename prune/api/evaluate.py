"""``prune.evaluate``: networks and labeled images in, scores and cost out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, overload

from prune.api.crack_errors import crack_errors, store_errors
from prune.api.error_sheet import error_sheet
from prune.api.inputs import AnyModel, Data, class_set, opened_data, opened_model
from prune.api.score import with_scale
from prune.data.labels import ClassSet
from prune.data.settings import DataOptions
from prune.errors import UserError
from prune.evaluation.network import evaluate_network, measure_latencies, prepare_test_set
from prune.evaluation.settings import EvaluateSettings
from prune.hardware import choose_device, set_threads
from prune.inference.predictor import Predictor
from prune.inference.torch import TorchPredictor
from prune.models.checkpoint import Network, require_classes
from prune.number_format import NumberFormat, evaluation_format
from prune.options import fields_of, settings_from, with_settings
from prune.progress import say
from prune.report.evaluation_result import EvaluationResult, check_workbook
from prune.report.figures import save_image

Classes = str | Sequence[str] | ClassSet | None
Workbooks = str | Path | Sequence[str | Path] | None


@overload
def evaluate(
    model: list[Any] | tuple[Any, ...],
    data: Data,
    *,
    workbook: Workbooks = None,
    classes: Classes = None,
    factory: object = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[EvaluationResult]: ...


@overload
def evaluate(
    model: AnyModel,
    data: Data,
    *,
    workbook: Workbooks = None,
    classes: Classes = None,
    factory: object = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> EvaluationResult: ...


@with_settings(EvaluateSettings)
def evaluate(
    model: AnyModel | Sequence[AnyModel],
    data: Data,
    *,
    workbook: Workbooks = None,
    classes: Classes = None,
    factory: object = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> EvaluationResult | list[EvaluationResult]:
    """Score one or more networks on whole labeled images; latencies of several are measured in interleaved runs.

    A network in memory is left unchanged: training mode, auxiliary head and device.

    Args:
        model: Checkpoint or export, a model, a network or a ``torch.nn.Module``; or a list of them.
        data: Split folder, list of names, data folder (its test split), or an opened split.
        workbook: Excel file to write, ending in .xlsx, one for each of several networks; the JSON goes beside it. None =
            write nothing.
        classes: What the outputs of a module, or of a file without our metadata, mean: ``s2ds``, ``crack``, or names in the
            order of the outputs; None = what the network says, or by their number.
        factory: What rebuilds the network of a checkpoint that names it, see ``prune.load``.
        arguments: The arguments to record, None = these arguments.
        settings: Fields of ``prune.evaluation.settings.EvaluateSettings``.

    Returns:
        Scores and cost; for a list of networks a list of them.

    Raises:
        TypeError: for an unknown argument or one of another type.
        UserError: for a missing or unreadable file, networks of other classes than the labels, and values that are not
            allowed.
    """
    several = isinstance(model, (list, tuple))
    models = list(model) if isinstance(model, (list, tuple)) else [model]
    if not models:
        raise UserError("model: expected at least one network, found an empty list")
    chosen = settings_from(EvaluateSettings, "evaluate", with_scale(settings))
    known = class_set(classes)
    set_threads(chosen.threads)
    numbers = evaluation_format(chosen.amp, chosen.channels_last, choose_device(chosen.device))
    if chosen.amp != "off":
        say("numbers", numbers)
    results = []
    with ExitStack() as stack:
        predictors = [stack.enter_context(_opened(one, chosen, known, factory, numbers)) for one in models]
        classes = predictors[0].classes
        for predictor in predictors:
            require_classes(predictor.card, classes)
        split = opened_data("data", data, "test", classes, DataOptions(**fields_of(DataOptions, chosen)))
        if split.classes.classes != classes.classes:
            require_classes(predictors[0].card, split.classes)
        test_set = prepare_test_set(split, chosen)
        workbooks = _workbooks(workbook, len(models), several)
        asked = dict(_asked(chosen, predictors, str(split.folder)) if arguments is None else arguments)
        timed = measure_latencies(predictors, chosen)
        for predictor, file, latency in zip(predictors, workbooks, timed, strict=True):
            content = evaluate_network(predictor, test_set, chosen, timed=latency, arguments=asked)
            if chosen.crack_errors != "off":
                found = crack_errors(predictor, split)
                content["crack_errors"] = found.to_json()
                if chosen.crack_errors == "store":
                    store_errors(predictor.card.file, found)
            result = EvaluationResult(content)
            results.append(result.save(file) if file else result)
            if file and chosen.figures:
                sheet = error_sheet([(result.summary["model"], predictor)], split, chosen.figures, chosen.palette)
                result.files.append(save_image(sheet, file.with_name(f"{file.stem}_errors.png")))
    return results if several else results[0]


def _asked(settings: EvaluateSettings, predictors: Sequence[Predictor], data: str) -> dict[str, Any]:
    """The default arguments to record: the names of the command line."""
    named = {"weights": [str(p.card.file) for p in predictors], "test_dir": data}
    return asdict(settings) | named | {"classes": list(predictors[0].classes.classes)}


def _workbooks(workbook: Workbooks, count: int, several: bool) -> list[Path | None]:
    """The workbook of every network, checked."""
    if workbook is None:
        return [None] * count
    files = [workbook] if isinstance(workbook, (str, os.PathLike)) or not isinstance(workbook, Sequence) else workbook
    checked = [check_workbook("workbook", file) for file in files]
    if len(checked) != count or len(set(checked)) != count:
        each = f"{count} different files, one for each network" if several else "one file"
        raise UserError(f"--workbook: expected {each}, found {', '.join(map(str, checked))}")
    return list(checked)


@contextmanager
def _opened(
    model: AnyModel, settings: EvaluateSettings, classes: ClassSet | None, factory: object, numbers: NumberFormat
) -> Iterator[Predictor]:
    """A network ready for prediction on the device; one in memory is moved back after the block."""
    device = choose_device(settings.device)
    options: dict[str, Any] = {"autocast": numbers.autocast, "channels_last": numbers.channels_last}
    if isinstance(model, (str, os.PathLike)):
        options |= {"threads": settings.threads, "device": device, "trust_pickle": settings.trust_pickle}
        yield opened_model("model", model, classes=classes, factory=factory, **options).predictor
        return
    predictor = opened_model("model", model, classes=classes).predictor
    network = getattr(predictor, "network", None)
    if not isinstance(network, Network):
        yield predictor
        return
    before = next((parameter.device for parameter in network.model.parameters()), device)
    try:
        yield TorchPredictor(network, device, **options)
    finally:
        network.model.to(before)
