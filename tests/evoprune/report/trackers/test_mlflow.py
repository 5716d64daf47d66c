"""What MLflow's own client reads back from a local store."""

import pytest

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("alembic")


def test_a_run_is_there_once_with_its_history_experiment_and_result(run, sphere, evoprune, no_figures, monkeypatch):
    answer = run(sphere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{answer.folder.parent / 'mlflow.db'}")
    for _ in range(2):  # the second time replaces the first
        told = evoprune("report", answer.folder, "--mlflow")
        assert told.code == 0, told.err
    client = mlflow.MlflowClient()
    (logged,) = client.search_runs([client.get_experiment_by_name("evoprune").experiment_id])
    assert logged.info.run_name == answer.folder.name
    assert logged.info.status == "FINISHED"
    assert logged.data.params["operators.mate.use"] == "blend"
    result = answer.json("result.json")
    assert logged.data.metrics["result/evaluations"] == result["evaluations"]
    for name in ("best", "median", "worst"):
        read = {
            metric.step: metric.value for metric in client.get_metric_history(logged.info.run_id, f"fitness/{name}")
        }
        assert read == pytest.approx({line["generation"]: line[name] for line in answer.generations})


def test_what_mlflow_refuses_is_one_line(run, sphere, evoprune, no_figures, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://x")
    answer = evoprune("report", run(sphere).folder, "--mlflow")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("evoprune: --mlflow: ")
