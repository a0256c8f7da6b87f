"""``python -m prune score``: masks from any program and labels in, the same workbook and JSON as ``test.py`` out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prune.cli.outputs import FORCE, check_workbook_name, require_same_settings, stored_result
from prune.cli.verbs import call
from prune.errors import UserError
from prune.evaluation.settings import MaskSettings
from prune.files import METRICS, check_writable
from prune.options import fields_of, option
from prune.progress import say


@dataclass(frozen=True)
class ScoreOptions(MaskSettings):
    """Options of ``python -m prune score``."""

    pred_dir: str | None = option(None, "folder of predicted masks", positional=True)
    label_dir: str | None = option(None, "folder of labels, or a split folder", positional=True)
    probabilities: str | None = option(
        None, "folder of crack probabilities (.npy or gray images): adds calibration", metavar="DIR"
    )
    output: str | None = option(None, "workbook to write, FILE.xlsx; the .json is written beside it", metavar="FILE")
    force: bool = option(False, FORCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_workbook_name(self)
        if not self.pred_dir or not self.label_dir:
            raise UserError("score: expected two folders, PRED_DIR and LABEL_DIR")


def run(options: ScoreOptions) -> None:
    """Score and print the table; without openpyxl and pandas only the JSON is written, unless a workbook was asked for."""
    from prune.api.score import score
    from prune.report.evaluation_result import can_write_workbooks

    folders = Path(str(options.pred_dir)), Path(str(options.label_dir))
    output = Path(options.output) if options.output else METRICS / f"{folders[0].resolve().name}.xlsx"
    check_writable(output.parent)
    if not options.force:
        content = stored_result(output.with_suffix(".json"))
        stored = content.get("run", {}).get("arguments") if content else None
        require_same_settings(output.with_suffix(".json"), stored, asdict(options), "--output")
    written = output if options.output or can_write_workbooks() else None
    settings = fields_of(MaskSettings, options)
    result = score(
        *folders, probabilities=options.probabilities, workbook=written, arguments=asdict(options), **settings
    )
    if written is None:
        say("note", "no workbook: openpyxl and pandas are not installed: pip install prune-crackseg[score]")
        result.files.append(result.to_json(output.with_suffix(".json")))
    print(result)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("score", argv)
