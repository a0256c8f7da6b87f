"""Measure the cracks of masks that do not fit into memory, as if the whole mask were measured at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prune.inspection.cracks import Crack, CrackLines, local_widths, members
from prune.inspection.settings import MeasureSettings
from prune.metrics.measurement import EIGHT_CONNECTED
from prune.metrics.skeleton import HALF_NEIGHBORHOOD, CenterLine, Graph, center_line
from prune.options import settings_from, with_settings

Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Read = Callable[[slice, slice], tuple[Mask, NDArray[np.floating] | None]]
"""Gives the mask bool (h, w) of a window, and the probability float (h, w), 0…1, where it is known."""
WINDOW = 1536
"""px: side of the windows that are measured one by one."""
MARGIN, LARGEST_MARGIN = 256, 1024
"""px: what is looked at around a window, and how far that may grow where cracks are very wide."""
REACH, CONSTANT = 6.0, 40.0
"""The center line at a place depends on the mask up to ``REACH`` times the half width of the crack plus ``CONSTANT`` px
away: thinning reaches 2 half widths, spurs and ends at most 4 more, smoothing along the line 10 px and directions 15."""


@dataclass
class _Piece:
    """What is known so far of one connected piece of the mask, or of a part of it."""

    area: int = 0
    top: int = 2**62
    left: int = 2**62
    bottom: int = -1
    right: int = -1
    probability: float = 0.0
    lines: list["_Line"] = field(default_factory=list)

    def take(self, other: "_Piece") -> None:
        """Add another part of the same piece."""
        self.area, self.probability = self.area + other.area, self.probability + other.probability
        self.top, self.left = min(self.top, other.top), min(self.left, other.left)
        self.bottom, self.right = max(self.bottom, other.bottom), max(self.right, other.right)
        self.lines += other.lines


@dataclass(frozen=True)
class _Line:
    """The pixels of center lines inside one window, and the steps that begin there.

    Args:
        key: int64 (N,), row · width + column of each pixel in the whole mask.
        values: float64 (N, 7): smoothed row and column, width, distance, what the line counts beyond it, and row and
            column of its tip, see ``CenterLine``.
        edges: int64 (E, 3), keys of the first and second pixel of each step, and whether it is straight.
    """

    key: Ids
    values: Floats
    edges: Ids


class _Union:
    """Pieces that grow together while the mask is read from top to bottom."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}
        self.pieces: dict[int, _Piece] = {}
        self._next = 0

    def add(self, piece: _Piece) -> int:
        """Number of a new piece."""
        self._next += 1
        self.parent[self._next], self.pieces[self._next] = self._next, piece
        return self._next

    def root(self, number: int) -> int:
        """The number that a piece goes by now."""
        while self.parent[number] != number:
            self.parent[number] = number = self.parent[self.parent[number]]
        return number

    def join(self, first: Ids, second: Ids) -> None:
        """Make one piece of every pair of neighbors with numbers above 0."""
        both = (first > 0) & (second > 0)
        pairs = np.unique(np.stack([first[both], second[both]], axis=1), axis=0)
        for one, other in pairs.tolist():
            kept, gone = sorted((self.root(one), self.root(other)))
            if kept != gone:
                self.parent[gone] = kept
                self.pieces[kept].take(self.pieces.pop(gone))

    def close(self, open_numbers: Ids) -> list[_Piece]:
        """Take out the pieces that are not among ``open_numbers`` any more, from top to bottom."""
        still = {self.root(number) for number in np.unique(open_numbers[open_numbers > 0]).tolist()}
        done = [self.pieces.pop(number) for number in list(self.pieces) if number not in still]
        self.parent = {number: root for number in self.parent if (root := self.root(number)) in still}
        return sorted(done, key=lambda piece: (piece.top, piece.left))


@with_settings(MeasureSettings)
def measure_streamed(
    read: Read, shape: tuple[int, int], *, window: int = WINDOW, margin: int = MARGIN, **settings: Any
) -> Iterator[Crack]:
    """Measure every crack of a mask that is read window by window.

    Every window is thinned and measured with a margin around it, and keeps the pixels and steps of center lines that are
    its own. Windows that touch share the numbers of their pieces, so a crack that runs through many of them is put
    together again before its measures are taken: they are those of ``measure_cracks`` for the whole mask, exactly where
    cracks are at most 300 px wide. Memory grows with the width of the mask and with the cracks that are not finished,
    not with its height.

    Args:
        read: Gives windows; it is asked row by row, from left to right, and for some places more than once.
        shape: Height and width of the mask in px.
        window: Side of a window in px.
        margin: What is looked at around it, in px; more where cracks are wide.
        **settings: See ``prune.inspection.cracks.measure_cracks``.

    Yields:
        The cracks as soon as they end, roughly from top to bottom, numbered from 1 in that order.

    Raises:
        TypeError, UserError: for an unknown setting, or one that is not allowed.
    """
    how = settings_from(MeasureSettings, "measure_streamed", settings)
    return _cracks(read, shape, window, margin, how)


def _cracks(read: Read, shape: tuple[int, int], window: int, margin: int, how: MeasureSettings) -> Iterator[Crack]:
    """See ``measure_streamed``; settings are checked before the first crack is asked for."""
    height, width = shape
    union, above, number = _Union(), np.zeros(width, np.int64), 0
    for top in range(0, height, window):
        rows = slice(top, min(height, top + window))
        first, last = np.zeros(width, np.int64), np.zeros(width, np.int64)
        left_edge = np.zeros(rows.stop - top, np.int64)
        for left in range(0, width, window):
            columns = slice(left, min(width, left + window))
            first[columns], last[columns], near, far = _Window(read, shape, rows, columns, how, margin).pieces(union)
            _touch(union, left_edge, near)
            left_edge = far
        _touch(union, above, first)
        above = last
        for piece in union.close(above if rows.stop < height else above[:0]):
            crack = _measured(piece, width, how, number + 1)
            if crack is not None:
                number += 1
                yield crack


def _touch(union: _Union, one: Ids, other: Ids) -> None:
    """Join the pieces on both sides of a border, straight across and diagonally."""
    union.join(one, other)
    union.join(one[1:], other[:-1])
    union.join(one[:-1], other[1:])


class _Window:
    """One window of the mask with its margin.

    Args:
        read: See ``Read``.
        shape: Of the whole mask.
        rows: Of the window, without its margin.
        columns: Likewise.
        how: What is measured.
        margin: At least this much is looked at around it, in px.
    """

    def __init__(
        self, read: Read, shape: tuple[int, int], rows: slice, columns: slice, how: MeasureSettings, margin: int
    ) -> None:
        self.read, self.shape, self.rows, self.columns, self.how, self.margin = read, shape, rows, columns, how, margin

    def pieces(self, union: _Union) -> tuple[Ids, Ids, Ids, Ids]:
        """Add the pieces in the window to ``union``.

        Returns:
            Numbers of the pieces, 0 = background, along the edges of the window: top, bottom, left, right.
        """
        labels, areas, probability, line = self._look()
        own = labels[self._inside]
        pixels = np.flatnonzero(own)
        mine = own.ravel()[pixels]
        numbers = np.zeros(len(areas), np.int64)
        if len(pixels):
            sums = np.full(len(areas), np.nan)
            if probability is not None:
                sums = np.bincount(mine, probability[self._inside].ravel()[pixels], minlength=len(areas))
            boxes, lines = ndimage.find_objects(own), {} if line is None else self._lines(line, probability, labels)
            own_areas = np.bincount(mine, minlength=len(areas))
            for label in np.flatnonzero(own_areas).tolist():
                down, across = boxes[label - 1]
                numbers[label] = union.add(
                    _Piece(
                        int(own_areas[label]),
                        self.rows.start + down.start,
                        self.columns.start + across.start,
                        self.rows.start + down.stop,
                        self.columns.start + across.stop,
                        float(sums[label]),
                        [lines[label]] if label in lines else [],
                    )
                )
        return numbers[own[0]], numbers[own[-1]], numbers[own[:, 0]], numbers[own[:, -1]]

    def _look(
        self,
    ) -> tuple[NDArray[np.int32], Ids, NDArray[np.floating] | None, CenterLine | None]:
        """Labels of the window with a margin that is wide enough, their areas, the probability, and the center lines."""
        while True:
            self._place(self.margin)
            mask, probability = self.read(self._rows, self._columns)
            labels = ndimage.label(mask, EIGHT_CONNECTED)[0]
            areas = np.bincount(labels[mask], minlength=1)
            large = np.sqrt(2) * areas + 1 >= self.how.min_length  # as in measure_cracks
            large[0] = False
            measured = mask if large[1:].all() else large[labels]
            if not labels[self._inside].any() or not measured.any():
                return labels, areas, probability, None
            line = center_line(measured)
            needed = REACH * float(line.distance.max()) + CONSTANT
            if needed <= self.margin or self.margin >= LARGEST_MARGIN:
                return labels, areas, probability, line
            self.margin = min(LARGEST_MARGIN, max(2 * self.margin, int(needed)))

    def _place(self, margin: int) -> None:
        """Where the window with its margin lies, and the window in it."""
        (height, width), rows, columns = self.shape, self.rows, self.columns
        self._rows = slice(max(0, rows.start - margin), min(height, rows.stop + margin))
        self._columns = slice(max(0, columns.start - margin), min(width, columns.stop + margin))
        self._inside = tuple(
            slice(own.start - whole.start, own.stop - whole.start)
            for own, whole in ((rows, self._rows), (columns, self._columns))
        )

    def _lines(
        self, line: CenterLine, probability: NDArray[np.floating] | None, labels: NDArray[np.int32]
    ) -> dict[int, _Line]:
        """The center lines inside the window by the label of their piece."""
        points, edges = line.graph.points, line.graph.edges
        piece = labels[tuple(points.T)]
        offset = np.array([self._rows.start, self._columns.start])
        key = (points + offset) @ np.array([self.shape[1], 1])
        low, high = ([part.start for part in self._inside], [part.stop for part in self._inside])
        inside = np.all((points >= low) & (points < high), axis=1)
        width = local_widths(line, probability, self.how.width)
        values = np.column_stack([line.places + offset, width, line.distance, line.beyond, line.tips + offset])
        steps = np.column_stack([key[edges], line.straight])
        pixels, begun = np.flatnonzero(inside), np.flatnonzero(inside[edges[:, 0]])
        step_groups = members(piece[edges[begun, 0]])
        nothing = np.empty(0, np.int64)
        return {
            label: _Line(key[pixels[group]], values[pixels[group]], steps[begun[step_groups.get(label, nothing)]])
            for label, group in members(piece[pixels]).items()
        }


def _measured(piece: _Piece, width: int, how: MeasureSettings, number: int) -> Crack | None:
    """The measures of a piece that is complete, None when it is too short to count."""
    if not piece.lines:
        return None
    key, values = (
        np.concatenate([line.key for line in piece.lines]),
        np.concatenate([line.values for line in piece.lines]),
    )
    steps = np.concatenate([line.edges for line in piece.lines])
    order = np.argsort(key)
    key, values = key[order], values[order]
    line = _center_line(key, values, steps, width)
    lines = CrackLines(line, np.zeros(len(key), np.int64), values[:, 2])
    length = float(lines.lengths(1)[0])
    if length < how.min_length:
        return None
    box = (piece.top, piece.left, piece.bottom - piece.top, piece.right - piece.left)
    return lines.crack(number, 0, length, piece.area, box, piece.probability / piece.area)


def _center_line(key: Ids, values: Floats, steps: Ids, width: int) -> CenterLine:
    """The center line of a whole piece from the pixels and steps that the windows found."""
    ends = np.searchsorted(key, steps[:, :2])
    ends[ends == len(key)] = 0
    # Where a crack is wider than any margin, two windows may disagree; a step to a pixel that is missing is left out.
    known = (key[ends] == steps[:, :2]).all(axis=1)
    ends, straight = ends[known], steps[known, 2] > 0
    offset = np.diff(np.stack([key[ends] // width, key[ends] % width], axis=2), axis=1)[:, 0]
    kind = np.full(len(ends), len(HALF_NEIGHBORHOOD))
    for place, step in enumerate(HALF_NEIGHBORHOOD):
        kind[(offset == step).all(axis=1)] = place
    order = np.lexsort((ends[:, 0], kind))  # as in prune.metrics.skeleton
    ends, straight = ends[order], straight[order]
    graph = Graph(np.stack([key // width, key % width], axis=1), ends, np.bincount(ends.ravel(), minlength=len(key)))
    places, tips, none = values[:, :2], values[:, 5:7], np.zeros((len(key), 2))
    # The length is summed by CrackLines; normals and bent ends were used in the windows.
    return CenterLine(graph, places, values[:, 2], 0.0, straight, values[:, 3], none, values[:, 4], tips, ())
