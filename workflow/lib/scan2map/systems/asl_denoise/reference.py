"""What a denoised image may be scored against: the noise-free truth, or the average of pairs that it was not made of.

An average of all pairs shares its noise with the average of some of them: scored against it, leaving noise in pays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from scan2map.errors import DataError


class Average(NamedTuple):
    """An average of control-label pairs, or the truth.

    Attributes:
        image: difference images in network units (batch, channels, y, x).
        pairs: numbers of the pairs in it; empty for the noise-free truth.
    """

    image: torch.Tensor
    pairs: frozenset[int] = frozenset()


def require_independent(inputs: Iterable[int], reference: Average) -> None:
    """Stop unless a reference shares no pair with the input of what is scored.

    Args:
        inputs: numbers of the pairs that the estimate was made from.
        reference: what it is scored against.

    Raises:
        DataError: they share pairs, and with them noise.
    """
    shared = sorted(set(inputs) & reference.pairs)
    if shared:
        raise DataError(
            "The reference shares control-label pairs with the input that it is to judge",
            found=f"{len(shared)} of its {len(reference.pairs)} pairs, the first is {shared[0]}",
            allowed="the noise-free truth, or an average of other pairs",
            remedy="leave the pairs of the input out of the reference",
        )
