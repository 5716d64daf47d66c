"""Each fault of the user's: exit code 2, one message that says where and what, and nothing written."""

import pytest

TEXTS = {
    "broken YAML": ("problem: {use: benchmark", "line 1"),
    "tab": ("problem:\n\tuse: benchmark", "line 2, column 1"),
    "empty": ("", "expected a mapping with the keys 'problem', 'operators', ..., got nothing"),
    "list": ("- problem\n- operators", "got a list"),
    "tag of Python's": ("problem: !!python/object/apply:os.system ['exit 1']", "python/object"),
    "no date": ("problem: benchmark\nseed: 2001-99-99", "month must be in 1..12"),
    "key twice": ("problem: benchmark\nseed: 1\nseed: 2", "line 3, column 1: key 'seed' is given twice"),
    "key is a number": ("problem: benchmark\n1: 2", "expected a name as key, got 1"),
    "alias of itself": ("problem: benchmark\nseed: &a [*a]", "seed: expected a whole number"),
    "no problem": ("seed: 1", "problem: missing"),
    "plugin is not there": ("problem: benchmark\nplugins: [no_such_module]", "plugins: cannot import 'no_such_module'"),
}

SETTINGS = {
    "unknown key": ("populaton=3", "populaton: unknown key; did you mean 'population'?"),
    "key of the problem": ("function=sphere", "function: unknown key; did you mean 'problem.function'?"),
    "slot without operators": ("mate=blend", "mate: unknown key; did you mean 'operators.mate'?"),
    "share in percent": ("mate_probability=45%", "mate_probability: expected a number, got '45%'"),
    "operator of another slot": ("operators.mate=gaussian", "operators.mate.use: unknown operator 'gaussian'"),
    "misspelt function": ("problem.function=sfere", "(did you mean 'sphere'?)"),
    "population many": ("population=many", "population: expected a whole number"),
    "population true": ("population=true", "population: expected a number, got True"),
    "generations nan": ("generations=.nan", "generations: expected a finite number"),
    "probability": ("mate_probability=1.5", "mate_probability: expected a number of at most 1"),
    "low above up": ("problem.low=6", "problem: expected low <= up, got 6 and 5.12"),
    "seed too large": ("seed=4294967296", "seed: expected a number below 4294967296"),
    "no equals": ("seed", "--set seed: expected KEY=VALUE or ~KEY"),
    "not YAML": ("seed=[1", "--set seed=[1: '[1' is not a YAML value"),
    "below a number": ("population.size=3", "--set population.size=3: 'population' holds 100, which has no keys"),
    "nothing to delete": ("~operators.repair", "--set ~operators.repair: there is no such key to delete"),
    "unlisted module": ("operators.mate=os:getcwd", "operators.mate.use: 'os:getcwd' is not allowed: list 'os'"),
    "no such attribute": ("operators.mate=deap.tools:cxBlendd", "has no 'cxBlendd'; did you mean 'cxBlend'?"),
    "required parameter": ("operators.mate=deap.tools:cxBlend", "operators.mate.alpha: missing; it must be given"),
}


MODEL = {
    "a text by its name": (
        "problem.search_text=mine.txt",
        "problem.search_text: expected a mapping with keys among source, subset, split, ",
    ),
    "a share in percent": ("problem.sparsity=45", "expected a number of at most 1, got 45"),
    "a word of several": ("problem.dtype=int8", "problem.dtype: expected 'auto', 'float32', 'bfloat16' or 'float16'"),
    "a long name": ("problem.model=" + "x" * 300, "problem.model: cannot be read: File name too long"),
}


def cases(table):
    return pytest.mark.parametrize(("given", "fragment"), table.values(), ids=table.keys())


def assert_refused(answer, *fragments):
    assert answer.code == 2
    assert answer.out == ""
    first, *more = answer.err.splitlines()
    assert first.startswith("evoprune: ")
    assert all(line.startswith("  ") for line in more)
    for fragment in fragments:
        assert str(fragment) in answer.err
    assert not answer.folder.exists()


@cases(TEXTS)
def test_files(run, write, given, fragment):
    file = write(given)
    assert_refused(run(file), f"evoprune: {file}: ", fragment)


@cases(SETTINGS)
def test_settings(run, given, fragment):
    assert_refused(run("problems/rastrigin.yaml", given), fragment)


@cases(MODEL)
def test_settings_of_a_problem_on_models(run, given, fragment):
    assert_refused(run("problems/gpt2_mini.yaml", given), "problems/gpt2_mini.yaml: ", fragment)


@pytest.mark.parametrize("path", ["nothing.yaml", "problems/nothing.yaml", "x" * 300, ""])
def test_a_file_that_is_not_there(run, path):
    assert_refused(run(path), f"evoprune: {path}")


@pytest.mark.parametrize("name", ["a/b", "", "..", "x" * 300], ids=lambda name: name[:8] or "empty")
def test_a_name_that_is_no_folder_name(evoprune, sphere, tmp_path, name):
    answer = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", "--name", name, folder=tmp_path / "runs" / "x")
    assert_refused(answer, name)


def test_a_name_that_is_taken(run, sphere, tmp_path):
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    answer = run(sphere, name="taken")
    assert_refused(answer._replace(folder=tmp_path / "nowhere"), "--name: ", "exists already")
    assert not list((tmp_path / "runs" / "taken").iterdir())
