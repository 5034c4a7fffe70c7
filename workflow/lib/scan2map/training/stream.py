"""Samples by counter: sample ``i`` is a pure function of a seed and ``i``.

A training that was killed goes on at step ``s`` with exactly the samples that it would have seen, whatever the number
of loader processes or devices, because no generator has a state to restore (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

ENDLESS = 2**62


def generator(seed: int, counter: int) -> np.random.Generator:
    """The random generator of one sample."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, counter], dtype=np.uint64)))


class Counter(Dataset):
    """Item ``i`` is ``i``: for systems that simulate whole batches on the device."""

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> int:
        return index


class Samples(Dataset):
    """Item ``i`` is what ``draw`` makes of the generator of sample ``i``: crops, voxels, augmentations.

    Args:
        draw: from a NumPy generator to one sample (a dictionary of arrays or tensors).
        seed: of the training.
    """

    def __init__(self, draw: Callable[[np.random.Generator], Any], seed: int):
        self.draw, self.seed = draw, seed

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Any:
        return self.draw(generator(self.seed, index))


class Shuffled(Dataset):
    """A finite data set without end: each item once per pass, every pass in its own order.

    Args:
        items: the finite data set.
        seed: of the training.
    """

    def __init__(self, items: Dataset, seed: int):
        self.items, self.seed = items, seed
        self._pass, self._order = -1, np.empty(0, dtype=int)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Any:
        number, place = divmod(index, len(self.items))
        if number != self._pass:
            self._pass, self._order = number, generator(self.seed, number).permutation(len(self.items))
        return self.items[int(self._order[place])]


class First(Dataset):
    """The first items of endless samples, kept, each with its ``index``: for validation.

    Args:
        samples: dictionaries by counter.
        count: how many.
    """

    def __init__(self, samples: Dataset, count: int):
        self.items = [samples[index] | {"index": index} for index in range(count)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


class StepBatches(Sampler):
    """The counters of every batch of one process: step ``s`` holds the counters ``s·batch_size`` onwards.

    Args:
        batch_size: samples per step over all processes.
        steps: steps per epoch (from one checkpoint to the next).
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(self, batch_size: int, steps: int, rank: int = 0, world_size: int = 1):
        self.batch_size, self.steps, self.rank, self.world_size = batch_size, steps, rank, world_size
        self.epoch = 0
        self.sampler = self  # Lightning calls set_epoch of a batch sampler's ``sampler``

    def set_epoch(self, epoch: int) -> None:
        """Begin at this epoch; Lightning calls it, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.world_size
        for step in range(self.epoch * self.steps, (self.epoch + 1) * self.steps):
            first = step * self.batch_size + self.rank * share
            yield list(range(first, first + share))
