"""Each fault of the user's: exit code 2, one message that says where and what, and nothing written."""

from itertools import pairwise

import pytest


def laughs(first, form):
    """YAML under the key ``seed`` whose 400 values are aliases of billions."""
    names = "abcdefgh"
    rest = [f"- &{name} {form.format(', '.join(9 * [f'*{inner}']))}" for inner, name in pairwise(names)]
    return "\n".join(["problem: benchmark", "seed:", f"- &a {first}", *rest])


TEXTS = {
    "broken YAML": ("problem: {use: benchmark", "line 1"),
    "tab": ("problem:\n\tuse: benchmark", "line 2, column 1"),
    "empty": ("", "expected a mapping with the keys 'problem', 'operators', ..., got nothing"),
    "only a comment": ("# nothing", "got nothing"),
    "list": ("- problem\n- operators", "got a list"),
    "scalar": ("benchmark", "got a str"),
    "two documents": ("problem: benchmark\n---\nproblem: benchmark", "line 2"),
    "tag of Python's": ("problem: !!python/object/apply:os.system ['exit 1']", "python/object"),
    "tag of nobody's": ("problem: !benchmark {}", "!benchmark"),
    "no date": ("problem: benchmark\nseed: 2001-99-99", "month must be in 1..12"),
    "no int": ("problem: benchmark\nseed: !!int x", "invalid literal"),
    "key twice": ("problem: benchmark\nseed: 1\nseed: 2", "line 3, column 1: key 'seed' is given twice"),
    "key is a number": ("problem: benchmark\n1: 2", "expected a name as key, got 1"),
    "key is null": ("~: 2", "expected a name as key, got None"),
    "aliases of aliases": (laughs("[1]", "[{}]"), "values"),
    "merges of merges": (laughs("{x: 1}", "{{<<: [{}]}}"), "values"),
    "alias of itself": ("problem: benchmark\nseed: &a [*a]", "values"),
    "undefined anchor": ("problem: *x", "undefined alias"),
    "deep nesting": ("seed: " + "[" * 5000, "cannot be read"),
    "no problem": ("seed: 1", "problem: missing"),
    "empty problem": ("problem:", "problem: expected a name, or a mapping {use: NAME, ...}, got None"),
    "problem without use": ("problem: {dimensions: 3}", "problem.use: missing"),
    "use is a number": ("problem: {use: 3}", "problem.use: expected a registered name, or module:attribute, got 3"),
    "operators is a list": (
        "problem: benchmark\noperators: [blend]",
        "operators: expected a mapping with keys among algorithm, select, ",
    ),
    "operator is null": (
        "problem: benchmark\noperators: {mate: null}",
        "operators.mate: expected a name, or a mapping {use: NAME, ...}, got None",
    ),
    "plugins is a string": ("problem: benchmark\nplugins: os", "plugins: expected a list, got 'os'"),
    "plugin is not there": ("problem: benchmark\nplugins: [no_such_module]", "plugins: cannot import 'no_such_module'"),
    "plugin is relative": ("problem: benchmark\nplugins: [.x]", "plugins: cannot import '.x'"),
}

SETTINGS = {
    "unknown key": ("populaton=3", "populaton: unknown key; did you mean 'population'?"),
    "key of the problem": ("function=sphere", "function: unknown key; did you mean 'problem.function'?"),
    "slot without operators": ("mate=blend", "mate: unknown key; did you mean 'operators.mate'?"),
    "share in percent": ("mate_probability=45%", "mate_probability: expected a number, got '45%' (a share: 0.45?)"),
    "unknown problem key": ("problem.functoin=x", "problem.functoin: unknown key; did you mean 'function'?"),
    "unknown operator key": ("operators.mutate.sgima=1", "operators.mutate.sgima: unknown key; did you mean 'sigma'?"),
    "unknown slot": ("operators.crossover=blend", "operators.crossover: unknown key"),
    "misspelt operator": ("operators.mate=unifrom", "unknown operator 'unifrom'; did you mean 'uniform'?"),
    "operator of another slot": ("operators.mate=gaussian", "operators.mate.use: unknown operator 'gaussian'"),
    "misspelt problem": ("problem=benchmrk", "problem.use: unknown problem 'benchmrk'; did you mean 'benchmark'?"),
    "misspelt function": ("problem.function=sfere", "(did you mean 'sphere'?)"),
    "population many": ("population=many", "population: expected a whole number"),
    "population true": ("population=true", "population: expected a number, got True"),
    "population 1": ("population=1", "population: expected a number of at least 2, got 1"),
    "population huge": ("population=1e12", "population: expected"),
    "population null": ("population=null", "population: expected a whole number, got None"),
    "generations negative": ("generations=-1", "generations: expected a number of at least 0"),
    "generations broken": ("generations=2.5", "generations: expected a whole number"),
    "generations nan": ("generations=.nan", "generations: expected a finite number"),
    "probability": ("mate_probability=1.5", "mate_probability: expected a number of at most 1"),
    "probability nan": ("mutate_probability=nan", "mutate_probability: expected a finite number"),
    "max_failures": ("max_failures=-0.1", "max_failures: expected a number of at least 0"),
    "sigma zero": ("operators.mutate.sigma=0", "operators.mutate.sigma: expected a number above 0"),
    "sigma infinite": ("operators.mutate.sigma=.inf", "operators.mutate.sigma: expected a finite number"),
    "sigma true": ("operators.mutate.sigma=true", "operators.mutate.sigma: expected a number, got True"),
    "sigma a list": ("operators.mutate.sigma=[1]", "operators.mutate.sigma: expected a number"),
    "indpb": ("operators.mutate.indpb=2", "operators.mutate.indpb: expected a number of at most 1"),
    "bounds a word": ("operators.mutate.low=abc", "operators.mutate.low: "),
    "elite of all": ("operators.survive.fraction=0.999", "100 of a population of 100"),
    "elite of none": ("operators.survive.fraction=0", "operators.survive.fraction: expected a number above 0"),
    "dimensions 0": ("problem.dimensions=0", "problem.dimensions: expected a number of at least 1"),
    "dimensions false": ("problem.dimensions=false", "problem.dimensions: expected a number"),
    "low above up": ("problem.low=6", "problem: expected low <= up, got 6 and 5.12"),
    "low infinite": ("problem.low=-.inf", "problem.low: expected a finite number"),
    "mean out of reach": ("problem.mean=7", "problem: mean 7 cannot be reached between low -5.12 and up 5.12"),
    "seed a word": ("seed=x", "seed: expected a whole number"),
    "seed negative": ("seed=-1", "seed: expected a number of at least 0"),
    "seed too large": ("seed=4294967296", "seed: expected a number below 4294967296"),
    "no equals": ("seed", "--set seed: expected KEY=VALUE or ~KEY"),
    "no key": ("=3", "--set =3: expected KEY=VALUE"),
    "empty step": ("operators..mate=blend", "--set operators..mate=blend: expected KEY=VALUE"),
    "not YAML": ("seed=[1", "--set seed=[1: '[1' is not a YAML value"),
    "below a number": ("population.size=3", "--set population.size=3: 'population' holds 100, which has no keys"),
    "nothing to delete": ("~operators.repair", "--set ~operators.repair: there is no such key to delete"),
    "problem deleted": ("~problem", "problem: missing"),
    "unlisted module": ("operators.mate=os:getcwd", "operators.mate.use: 'os:getcwd' is not allowed: list 'os'"),
    "no such attribute": ("operators.mate=deap.tools:cxBlendd", "has no 'cxBlendd'; did you mean 'cxBlend'?"),
    "not callable": ("operators.mate=deap.tools:__name__", "'deap.tools:__name__' is not a function"),
    "no problem": ("problem=deap.tools:HallOfFame", "problem.use: 'deap.tools:HallOfFame' is not a subclass"),
    "required parameter": ("operators.mate=deap.tools:cxBlend", "operators.mate.alpha: missing; it must be given"),
    "parameter is nan": (
        "operators.mate={use: 'deap.tools:cxBlend', alpha: .nan}",
        "mate.alpha: expected a finite number",
    ),
}

PRUNING = {
    "sparsity 1.5": ("problem.sparsity=1.5", "problem.sparsity: expected a number of at most 1"),
    "sparsity above the genes": ("problem.sparsity=0.95", "problem: sparsity 0.95 cannot be reached"),
    "min above max": ("problem.min_sparsity=0.91", "min_sparsity 0.91 and max_sparsity 0.9"),
    "sparsity in percent": ("problem.sparsity=45", "expected a number of at most 1, got 45 (a share: 0.45?)"),
    "sparsity with a sign": ("problem.sparsity=45%", "problem.sparsity: expected a number, got '45%' (a share: 0.45?)"),
    "text is a name": (
        "problem.search_text=mine.txt",
        "problem.search_text: expected a mapping, as in {source: mine.txt}, with keys among source, subset, split, ",
    ),
    "scores is a name": ("problem.scores=wanda", "problem.scores: expected a mapping, got 'wanda'"),
    "same text": ("problem.report_text.split=validation", "problem: search_text and report_text are the same text"),
    "window 1": ("problem.search_text.window=1", "problem.search_text.window: expected a number of at least 2"),
    "windows 0": ("problem.report_text.windows=0", "problem.report_text.windows: expected a number of at least 1"),
    "windows true": ("problem.report_text.windows=true", "problem.report_text.windows: expected a number"),
    "unknown key of a text": ("problem.search_text.windw=3", "search_text.windw: unknown key; did you mean 'window'?"),
    "text without source": ("problem.search_text={split: test}", "problem.search_text.source: missing"),
    "dtype": ("problem.dtype=int8", "problem.dtype: expected 'auto', 'float32', 'bfloat16' or 'float16', got 'int8'"),
    "device": ("problem.device=gpu", "problem.device: "),
    "device number": ("problem.device=cuda:x", "problem.device: "),
    "empty model": ("problem.model=''", "problem.model: "),
    "model of a long name": ("problem.model=" + "x" * 300, "problem.model: cannot be read: File name too long"),
    "genes": ("problem.genes=layer", "problem.genes: expected 'block', 'matrix'"),
    "curve": ("problem.curve=[0.1, 1.1]", "problem.curve.1: expected a number of at most 1"),
    "batch": ("problem.batch_tokens=0", "problem.batch_tokens: expected a number of at least 1"),
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


@cases(PRUNING)
def test_settings_of_the_pruning_problem(run, given, fragment):
    assert_refused(run("problems/gpt2_mini.yaml", given), "problems/gpt2_mini.yaml: ", fragment)


@pytest.mark.parametrize("path", ["nothing.yaml", "problems/nothing.yaml", "x" * 300, ""])
def test_a_file_that_is_not_there(run, path):
    assert_refused(run(path), f"evoprune: {path}")


@pytest.mark.parametrize("path", ["gpt2_mini", "gpt2_mini.yaml", "problems/gpt2mini.yaml", "problems/gpt2_mini.yml"])
def test_a_slip_in_the_name_of_what_we_ship(run, path):
    assert_refused(run(path), f"{path}: no such file", "did you mean problems/gpt2_mini.yaml?")


def test_a_folder(run, tmp_path):
    assert_refused(run(tmp_path), f"{tmp_path}: is a folder; expected a YAML file")


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02", b"\xff\xfe\xfa", b"\x89PNG\r\n\x1a\n"], ids=["nul", "no utf-8", "png"]
)
def test_a_binary_file(run, tmp_path, data):
    (tmp_path / "binary.yaml").write_bytes(data)
    assert_refused(run(tmp_path / "binary.yaml"), "binary.yaml: ")


@pytest.mark.parametrize("seed", ["x", "", "1.5", "-1", "true", "1e3"])
def test_the_seed_option(evoprune, sphere, tmp_path, seed):
    answer = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", f"--seed={seed}", folder=tmp_path / "runs")
    assert_refused(answer, "seed: expected")


@pytest.mark.parametrize("name", ["a/b", "", ".", "..", "/tmp/x", "x" * 300], ids=lambda name: name[:8] or "empty")
def test_a_name_that_is_no_folder_name(evoprune, sphere, tmp_path, name):
    answer = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", "--name", name, folder=tmp_path / "runs" / "x")
    assert_refused(answer, name)


def test_a_name_that_is_taken(run, sphere, tmp_path):
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    answer = run(sphere, name="taken")
    assert_refused(answer._replace(folder=tmp_path / "nowhere"), "--name: ", "exists already")
    assert not list((tmp_path / "runs" / "taken").iterdir())


def test_a_folder_for_runs_that_cannot_be_made(evoprune, sphere, tmp_path):
    (tmp_path / "file").touch()
    answer = evoprune("run", sphere, "--runs-dir", tmp_path / "file" / "runs", folder=tmp_path / "runs")
    assert_refused(answer, "--runs-dir: cannot make the run's folder", "Not a directory")
