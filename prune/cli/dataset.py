"""``python -m prune dataset``: what a data set holds, what is wrong with it, and how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS, DataOptions
from prune.errors import UserError
from prune.options import check, option


@dataclass(frozen=True)
class DatasetOptions(DataOptions):
    """Everything ``python -m prune dataset`` can be told."""

    folder: str | None = option(
        None, "data folder, split folder or list of names; none: the default data", positional=True
    )
    classes: str | None = option(None, "what labels are read as; none: what they hold", choices=CLASS_SETS)
    split: str | None = option(None, "write train.txt, val.txt, test.txt with these percents, such as 70,10,20")
    sheet: int = option(12, "photographs on the contact sheet, 0 = no sheet", low=0)
    output: str | None = option(None, "folder of dataset.json and contact.png; none: results/datasets/<folder>")

    def __post_init__(self) -> None:
        check(self)
        if self.split is not None:
            _ = self.shares

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares (0…1) of train, val and test that ``--split`` asks for.

        Raises:
            UserError: for anything but three percents that add up to 100, some of them for train.
        """
        parts = str(self.split).split(",")
        numbers = [float(part) for part in parts if part.strip().replace(".", "", 1).isdecimal()]
        if len(parts) != 3 or len(numbers) != 3 or abs(sum(numbers) - 100) > 1e-6 or not numbers[0]:
            raise UserError(
                f"--split: expected percents for train, val and test such as 70,10,20, found {self.split!r}"
            )
        return numbers[0] / 100, numbers[1] / 100, numbers[2] / 100


def run(options: DatasetOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.dataset import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("dataset", argv)
