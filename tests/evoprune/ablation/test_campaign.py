"""The folder of an ablation: one process at a time, and nothing left where nothing ran."""

from evoprune.records import run_folder


def test_an_ablation_that_another_process_is_at_is_refused(ablate, no_figures, capsys):
    vary = ("--vary", "operators.mate=blend,uniform")
    _, folder = ablate(*vary)
    before = (folder / "campaign.json").read_bytes()
    with run_folder.locked(folder, "campaign.lock"):
        assert ablate(*vary)[0] == 2
    assert "still running" in capsys.readouterr().err
    assert (folder / "campaign.json").read_bytes() == before


def test_nothing_is_left_where_no_run_can_begin(plugin, write, evoprune, tmp_path):
    plugin(
        "unready",
        """
        from evoprune import Genes, InputError, Problem

        class Unready(Problem):
            def __init__(self, settings): raise InputError("is not here", "the data")
            genes = Genes.real(["x"], 0.0, 1.0)
            def evaluate(self, genome): ...
        """,
    )
    file = write('problem: {use: "unready:Unready"}\nplugins: [unready]\n')
    answer = evoprune(
        "ablate", file, "--vary", "population=8,9", "--budget", "10", "--runs-dir", tmp_path, "--name", "a"
    )
    assert answer.code == 2
    assert "is not here" in answer.err
    assert not (tmp_path / "a").exists()
