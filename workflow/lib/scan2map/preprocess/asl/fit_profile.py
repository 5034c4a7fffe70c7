"""The cost of the kinetic fit over transit time: its deepest minima, with the best amplitudes at each.

At a given transit time the signal is linear in CBF and arterial blood volume, so both follow in closed form (variable
projection). Between two nodes of the grid no signal has a kink, and cubic Hermite polynomials through values and
slopes at the nodes give the cost between them to about 1e-6 of the signal's energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl import CBF_UNIT
from scan2map.preprocess.asl.fit_problem import KINK_GAP_S, Problem

# Perfusion at which the (weakly non-linear) general kinetic model is linearised for the profile, ml/100g/min.
TYPICAL_CBF = 50.0
# The linearised profile ranks minima whose depths differ by more than this share.
PROFILE_ERROR = 1e-3
# Nodes whose depths differ by less than this share are equal in single precision; of these, the one that is nearest to
# a typical transit time (s) is taken.
TIE, TYPICAL_ATT_S = 2e-6, 1.5
# As PROFILE_ERROR, of single precision.
ROUNDING_ERROR = 1e-5
# Steps of the regula falsi: the slope is nearly linear between two nodes, each step gains more than a digit.
ROOT_STEPS = 6


class Start(NamedTuple):
    """Start of the polish, (parameters, voxels), and where it can win against the first start, (voxels,)."""

    parameters: torch.Tensor
    competes: torch.Tensor


class Minimum(NamedTuple):
    """A minimum of the profile in each voxel: amplitudes, transit time (s), and cost up to a constant, (voxels,)."""

    amplitudes: list[torch.Tensor]
    att_s: torch.Tensor
    depth: torch.Tensor


def profile_starts(problem: Problem) -> tuple[torch.Tensor, list[Start]]:
    """The edges of the smooth segments of transit time, s, and the deepest minima of the cost.

    Args:
        problem: signals that share one delay offset.
    """
    edges = problem.edges_s()
    profile = _Profile(problem, edges)
    minima = sorted_minima(profile.minima(problem.options.starts))
    margin = (PROFILE_ERROR if profile.linearised else ROUNDING_ERROR) * minima[0].depth.abs()
    if profile.differs:
        margin = torch.inf
    starts = [
        Start(
            torch.stack([one.amplitudes[0], one.att_s, *one.amplitudes[1:]]),
            torch.isfinite(one.depth) & (one.depth - margin < minima[0].depth),
        )
        for one in minima
    ]
    return edges, starts


def sorted_minima(minima: list[Minimum]) -> list[Minimum]:
    """The same minima with the deepest of each voxel first."""
    first = minima[0]
    for position, other in enumerate(minima[1:], 1):
        deeper = other.depth < first.depth - TIE * first.depth.abs()
        first, minima[position] = _choose(deeper, other, first), _choose(deeper, first, other)
    return [first, *minima[1:]]


def _choose(chosen: torch.Tensor, one: Minimum, other: Minimum) -> Minimum:
    amplitudes = [torch.where(chosen, a, b) for a, b in zip(one.amplitudes, other.amplitudes, strict=True)]
    return Minimum(amplitudes, torch.where(chosen, one.att_s, other.att_s), torch.where(chosen, one.depth, other.depth))


class _Profile:
    """Dictionary of signals at the nodes, and what each voxel's data say about it."""

    def __init__(self, problem: Problem, edges: torch.Tensor):
        self.problem = problem
        self.linearised = problem.options.model != kinetics.CONSENSUS or problem.options.arterial_component
        self.differs = self.linearised and bool((problem.tissue_t1_s != problem.tissue_t1_s[0]).any())
        self.nodes = _grid_nodes(problem, edges)
        rate, _ = kinetics.apparent_rate(
            problem.options.model, problem.design, torch.full_like(self.nodes, TYPICAL_CBF), problem.tissue_t1_s.mean()
        )
        response = kinetics.responses(problem.design, self.nodes, rate, problem.offset_s[:, :1], by_rate=False)
        columns = [response.value / CBF_UNIT]
        if problem.options.arterial_component:
            arrival = problem.arrival_s(self.nodes)
            columns.append(kinetics.arterial_responses(problem.design, arrival, problem.offset_s[:, :1]))
        # Single precision is enough to rank minima; in units of the largest signal, so that squares keep their digits.
        self.unit = float(columns[0].abs().max().clamp_min(1e-300))
        self.data = (problem.data / self.unit).float()
        self.columns = [(column / self.unit).float() for column in columns]
        self.slope = (response.by_att / CBF_UNIT / self.unit).float()
        self.amplitudes, self.depth = solve_amplitudes(self.data, self.columns, problem.options.amplitude_bounds())
        if problem.prior_weight:
            penalty = problem.prior_weight / self.unit**2 * problem.prior_offset_s(self.nodes) ** 2
            self.depth = self.depth + penalty.float()[:, None]

    def lowest_nodes(self, count: int) -> list[torch.Tensor]:
        """Indices of the lowest node and of the next lowest local minima, (voxels,) each.

        Where the data cannot tell nodes apart (all label has arrived before the first delay, say), the most typical
        transit time of them stands for all.
        """
        lowest = self.depth.amin(0)
        tied = self.depth <= lowest + TIE * lowest.abs()
        index = _lowest_row(torch.where(tied, _untypical(self.nodes), torch.inf))
        found = [index]
        if count > 1:
            falls, rises = self.depth[1:] <= self.depth[:-1], self.depth[1:] >= self.depth[:-1]
            edge = torch.ones_like(falls[:1])
            minimum = torch.cat([edge, falls]) & torch.cat([rises, edge])
            rest = self.depth.masked_fill(~minimum, torch.inf)
        for _ in range(count - 1):
            for side in (-1, 0, 1):  # the other side of a kink is the same minimum
                rest.scatter_(0, (index + side).clamp(0, len(rest) - 1)[None], torch.inf)
            index = _lowest_row(rest)
            found.append(index)
        return found

    def minima(self, count: int) -> list[Minimum]:
        """The lowest minimum, and other ones where they may be lower: of infinite depth where they cannot."""
        nodes = self.lowest_nodes(count)
        found = [self.at_node(index) for index in nodes]
        if len(self.columns) > 1:
            return found
        lowest = found[0].depth.clone()
        for number, (index, other) in enumerate(zip(nodes, found, strict=True)):
            voxels = slice(None) if number == 0 else self._competing(index, other.depth, lowest)
            refined = self.refine(index[voxels], self.data[:, voxels])
            other.depth.fill_(torch.inf)
            for whole, part in zip((*other.amplitudes, *other[1:]), (*refined.amplitudes, *refined[1:]), strict=True):
                whole[voxels] = part
        return found

    def at_node(self, index: torch.Tensor) -> Minimum:
        """Amplitudes and cost at a node of each voxel."""
        amplitudes = [one.gather(0, index[None])[0].double() for one in self.amplitudes]
        return Minimum(amplitudes, self.nodes[index], self.depth.gather(0, index[None])[0])

    def _competing(self, index: torch.Tensor, depth: torch.Tensor, lowest: torch.Tensor) -> torch.Tensor:
        """Voxels where the cost beside a node may be lower than elsewhere: it falls by less than it rises around it."""
        around = [self.depth.gather(0, (index + side).clamp(0, len(self.depth) - 1)[None])[0] for side in (-1, 1)]
        reach = torch.maximum(*around) - depth + PROFILE_ERROR * lowest.abs()
        return torch.nonzero(torch.isfinite(depth) & ((depth - reach < lowest) | self.differs))[:, 0]

    def refine(self, index: torch.Tensor, data: torch.Tensor) -> Minimum:
        """The minimum in the two intervals beside a node.

        Args:
            index: of the node, (voxels,).
            data: signals in units of the largest, (volumes, voxels).
        """
        left, right = (self._between(*self._interval(index, side), side, data) for side in (-1, 1))
        # A node behind a kink belongs to the right interval, also where the left one is as good.
        behind = self.nodes[index] - self.nodes[(index - 1).clamp_min(0)] < 3 * KINK_GAP_S
        margin = torch.where(behind & (index > 0), TIE, -TIE) * left.depth.abs()
        return _choose(right.depth < left.depth + margin, right, left)

    def _interval(self, index: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Nodes that bound the interval to one side of a node, beyond its kink if it has one there."""
        last = len(self.nodes) - 1
        near = index
        beside = (near + side).clamp(0, last)
        near = torch.where((self.nodes[beside] - self.nodes[near]).abs() < 3 * KINK_GAP_S, beside, near)
        beside = (near + side).clamp(0, last)
        return torch.minimum(near, beside), torch.maximum(near, beside)

    def _between(self, left: torch.Tensor, right: torch.Tensor, side: int, data: torch.Tensor) -> Minimum:
        """The minimum between two neighbouring nodes; on a plateau, the node that lies to the other side."""
        problem, column = self.problem, self.columns[0]
        width = (self.nodes[right] - self.nodes[left]).float()
        values = [(column[:, end] * data).sum(0) for end in (left, right)]
        slopes = [(self.slope[:, end] * data).sum(0) * width for end in (left, right)]
        inner = _hermite(*values, *slopes)
        square = (column**2).sum(0)
        square_slope = 2 * (column * self.slope).sum(0)
        norm = _hermite(square[left], square[right], square_slope[left] * width, square_slope[right] * width)
        offset, weight = problem.prior_offset_s(self.nodes[left]).float(), problem.prior_weight / self.unit**2
        penalty = tuple(weight * part for part in (offset**2, 2 * offset * width, width**2, torch.zeros_like(width)))
        low, high = problem.options.cbf_bounds
        home = 0.0 if side > 0 else 1.0
        place = _lowest(inner, norm, penalty, low, high, home)
        amplitude, depth = _best_amplitude(_at(inner, place), _at(norm, place), low, high)
        return Minimum([amplitude.double()], self.nodes[left] + place * width, depth + _at(penalty, place))


def _untypical(nodes: torch.Tensor) -> torch.Tensor:
    """Distance of each node from a typical transit time, (nodes, 1).

    The two sides of a kink change places: a plateau that ends at the kink is then entered, not just touched.
    """
    distance = (nodes - TYPICAL_ATT_S).abs().float()
    order = torch.arange(len(nodes), device=nodes.device)
    first = torch.nonzero(torch.diff(nodes) < 3 * KINK_GAP_S)[:, 0]
    order[first], order[first + 1] = first + 1, first
    return distance[order][:, None]


def _lowest_row(values: torch.Tensor) -> torch.Tensor:
    """Index of the lowest entry along the first axis; on a CPU many times faster than ``argmin``, which is scalar."""
    if values.device.type != "cpu":
        return values.argmin(0)
    lowest, index = values[0], torch.zeros_like(values[0], dtype=torch.int64)
    for row in range(1, len(values)):
        index = torch.where(values[row] < lowest, row, index)
        lowest = torch.minimum(lowest, values[row])
    return index


def _hermite(start, end, start_slope, end_slope) -> tuple:
    """Coefficients of the cubic on [0, 1] with these values and slopes, constant first."""
    rise = end - start
    return start, start_slope, 3 * rise - 2 * start_slope - end_slope, start_slope + end_slope - 2 * rise


def _at(cubic, place):
    return cubic[0] + place * (cubic[1] + place * (cubic[2] + place * cubic[3]))


def _slope_at(cubic, place):
    return cubic[1] + place * (2 * cubic[2] + 3 * place * cubic[3])


def _best_amplitude(inner, norm, low, high) -> tuple[torch.Tensor, torch.Tensor]:
    amplitude = torch.clamp(inner / norm.clamp_min(1e-30), low, high)
    return amplitude, amplitude * (amplitude * norm - 2 * inner)


def _lowest(inner, norm, penalty, low, high, home: float) -> torch.Tensor:
    """Where on [0, 1] the cost of the best amplitude is lowest: the root of its slope (Illinois' regula falsi).

    Where the slope is no more than rounding at both ends, ``home``.
    """

    def slope(place):
        amplitude, _ = _best_amplitude(_at(inner, place), _at(norm, place), low, high)
        return amplitude * (amplitude * _slope_at(norm, place) - 2 * _slope_at(inner, place)) + _slope_at(
            penalty, place
        )

    left, right = torch.zeros_like(inner[0]), torch.ones_like(inner[0])
    at_left, at_right = slope(left), slope(right)
    rounding = TIE * (inner[0] ** 2 / norm[0].clamp_min(1e-30))
    falls, rises = at_left < -rounding, at_right > rounding
    end = torch.where(falls, right, torch.where(rises, left, home))
    root = end
    for _ in range(ROOT_STEPS):
        root = left - at_left * (right - left) / torch.where(at_right != at_left, at_right - at_left, 1.0)
        here = slope(root)
        below = here < 0
        # The end that stays keeps half its value, or it would stay for ever (Illinois).
        at_left, at_right = torch.where(below, here, at_left / 2), torch.where(below, at_right / 2, here)
        left, right = torch.where(below, root, left), torch.where(below, right, root)
    return torch.where(falls & rises, root, end)


def _grid_nodes(problem: Problem, edges: torch.Tensor) -> torch.Tensor:
    """Transit times of the profile, s: steps of the grid, and both sides of every kink."""
    low, high = problem.options.att_bounds_s
    count = 1 + int(np.ceil((high - low) / problem.options.grid_step_s))
    steps = torch.linspace(low, high, count, dtype=torch.float64, device=edges.device)
    apart = (steps[:, None] - edges[None, 1:-1]).abs().amin(1) > 3 * KINK_GAP_S if len(edges) > 2 else slice(None)
    return torch.cat([steps[apart], edges[1:-1] - KINK_GAP_S, edges[1:-1] + KINK_GAP_S]).sort().values


def solve_amplitudes(
    data: torch.Tensor, columns: list[torch.Tensor], bounds: Sequence[tuple[float, float]]
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Best amplitudes within their bounds at each transit time, and the cost up to a constant, (nodes, voxels) each.

    One amplitude: the clipped least-squares solution. Two: the inner solution where it is allowed, else the best of
    the four edges.

    Args:
        data: signals, (volumes, voxels).
        columns: signal per unit of each amplitude, (volumes, nodes).
        bounds: of each amplitude.
    """
    if len(columns) > 1:
        return _two_amplitudes(data, columns, bounds)
    amplitude, depth = _best_amplitude(columns[0].T @ data, (columns[0] ** 2).sum(0)[:, None], *bounds[0])
    return [amplitude], depth


def _two_amplitudes(data: torch.Tensor, columns, bounds):
    first, second = (column.T @ data for column in columns)
    n11, n22, n12 = (
        (one * other).sum(0)[:, None]
        for one, other in ((columns[0], columns[0]), (columns[1], columns[1]), (columns[0], columns[1]))
    )
    determinant = (n11 * n22 - n12**2).clamp_min(1e-30)
    inside = (n22 * first - n12 * second) / determinant, (n11 * second - n12 * first) / determinant
    candidates = [(inside[0].clamp(*bounds[0]), inside[1].clamp(*bounds[1]))]
    for side in (0, 1):
        one, other = bounds[0][side], bounds[1][side]
        free_first, _ = _best_amplitude(first - n12 * other, n11, *bounds[0])
        free_second, _ = _best_amplitude(second - n12 * one, n22, *bounds[1])
        candidates += [(free_first, torch.full_like(first, other)), (torch.full_like(first, one), free_second)]
    costs = torch.stack(
        [
            one * (one * n11 + 2 * other * n12 - 2 * first) + other * (other * n22 - 2 * second)
            for one, other in candidates
        ]
    )
    cost, which = costs.min(0)
    chosen = [torch.stack([pair[k] for pair in candidates]).gather(0, which[None])[0] for k in (0, 1)]
    return chosen, cost
