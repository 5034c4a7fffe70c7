"""Scanners of the ball."""

import dataclasses

import numpy as np
import pytest
from nested_balls import OFF, build_ball, merged

from scan2map.config import check_block
from scan2map.phantom.acquisition.scan import Scanner


@pytest.fixture(scope="session")
def ball():
    """A ball without a field."""
    return build_ball()


@pytest.fixture
def make_scanner(ball):
    """Scanner with every disturbance off but those that the settings switch on."""

    def make(settings=None, subject=ball, pose=None, seed=5):
        block = check_block("phantom", merged(OFF, settings or {}))
        return Scanner(subject, np.eye(4) if pose is None else pose, block, seed)

    return make


@pytest.fixture
def with_field(ball):
    """A copy of the ball with a field given as a function of position (mm)."""

    def make(field_hz):
        return dataclasses.replace(ball, field_hz=build_ball(field_hz).field_hz)

    return make
