"""Levels of channels."""

import pytest
from pydantic import ValidationError

from evoprune import InputError
from problems.transforms.widths.channels import ChannelsSettings
from tests.problems.transforms.widths.slow import cut_of


def test_levels_go_down_in_steps_to_none():
    genes = cut_of("opt", "channels", step=64).genes
    assert [(gene.name, gene.group, gene.levels) for gene in genes] == [
        (f"channels {block}", f"block {block}", (128, 64, 0)) for block in range(3)
    ]


def test_a_step_that_does_not_divide_the_width_is_refused():
    with pytest.raises(InputError, match=r"step 48 does not divide the width of the MLPs, 256"):
        cut_of("gpt2", "channels", step=48)


def test_steps_that_kernels_do_not_like_are_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 32"):
        ChannelsSettings(step=16)
