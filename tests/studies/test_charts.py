from matplotlib.figure import Figure

from prune.metrics.bootstrap import Interval
from prune.studies import charts
from prune.studies.table import HEADLINE, Cell


def cell(method: str, level: str) -> Cell:
    """A row with one score and one cost."""
    score = {HEADLINE[0]: Interval(0.8, 0.7, 0.9)}
    return Cell("unet", method, level, "", "fp32", macs=1e9 if level else 4e9, scores=score)


def texts(cells: list[Cell]) -> list[str]:
    """What stands at the points of one panel."""
    axes = Figure().add_subplot()
    charts._panel(axes, cells, HEADLINE[0], "macs")
    return [text.get_text() for text in axes.texts]


def test_a_level_that_all_share_is_not_written_at_every_point() -> None:
    dense = cell("dense", "")
    same, mixed = [dense, cell("L1", "70%"), cell("L2", "70%")], [dense, cell("L1", "70%"), cell("L2", "50%")]
    assert texts(same) == [] and charts._common_level(same) == "70%"
    assert texts(mixed) == ["70%", "50%"] and charts._common_level(mixed) == ""
