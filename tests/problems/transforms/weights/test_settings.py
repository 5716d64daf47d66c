"""How weights are cut, where settings do not fit together."""

import pytest

from problems.transforms.weights.settings import WeightsSettings


def test_stages_need_a_way_to_reconstruct_and_rise_between_dense_and_nothing():
    with pytest.raises(ValueError, match="reconstruct is none: expected sparsegpt or least_squares, or no stages"):
        WeightsSettings(reconstruct_stages=(0.3, 0.5))
    for stages in ((0.5, 0.3), (0.3, 0.3), (0.0, 0.3), (0.3, 1.0)):
        with pytest.raises(ValueError, match="expected sparsities between 0 and 1 that rise"):
            WeightsSettings(reconstruct="sparsegpt", reconstruct_stages=stages)


def test_the_score_of_a_kind_is_checked_as_the_score_of_all_is():
    for given in ({"score": "wandda"}, {"scores": {"mlp.c_fc": "wandda"}}):
        with pytest.raises(ValueError, match="did you mean 'wanda'"):
            WeightsSettings(**given)
