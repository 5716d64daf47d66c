import pytest
import yaml

from evoprune.experiment import registry

EXPERIMENTS = sorted(path.name for path in (registry.HOME / "problems").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_we_ship_is_valid(evoprune, name):
    answer = evoprune("validate", f"problems/{name}")
    assert (answer.code, answer.out, answer.err) == (0, f"problems/{name}: valid (data are not read)\n", "")


def test_settings_are_checked_too(evoprune):
    answer = evoprune("validate", "problems/gpt2_mini.yaml", "--set", "operators.mate.use=unifrom", "--seed", "x")
    assert answer.code == 2
    assert "did you mean 'uniform'?" in answer.err
    assert "seed: " in answer.err


def test_print_config_shows_what_would_run_and_runs_nothing(evoprune, tmp_path):
    answer = evoprune(
        "run", "problems/rastrigin.yaml", "--runs-dir", tmp_path / "runs", "--print-config", "--seed", "7"
    )
    config = yaml.safe_load(answer.out)
    assert config["seed"] == 7
    assert config["problem"]["low"] == -5.12
    assert not (tmp_path / "runs").exists()
