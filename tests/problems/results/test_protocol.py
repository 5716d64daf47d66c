"""What is stated beside a perplexity."""

import json

import torch

from problems.results import protocol


def test_a_run_states_its_texts_its_model_and_what_it_computed_with(pruning):
    session = pruning(score="wanda").session
    stated = protocol.of_run(session)
    assert json.loads(json.dumps(stated)) == stated
    texts = session.texts
    roles = {"search": texts.search, "held_out": texts.held_out, "report": texts.report}
    for role, windows in (roles | {"calibration": texts.calibration}).items():
        assert stated[f"{role}_text"]["sha256"] == windows.sha256
        assert stated[f"{role}_text"]["windows"] == len(windows.tokens)
    assert stated["threads"] == torch.get_num_threads()
    assert stated["weights_sha256"] == session.resident.weights_sha256
    assert stated["sparsity_denominators"]["prunable"] == sum(m.size for m in session.resident.matrices)
    assert set(stated["scores"].values()) == {"wanda by row"}


def test_a_text_that_is_not_read_is_not_stated(pruning):
    stated = protocol.of_run(pruning(held_out_windows=0).session)
    assert stated["held_out_text"] is None
    assert stated["calibration_text"] is None  # magnitudes learn from no text
