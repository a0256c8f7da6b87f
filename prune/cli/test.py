"""``test.py``: checkpoints and a test split in, a workbook and the same numbers as JSON out for each, and a comparison."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prune.cli.outputs import FORCE, check_workbook_name, require_same_networks, require_same_settings, stored_result
from prune.cli.verbs import call
from prune.errors import UserError
from prune.evaluation.settings import EvaluateSettings
from prune.files import METRICS, find_model
from prune.options import FACTORY, fields_of, option
from prune.progress import say


@dataclass(frozen=True)
class TestOptions(EvaluateSettings):
    """Options of ``test.py``."""

    __test__ = False  # pytest would take the name for a test class

    test_dir: str | None = option(
        None,
        "split folder, list of names or data folder to score; default: data/S2DS, else the demo data",
        positional=True,
    )
    weights: tuple[str, ...] = option((), "checkpoints or exports to score; several are compared; default: the newest")
    pruned_model: tuple[str, ...] = option((), "the same, for pruned checkpoints")
    use_pruned: bool = option(False, "without a file name: take the newest pruned checkpoint")
    output: str | None = option(None, "workbook to write, FILE.xlsx; the .json is written beside it", metavar="FILE")
    force: bool = option(False, FORCE)
    factory: str | None = option(None, FACTORY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_workbook_name(self)
        for name in ("weights", "pruned_model"):
            files = getattr(self, name)
            # A flag that takes several files also takes the folder typed behind them.
            if self.test_dir is None and len(files) > 1 and Path(files[-1]).is_dir():
                object.__setattr__(self, "test_dir", files[-1])
                object.__setattr__(self, name, files[:-1])


def model_files(options: TestOptions) -> list[Path]:
    """The checkpoints the flags mean: named ones, else the newest pruned one, else the newest.

    Raises:
        UserError: when one is missing, or two would write the same workbook.
    """
    from prune.evaluation.network import model_name
    from prune.models.checkpoint import newest_model

    named = (*options.weights, *options.pruned_model)
    if not named:
        return [newest_model(pruned=True if options.use_pruned else None)]
    files = [find_model(name) for name in named]
    stems = [model_name(file) for file in files]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise UserError(f"--weights, --pruned_model: two files called {twice}, expected different names")
    return files


def _require_same(options: TestOptions, files: Sequence[Path], workbooks: Sequence[Path], comparison: Path) -> None:
    """Keep results of other settings, of other networks and comparisons of others from being replaced."""
    if options.force:
        return
    now = {
        name: value for name, value in asdict(options).items() if name not in ("weights", "pruned_model", "use_pruned")
    }
    for file, workbook in zip(files, workbooks, strict=True):
        json = workbook.with_suffix(".json")
        content = stored_result(json)
        if content:
            stored = dict(content.get("run", {}).get("arguments") or {}) | {
                "file": content.get("summary", {}).get("file")
            }
            require_same_settings(json, stored, now | {"file": str(file)}, "--output")
    if len(files) > 1:
        require_same_networks(comparison, [workbook.with_suffix(".json") for workbook in workbooks])


def run(options: TestOptions) -> None:
    """Score and print the table; several networks are compared with the first."""
    from prune.api.compare import compare
    from prune.api.evaluate import evaluate
    from prune.cli.defaults import data_folder
    from prune.evaluation.network import model_name

    files = model_files(options)
    say("models" if len(files) > 1 else "model", ", ".join(map(str, files)))
    own = Path(options.output) if options.output and len(files) == 1 else None
    workbooks = [own or METRICS / f"{model_name(file)}.xlsx" for file in files]
    comparison = Path(options.output or METRICS / "comparison.xlsx")
    _require_same(options, files, workbooks, comparison)
    data = Path(options.test_dir) if options.test_dir else data_folder()
    settings = fields_of(EvaluateSettings, options)
    results = evaluate(files, data, workbook=workbooks, factory=options.factory, arguments=asdict(options), **settings)
    if len(results) == 1:
        print(results[0])
        return
    print(compare(results, workbook=comparison, seed=options.seed))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("test", argv)
