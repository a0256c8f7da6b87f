from matplotlib.figure import Figure
from matplotlib.text import Text

from prune.metrics.bootstrap import Interval
from prune.studies import charts
from prune.studies.table import HEADLINE, Cell


def cell(method: str, level: str) -> Cell:
    """A row with one score and one cost."""
    score = {HEADLINE[0]: Interval(0.8, 0.7, 0.9)}
    return Cell("unet", method, level, "", "fp32", macs=1e9 if level else 4e9, scores=score)


def texts(cells: list[Cell]) -> list[str]:
    """What stands at the points of one panel."""
    return [text.get_text() for text in written(cells)]


def written(cells: list[Cell]) -> list[Text]:
    """The texts of one panel."""
    figure = Figure()
    axes = figure.add_subplot()
    points, words = charts._panel(axes, cells, HEADLINE[0], "macs")
    figure.draw_without_rendering()
    charts._write(axes, points, words)
    return list(axes.texts)


def test_a_level_that_all_share_is_not_written_at_every_point() -> None:
    dense = cell("dense", "")
    same, mixed = [dense, cell("L1", "70%"), cell("L2", "70%")], [dense, cell("L1", "70%"), cell("L2", "50%")]
    assert texts(same) == [] and charts._common_level(same) == "70%"
    assert texts(mixed) == ["70%", "50%"] and charts._common_level(mixed) == ""


def test_texts_of_points_side_by_side_do_not_cover_each_other() -> None:
    names = ("70% with a long text", "50% with a long text", "30% with a long text")
    boxes = [text.get_window_extent() for text in written([cell(f"L{n}", text) for n, text in enumerate(names)])]
    assert len(boxes) == len(names)
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
