"""``python -m prune export``: a checkpoint in, a file for another runtime out, if it passes the parity gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.cli.outputs import FORCE, require_same_settings, stored_result
from prune.cli.verbs import call
from prune.deployment.settings import FORMATS, ExportSettings, fixed_size
from prune.errors import UserError
from prune.options import CHECKPOINT_FLAGS, FACTORY, fields_of, option

if TYPE_CHECKING:
    from prune.data.split import Split
    from prune.models.checkpoint import Network


@dataclass(frozen=True)
class ExportOptions(ExportSettings):
    """Options of ``python -m prune export``."""

    checkpoint: str | None = option(
        None,
        "checkpoint to export; default: the newest in results/models",
        positional=True,
        aliases=CHECKPOINT_FLAGS,
        metavar="FILE",
    )
    to: str = option("onnx", "runtime of the file", choices=tuple(FORMATS))
    size: tuple[str, ...] = option(("dynamic",), "fixed input height and width in px, or dynamic", metavar="PX")
    data: str | None = option(
        None,
        "data folder: its training images calibrate INT8, its test images check the file; default: the data the checkpoint was trained on, else the default data",
        aliases=("--data_dir",),
        metavar="DIR",
    )
    output: str | None = option(
        None, "file to write; default: results/exports/<model>[_<precision>][_deepness].<suffix>", metavar="FILE"
    )
    teacher: str | None = option(
        None,
        "with --qat_epochs: network of the same classes to learn from; default: the checkpoint itself",
        metavar="FILE",
    )
    notes: str | None = option(
        None,
        "JSON file of notes to store in the export (data, license, scores, known failures): headings with texts",
        metavar="FILE",
    )
    force: bool = option(False, FORCE)
    factory: str | None = option(None, FACTORY)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.fixed_size

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width in px, None = any size."""
        words = [word for text in self.size for word in text.lower().replace("x", " ").replace(",", " ").split()]
        if words == ["dynamic"]:
            return None
        if not words or len(words) > 2 or not all(word.isdigit() for word in words):
            raise UserError(f"--size: expected dynamic, or height and width in px, found {' '.join(self.size)}")
        return fixed_size("size", (int(words[0]), int(words[-1])))


def _output(options: ExportOptions, network: Network) -> Path:
    """The file to write."""
    suffix = FORMATS[options.to][0]
    if options.output:
        if not Path(options.output).name.endswith(suffix):
            raise UserError(f"--output: expected a file name ending in {suffix}, found {options.output!r}")
        return Path(options.output)
    from prune.files import EXPORTS

    stem = network.file.stem if network.file else network.architecture
    parts = [stem, *([] if options.precision == "fp32" else [options.precision]), *filter(None, [options.purpose])]
    return EXPORTS / f"{'_'.join(parts)}{suffix}"


def _splits(options: ExportOptions, network: Network) -> dict[str, Split]:
    """The labeled images that are needed, by role: those of ``--data``, else of the lineage of the network."""
    from prune.cli.defaults import open_lineage_split

    roles = [
        "test",
        *(["train"] if options.precision == "int8" else []),
        *(["val"] if options.max_drop is not None or options.qat_epochs else []),
    ]
    return {role: open_lineage_split(options, options.data, role, network, "--data") for role in roles}


def run(options: ExportOptions) -> None:
    """Export and print how the file compares."""
    from prune.api.export import export
    from prune.deployment.target import ExportTarget
    from prune.files import check_writable, find_model
    from prune.hardware import set_threads
    from prune.models.checkpoint import load_checkpoint, newest_model

    set_threads(options.threads)
    # Checked before anything is read.
    means = "minmax" if options.int8_means == "auto" else options.int8_means
    ExportTarget(options.to, options.precision, options.fixed_size, options.argmax, means=means)
    named = find_model(options.checkpoint) if options.checkpoint else newest_model()
    teacher = find_model(options.teacher) if options.teacher else None
    network = load_checkpoint(named, options.trust_pickle, options.factory)
    file = _output(options, network)
    check_writable(file.parent)
    if not options.force:
        report = file.with_name(f"{file.name}.json")
        content = stored_result(report)
        now = asdict(options) | {"checkpoint": str(network.file), "teacher": str(teacher) if teacher else None}
        if content and file.exists():  # of an export that failed only the report is there
            require_same_settings(report, content.get("arguments"), now, "--output", but=("data", "size"))
    print(f"model    {network.file}")
    splits = _splits(options, network)
    settings = fields_of(ExportSettings, options)
    places: dict[str, Any] = {"to": options.to, "size": options.fixed_size, "data": splits, "notes": options.notes}
    print(export(network, file, teacher=teacher, **places, **settings))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("export", argv)
