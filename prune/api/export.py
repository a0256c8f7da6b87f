"""``prune.export``: a network in, a file for another runtime out, if it passes the parity gate."""

import copy
import html
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prune.api.export_writer import AnyData, LabeledImages, Writer
from prune.api.inputs import AnyModel, existing_file, opened_network
from prune.data.labels import ClassSet
from prune.data.split import Split
from prune.deployment.deepness import check_deepness, make_deepness
from prune.deployment.export import private_folder, tensorrt_hint
from prune.deployment.means import described
from prune.deployment.parity import (
    Gate,
    Parity,
    compare,
    labeled_samples,
    reference_predictor,
    require_passed,
)
from prune.deployment.settings import FORMATS, ExportSettings, fixed_size, runtime_of
from prune.deployment.target import ExportTarget
from prune.errors import UserError
from prune.files import check_writable, file_mib, write_json
from prune.hardware import machine_facts, versions
from prune.inference.load import load_predictor
from prune.inference.metadata import checked_notes
from prune.models.checkpoint import Network, new_stage
from prune.models.output_stride import set_output_stride
from prune.options import settings_from, with_settings
from prune.progress import progress
from prune.shapes import load_json
from prune.tables import text_table

Notes = str | os.PathLike[str] | Mapping[str, str | Sequence[str]]
"""Headings with a text or a list of texts, or a JSON file of them."""
SCORES = {"miou": "mIoU", "crack_iou": "crack IoU", "crack_lt_iou_4": "crack ltIoU@4"}
"""Titles of the scores that are compared."""


@dataclass(frozen=True)
class ExportResult(os.PathLike[str]):
    """A file for another runtime; it can be passed to anything that takes a path, such as ``prune.load``.

    Args:
        file: The file.
        report: The JSON file that says how it compares, None = it was not compared.
        parity: How it compares with the network, None = it was not compared.
        gates: The conditions it has met, and those that these images cannot judge.
        hint: What to do next, empty = nothing to say.
        means: How INT8 was made: an entry of ``prune.deployment.settings.INT8_MEANS``, or ``qat``; empty = it is not INT8.
    """

    file: Path
    report: Path | None = None
    parity: Parity | None = None
    gates: tuple[Gate, ...] = ()
    hint: str = ""
    means: str = ""

    def __fspath__(self) -> str:
        return str(self.file)

    def rows(self) -> list[list[str]]:
        """Every compared score with what the network and the file reach; empty where there is none."""
        if self.parity is None:
            return []
        pairs = {title: (self.parity.reference[key], self.parity.exported[key]) for key, title in SCORES.items()}
        return [[title, *("" if v is None else f"{v:.4f}" for v in values)] for title, values in pairs.items()]

    def agreement(self) -> str:
        """How many pixels agree, as a sentence."""
        if self.parity is None:
            return "not compared with the network"
        logit = self.parity.max_logit_difference
        largest = "" if logit is None else f", largest difference of a logit {logit:.2g}"
        return f"{100 * self.parity.agreement:.3f}% of {self.parity.pixels:,} pixels agree{largest}"

    def __str__(self) -> str:
        table = [text_table(["on the same images", "checkpoint", "file"], self.rows())] if self.parity else []
        unjudged = [f"WARNING  {gate}" for gate in self.gates if not gate.judged]
        files = [f"int8     {self.means}"] if self.means else []
        files += [f"file     {self.file} ({file_mib(self.file):.1f} MiB)"]
        files += [f"report   {self.report}"] if self.report else []
        return "\n".join([*table, self.agreement(), *unjudged, *files, *([self.hint] if self.hint else [])])

    def _repr_html_(self) -> str:
        """For notebooks."""
        lines = [["on the same images", "network", "file"], *self.rows()] if self.parity else []
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
        unjudged = "".join(f"<p>{html.escape(str(gate))}</p>" for gate in self.gates if not gate.judged)
        says = html.escape(f"{self.file} ({file_mib(self.file):.1f} MiB): {self.agreement()}")
        return f"<p>{says}</p><table>{rows}</table>{unjudged}"


def _target(file: Path, to: str | None, size: object, settings: ExportSettings) -> ExportTarget:
    """What the arguments mean.

    Raises:
        UserError: for a file name that fits no runtime, or another one than requested.
    """
    if to is not None and to not in FORMATS:
        raise UserError(f"--to: expected one of {', '.join(FORMATS)}, found {to!r}")
    runtime = to or runtime_of(file.name)
    if runtime is None:
        endings = ", ".join(suffix for suffix, _ in FORMATS.values())
        raise UserError(f"--file: expected a file name ending in one of {endings}, found {str(file)!r}")
    if not file.name.endswith(FORMATS[runtime][0]):
        raise UserError(f"--file: expected a file name ending in {FORMATS[runtime][0]}, found {str(file)!r}")
    drop = None if settings.max_drop is None else settings.max_drop / 100
    means = "minmax" if settings.int8_means == "auto" else settings.int8_means
    return ExportTarget(runtime, settings.precision, fixed_size("size", size), settings.argmax, drop, means=means)


def read_notes(notes: Notes | None) -> dict[str, tuple[str, ...]]:
    """What an argument ``notes`` means.

    Raises:
        UserError: for a missing file, a file that is not JSON, and anything but headings with texts.
    """
    if notes is None:
        return {}
    named = isinstance(notes, (str, os.PathLike))
    try:
        return checked_notes(load_json(existing_file("notes", notes), "notes") if named else notes)
    except ValueError as error:
        place = f"{notes}: " if named else ""
        raise UserError(f"--notes: {place}expected a JSON object of headings with texts: {error}") from error


@with_settings(ExportSettings)
def export(
    model: AnyModel,
    file: str | os.PathLike[str],
    *,
    to: str | None = None,
    size: int | tuple[int, int] | None = None,
    data: AnyData | None = None,
    parity: bool = True,
    teacher: AnyModel | None = None,
    classes: str | Sequence[str] | ClassSet | None = None,
    factory: object = None,
    notes: Notes | None = None,
    **settings: Any,
) -> ExportResult:
    """Export a network to another runtime and compare the file with it on labeled photographs.

    The file gets its name only when it keeps what the settings ask for; ``file`` + ``.json``, the report of the
    comparison, is written also when it does not. Nothing else is written.

    Args:
        model: A checkpoint, a model, a ``prune.models.checkpoint.Network`` or a ``torch.nn.Module``; it is not changed.
        file: Where to: .onnx, .xml (OpenVINO), .ncnn.param or .pt2; the weights of some lie beside it.
        to: Runtime: onnx, openvino, ncnn or pt2; None = by the name of ``file``.
        size: Fixed height and width of the input in px, or one number for both; None = any size.
        data: Data folder or split: its training images calibrate INT8, its test images check the file; or a split
            for each of ``train``, ``val`` (for ``max_drop``) and ``test``.
        parity: Whether to compare the file with the network; False needs no data but for int8.
        teacher: With ``qat_epochs``: network of the same classes to learn from besides the labels; None = ``model`` itself.
        classes: What the outputs of a ``torch.nn.Module`` mean: s2ds, crack, a list of names, or a class set.
        factory: What builds a network from outside this project: the ``package.module:function`` its checkpoint names.
        notes: Notes to store in the file (data, license, scores, known failures): headings with a text or
            a list of texts, or a JSON file of them; ``prune.inspect`` prints them.
        settings: See ``prune.deployment.settings.ExportSettings``: ``precision`` (fp32, bf16, fp16, int8), bounds, ….

    Returns:
        The file, usable as a path, and how it compares.

    Raises:
        UserError: for anything the user can fix, and when the file fails the parity gate.
        TypeError: for an unknown argument, or one of another type.
    """
    start, chosen = time.perf_counter(), settings_from(ExportSettings, "export", settings)
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(f"file: expected a path, found {type(file).__name__}")
    if not isinstance(parity, bool):
        raise TypeError(f"parity: expected True or False, found {parity!r}")
    path = Path(file)
    target = replace(_target(path, to, size, chosen), notes=read_notes(notes))
    if teacher is not None and not chosen.qat_epochs:
        raise UserError("--teacher: expected --qat_epochs, the training it teaches, found none")
    if chosen.purpose == "deepness":
        check_deepness(target)
    opened = opened_network("model", model, classes=classes, factory=factory, trust_pickle=chosen.trust_pickle)
    network = copy.deepcopy(opened)  # comparing moves it
    if chosen.output_stride is not None:
        set_output_stride(network.model, chosen.output_stride)
        network.lineage = [*network.lineage, new_stage("stride", {"output_stride": chosen.output_stride}, {})]
    check_writable(path.parent)
    images = LabeledImages(data, network, chosen)
    reference = reference_predictor(network, target.size)
    purpose = "to compare the file with the network on (or parity=False)"
    test = images("test", purpose) if parity else None
    learned = None if teacher is None else opened_network("teacher", teacher, trust_pickle=chosen.trust_pickle)
    writer = Writer(network, target, chosen, images, reference, learned)
    writer.prepare()
    with private_folder(path) as partial:
        written = partial / path.name
        writer.write(written)
        result = ExportResult(path, hint=tensorrt_hint(path, target), means=writer.means)
        if test is not None:
            exported = load_predictor(written, threads=chosen.threads)
            number = min(chosen.parity_images or len(test.pairs), len(test.pairs))
            samples = progress(labeled_samples(test, number), "comparing", total=number)
            found = compare(reference, exported, samples, logits=not target.argmax)
            gates = tuple(found.gates(chosen.agreement, chosen.max_miou_drop, chosen.max_crack_drop))
            result = replace(result, parity=found, gates=gates, report=path.with_name(f"{path.name}.json"))
            facts: dict[str, Any] = {
                "mib": file_mib(written),
                "arguments": _arguments(network, path, target, chosen, data),
            }
            facts["arguments"]["teacher"] = None if learned is None else str(learned.file or learned.architecture)
            facts["int8"] = {"means": writer.means, "tried": {name: described(m) for name, m in writer.tried.items()}}
            _judge(result, network, facts | {"seconds": round(time.perf_counter() - start, 1)})
        if chosen.purpose == "deepness":
            make_deepness(written, network.classes, network.preprocessing, chosen.mm_per_pixel)
        for part in sorted(partial.iterdir()):
            part.replace(path.parent / part.name)
    return result


def _arguments(
    network: Network, file: Path, target: ExportTarget, settings: ExportSettings, data: object
) -> dict[str, Any]:
    """What the report says of how the file was made."""
    named = data["test"] if isinstance(data, Mapping) else data
    return asdict(settings) | {
        "checkpoint": str(network.file) if network.file else None,
        "to": target.runtime,
        "size": list(map(str, target.size)) if target.size else ["dynamic"],
        "data": str(named.folder if isinstance(named, Split) else named),
        "output": str(file),
    }


def _judge(result: ExportResult, network: Network, facts: Mapping[str, Any]) -> None:
    """Write how a file compares, then refuse one that fails.

    Raises:
        UserError: for a file that fails the parity gate.
    """
    assert result.parity is not None and result.report is not None
    gates, accepted = result.gates, facts["arguments"]["accept_unjudged"]
    content = {
        "file": str(result.file),
        "checkpoint": str(network.file),
        "mib": facts["mib"],
        "int8": facts["int8"],
        "parity": result.parity.to_json(),
        "gates": [asdict(gate) | {"judged": gate.judged, "passed": gate.passed} for gate in gates],
        "judged": all(gate.judged for gate in gates),
        "passed": all(gate.passed or (accepted and not gate.judged) for gate in gates),
        "arguments": facts["arguments"],
        "machine": machine_facts(torch.device("cpu")),
        "versions": versions(),
        "seconds": facts["seconds"],
    }
    write_json(result.report, content)
    require_passed(result.file, gates, accepted, result.report)
