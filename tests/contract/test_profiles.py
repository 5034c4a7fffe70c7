"""Profiles: what the Slurm profile says about each rule agrees with the rule."""

import pytest
import yaml

from scan2map import profiles

# Submitted one by one: on a GPU, for a validation study only, or for the reason given.
ALONE = {
    "predict_maps",
    "run_dwi_experiment",
    "compare_corrected_maps",
    "compare_fsl",
    "compare_scanner_perfusion",
    "run_asl_experiment",
    "run_asl_registration",
}


@pytest.fixture(scope="module")
def slurm(root) -> dict:
    return yaml.safe_load((root / "config/profiles/slurm/profile.yaml").read_text())


def test_memory_and_time_grow_with_the_attempt_from_what_the_rule_declares(rules, slurm):
    declared = {rule.name: rule.resources for rule in rules}
    assert slurm["retries"] == 2
    assert len(slurm["set-resources"]) > 0.7 * len(rules)
    written = {name: entry["mem_mb"] for name, entry in slurm["set-resources"].items() if "mem_mb" in entry}
    for name in declared.keys() & written:
        assert written[name] == f"{declared[name]['mem_mb'].value} * attempt", name


def test_the_generated_part_of_the_profile_is_up_to_date(root):
    text = (root / "config/profiles/slurm/profile.yaml").read_text()
    assert profiles.profile(text, root / "workflow/rules") == text, "run: make docs"


def test_every_rule_of_a_session_is_submitted_with_its_stage(rules, slurm):
    per_session = {rule.name for rule in rules if {"subject", "session"} <= set(rule.wildcard_names)}
    assert len(per_session) > 30
    known = {rule.name for rule in rules}
    assert set(slurm["groups"]) <= known, "the profile groups rules that do not exist"
    # Planned twice, before the inventory and after it: Snakemake 9.27 submits a group of such rules with both plans.
    assert set(slurm["groups"]) <= per_session, "the profile groups rules of the whole study"
    alone = per_session - set(slurm["groups"]) - ALONE
    assert not alone, f"add to the block groups of config/profiles/slurm: {sorted(alone)}"


@pytest.mark.parametrize("name", ["local", "workstation-gpu", "slurm"])
def test_every_profile_keeps_the_promises_of_the_pipeline(root, name):
    profile = yaml.safe_load((root / f"config/profiles/{name}/profile.yaml").read_text())
    assert profile["keep-going"]
    assert profile["rerun-incomplete"]
    assert profile["rerun-triggers"] == ["mtime", "input", "params", "software-env"]
