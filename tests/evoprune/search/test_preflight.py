import pytest

ODD = """
def plain_list(first, second): return list(first), list(second)
def one_of_two(first, second): return (first,)
def longer(individual):
    individual.append(0.0)
    return (individual,)
def no_tuple(individual): return individual
def nobody(individuals, k): return []
def raises(individual): raise OSError("no luck")
def all_of(individuals, *, population): return individuals[:population]
"""


@pytest.mark.parametrize(
    ("slot", "name", "fragment"),
    [
        ("mate", "plain_list", "does not return 2 individual(s) of 3 genes"),
        ("mate", "one_of_two", "does not return 2"),
        ("mutate", "longer", "does not return 1 individual(s) of 3 genes"),
        ("mutate", "no_tuple", "does not return 1"),
        ("select", "nobody", "does not return 2"),
        ("repair", "raises", "fails: OSError: no luck"),
        ("survive", "all_of", "would pass on 8 of a population of 8"),
    ],
)
def test_an_operator_that_does_not_fit_its_slot_is_refused(run, sphere, plugin, slot, name, fragment):
    plugin("odd_operators", ODD)
    answer = run(sphere, "plugins=[odd_operators]", f"operators.{slot}.use=odd_operators:{name}")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(f"evoprune: operators.{slot}: 'odd_operators:{name}' ")
    assert fragment in answer.err
    assert not answer.folder.exists()


def test_an_operator_that_needs_what_the_problem_lacks_is_refused(run, write, plugin):
    text = """
        from evoprune import Budget, Evaluation, Genes, Problem

        class Bare(Problem):
            genes = Genes.real(["x", "y"], 0.0, 1.0)
            def evaluate(self, genome): return Evaluation((genome[0],))

        def needs(individual, *, budget: list[float]): return (individual,)
        def may_use(individual, *, budget: list[float] | None): return (individual,)
        """
    plugin("bare", text)
    file = write("{plugins: [bare], problem: 'bare:Bare', population: 4, generations: 1}")
    answer = run(file, "operators.mutate.use=bare:needs")
    assert answer.code == 2
    assert "operators.mutate: 'bare:needs' needs a budget, and the problem 'bare:Bare'" in answer.err
    assert not answer.folder.exists()
    assert run(file, "operators.mutate.use=bare:may_use").code == 0


def test_a_gene_that_is_not_finite_ends_the_run_in_one_line(run, sphere, plugin):
    plugin("endless", "def mutate(individual): return (individual.__setitem__(0, float('nan')) or individual,)")
    answer = run(sphere, "plugins=[endless]", "operators.mutate.use=endless:mutate", "mutate_probability=1")
    assert answer.code == 2
    assert "finite" in answer.err.splitlines()[-1]


def test_a_limit_that_no_genome_meets_is_refused(run, write, plugin):
    text = """
        from evoprune import Additive, Evaluation, Genes, Problem

        class Meagre(Problem):
            genes = Genes.real(["x", "y"], 0.0, 1.0)
            budget = Additive(genes, [1.0, 1.0], limit=3.0)
            def evaluate(self, genome): return Evaluation((genome[0],))
        """
    plugin("meagre", text)
    answer = run(write("{plugins: [meagre], problem: 'meagre:Meagre', operators: {repair: shift}}"))
    assert answer.code == 2
    assert "problem: a limit of 3" in answer.err
    assert not answer.folder.exists()
