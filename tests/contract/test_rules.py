"""House rules of the workflow: every rule complete, one thin script each, functions in one place."""

import ast
import re

BENCHMARK_FREE_MINUTES = 1
# What a user types.
COMMANDS = {"check", "discover"}
FUNCTION = re.compile(r"^(?:def|class) ", re.MULTILINE)


def complaints(rules, wrong):
    return [rule.name for rule in rules if wrong(rule)]


def test_there_are_rules(rules):
    assert len(rules) >= 15


def test_every_rule_has_a_docstring_of_one_sentence(rules):
    assert not complaints(rules, lambda rule: not (rule.docstring or "").strip().endswith("."))


def test_every_rule_has_log_and_environment(rules):
    assert not complaints(rules, lambda rule: len(rule.log) != 1)
    assert not complaints(rules, lambda rule: not rule.conda_env)


def test_logs_and_benchmarks_are_filed_under_the_rules_name(rules):
    assert not complaints(rules, lambda rule: f"/{rule.name}" not in str(rule.log[0]))
    assert not complaints(rules, lambda rule: rule.benchmark and f"/{rule.name}" not in str(rule.benchmark))


def test_every_rule_states_its_resources(rules):
    assert not complaints(rules, lambda rule: not {"mem_mb", "runtime"} <= set(rule.resources))
    constant = [rule for rule in rules if not rule.resources["mem_mb"].is_evaluable()]
    assert constant
    assert not complaints(constant, lambda rule: rule.resources["mem_mb"].value < 600)


def test_long_rules_are_benchmarked(rules):
    def lacks(rule):
        minutes = rule.resources["runtime"]
        long = minutes.is_evaluable() or minutes.value > BENCHMARK_FREE_MINUTES
        return long and rule.benchmark is None

    assert not complaints(rules, lacks)


def test_every_rule_carries_its_step_version(rules):
    assert not complaints(rules, lambda rule: "step_version" not in dict(rule.params.items()))


def nameless(items) -> list:
    """The plain paths that carry no name; a function may return its own names (``unpack``)."""
    named = set()
    for start, end in items._names.values():
        named |= set(range(start, end if end is not None else start + 1))
    return [item for index, item in enumerate(items) if index not in named and "unpack" not in item.flags]


def test_inputs_and_outputs_are_named(rules):
    assert not complaints(rules, lambda rule: nameless(rule.output))
    assert not complaints(rules, lambda rule: nameless(rule.input))


def test_rule_and_script_share_their_name(rules, root):
    assert not complaints(rules, lambda rule: not rule.script.endswith(f"/{rule.name}.py"))
    scripts = {path.stem for path in (root / "scripts").glob("*.py")}
    assert scripts == {rule.name for rule in rules}


def test_rule_names_are_verb_object(rules):
    assert not complaints(rules, lambda rule: rule.name not in COMMANDS and "_" not in rule.name)


def test_scripts_are_glue(root):
    for script in (root / "scripts").glob("*.py"):
        tree = ast.parse(script.read_text())
        functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert functions == ["main"], script
        main = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
        forbidden = (ast.If, ast.For, ast.While, ast.Try, ast.BinOp)
        assert not [node for node in ast.walk(main) if isinstance(node, forbidden)], script


def test_the_snakefile_is_a_table_of_contents(root):
    text = (root / "Snakefile").read_text()
    assert text.count("\n") <= 100
    assert not FUNCTION.search(text)


def test_rule_files_hold_rules_only(root):
    for path in (root / "workflow" / "rules").glob("*.smk"):
        if path.name != "common.smk":
            assert not FUNCTION.search(path.read_text()), path.name


def test_workflow_is_not_a_python_package(root):
    assert not (root / "workflow" / "__init__.py").exists()


def test_pages_and_validation_tables_are_in_snakemakes_own_report(rules):
    elsewhere = {"merge_validation"}  # the project's own tables, in docs/
    shown = re.compile(r"\.html$|/validation/[^/]+(?<!_rail)\.tsv$")
    wanted = [rule for rule in rules if rule.name not in elsewhere and any(shown.search(str(p)) for p in rule.output)]
    assert len(wanted) >= 8
    listed = [rule for rule in wanted if any("report" in path.flags for path in rule.output)]
    assert [rule.name for rule in listed] == [rule.name for rule in wanted]


def test_listed_figures_are_those_that_rules_make(rules, root):
    from scan2map.reporting.figure_list import figure_files, load_figures

    listed = load_figures(root / "workflow" / "report" / "figures.yaml")
    made = {str(path) for rule in rules for path in rule.output if "/figures/" in str(path)}
    shared = [rule.output for rule in rules if rule.name == "write_figure_index"]
    made -= {str(path) for outputs in shared for path in outputs}
    wanted = {path.split("/figures/")[1] for path in figure_files(listed, listed.documents)}
    assert {path.split("/figures/")[1] for path in made} == wanted
