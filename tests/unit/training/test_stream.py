"""Samples by counter, learning rates: what makes a resumed training the same training."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from toy_study import LIBRARY

from scan2map.training.callbacks import seed_step
from scan2map.training.module import rate_factor
from scan2map.training.stream import Counter, Samples, Shuffled, StepBatches


def test_a_sample_depends_on_seed_and_counter_alone():
    first, second = (Samples(lambda rng: rng.normal(size=3), seed=5) for _ in range(2))
    assert np.array_equal(first[10**9], second[10**9])
    _ = second[3]
    assert np.array_equal(first[4], second[4])
    assert not np.array_equal(first[4], first[5])
    assert not np.array_equal(first[4], Samples(lambda rng: rng.normal(size=3), seed=6)[4])


def test_every_pass_holds_each_item_once_in_its_own_order():
    stream = Shuffled(list(range(20)), seed=1)
    passes = [[stream[number * 20 + place] for place in range(20)] for number in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(20))
    assert passes[0] != passes[1]
    assert [stream[place] for place in range(20)] == passes[0]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_counters_of_a_step(processes):
    batches = [StepBatches(8, 3, rank, processes) for rank in range(processes)]
    for batch in batches:
        batch.set_epoch(2)
    steps = zip(*(list(batch) for batch in batches), strict=True)
    counters = [sorted(counter for share in shares for counter in share) for shares in steps]
    assert counters == [list(range(48 + 8 * step, 56 + 8 * step)) for step in range(3)]


def test_counters_count():
    assert Counter()[7] == 7


def test_seeds_of_steps_set_every_generator():
    import random

    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    seed_step(1, 2)
    first = draw()
    draw()
    seed_step(1, 2)
    assert draw() == first
    for other in ((1, 3, 0), (2, 2, 0), (1, 2, 1)):
        seed_step(*other)
        assert not set(draw()) & set(first)


def test_learning_rate_rises_then_falls_to_zero():
    cosine = {"schedule": "cosine", "warmup_steps": 10, "max_steps": 110}
    assert rate_factor(0, cosine) == pytest.approx(0.1)
    assert rate_factor(9, cosine) == rate_factor(10, cosine) == 1
    assert rate_factor(60, cosine) == pytest.approx(0.5)
    assert rate_factor(110, cosine) == pytest.approx(0, abs=1e-12)
    assert rate_factor(500, {**cosine, "schedule": "constant"}) == 1


def test_planning_a_study_needs_no_torch():
    code = """
import sys
from scan2map.training.study import Learning
from scan2map.systems import load_system, system_names
for name in system_names():
    load_system(name).description
heavy = sorted({"torch", "lightning", "monai", "pandas", "scipy"} & set(sys.modules))
sys.exit(f"imported while planning: {heavy}" if heavy else 0)
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
