"""Report: one page per session and one for the study, each a single file."""

from scan2map.reporting import spec as report_spec
from scan2map.reporting import states as report_states

SUBJECT_PAGE = report_spec.load_spec("workflow/report/subject.yaml")
LOGS = config["pathvars"]["logs"]
STUDY = {"title": config["study"]["title"], "kind": config["input"]["kind"]}


rule write_subject_page:
    """Write the page of a session: its maps, its numbers, and what is missing."""
    input:
        unpack(
            lambda wildcards: report_spec.page_files(
                SUBJECT_PAGE,
                derivative,
                partial(runs, wildcards),
                lambda role: bids_files(role)(wildcards),
            )
        ),
        unpack(
            lambda wildcards: {
                f"{system}_{name}": path
                for system in predicted(wildcards.subject, wildcards.session)
                for name, path in LEARNING.truth(system, derivative, TRUTH).items()
                if HAS_TRUTH
            }
        ),
        inventory=ancient("<results>/inventory.tsv"),
        series=ancient("<results>/series.tsv"),
        rois=f"{EVALUATION}_rois.tsv",
        quality=f"{EVALUATION}_quality.tsv",
        truth=f"{EVALUATION}_truth.tsv" if HAS_TRUTH else [],
        scanner=lambda wildcards: (
            f"{EVALUATION}_scanner.tsv"
            if HAS_SCANNER_MAPS and runs(wildcards, "dwi")
            else []
        ),
        predictions=lambda wildcards: [
            PREDICTION.format(system=system, **wildcards)
            for system in predicted(wildcards.subject, wildcards.session)
        ],
        agreements=lambda wildcards: [
            f"{EVALUATION}_model-{system}.tsv".format(**wildcards)
            for system in predicted(wildcards.subject, wildcards.session)
        ],
        notes=lambda wildcards: status.failures_of(
            wildcards.subject, wildcards.session, LOGS
        ),
    output:
        page=report(
            "<results>/report/sub-{subject}_ses-{session}.html",
            caption="../report/captions/session.rst",
            category="Sessions",
            labels={"subject": "{subject}", "session": "{session}"},
        ),
    log:
        "<logs>/write_subject_page/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/write_subject_page/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=5,
    params:
        inventory=lambda wildcards, input: report_states.read_rows(
            input.inventory, wildcards.subject, wildcards.session
        ),
        series=lambda wildcards, input: report_states.read_rows(
            input.series, wildcards.subject, wildcards.session
        ),
        systems=LEARNING.systems,
        predicted=lambda wildcards: predicted(wildcards.subject, wildcards.session),
        study=STUDY,
        settings=config["report"],
        step_version=step_version("write_subject_page"),
    script:
        "../../scripts/write_subject_page.py"


rule write_group_page:
    """Write the page of the study: who ran, the values beside each other, and how good they are."""
    input:
        inventory="<results>/inventory.tsv",
        pages=expand(rules.write_subject_page.output.page, zip, **EVERYBODY),
        rois=rules.gather_rois.output.table,
        quality=expand(f"{EVALUATION}_quality.tsv", zip, **EVERYBODY),
        truth=expand(f"{EVALUATION}_truth.tsv", zip, **EVERYBODY) if HAS_TRUTH else [],
        scanner=lambda wildcards: [
            f"<results>/evaluation/sub-{subject}_ses-{session}_scanner.tsv"
            for subject, session in (sessions("dwi") if HAS_SCANNER_MAPS else [])
        ],
        targets=(
            "<results>/validation/rail.tsv" if HAS_TRUTH or HAS_SCANNER_MAPS else []
        ),
        cards=expand("<results>/report/model-{system}.html", system=LEARNING.systems),
        agreements=lambda wildcards: [
            f"<results>/evaluation/sub-{subject}_ses-{session}_model-{system}.tsv"
            for subject, session in INTAKE.pairs
            for system in predicted(subject, session)
        ],
        notes=lambda wildcards: [note["note"] for note in status.failure_notes(LOGS)],
    output:
        page=report(
            "<results>/report/index.html",
            caption="../report/captions/study.rst",
            category="Study",
            labels={"page": "study"},
        ),
        table="<results>/report/group.tsv",
        ranges="<results>/report/regions.js",
    log:
        "<logs>/write_group_page/write_group_page.log",
    benchmark:
        "<benchmarks>/write_group_page/write_group_page.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=5,
    params:
        models=lambda wildcards, input: {
            system: [
                path
                for path in input.agreements
                if path.endswith(f"_model-{system}.tsv")
            ]
            for system in LEARNING.systems
        },
        study=STUDY,
        settings=config["report"],
        bootstrap=BOOTSTRAP,
        step_version=step_version("write_group_page"),
    script:
        "../../scripts/write_group_page.py"


rule write_resource_page:
    """Write what the jobs and trainings of the study took, as a page and a table."""
    input:
        page=rules.write_group_page.output.page,
    output:
        page=report(
            "<results>/report/resources.html",
            caption="../report/captions/resources.rst",
            category="Study",
            labels={"page": "resources"},
        ),
        table="<results>/report/resources.tsv",
    log:
        "<logs>/write_resource_page/write_resource_page.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        results=lambda wildcards, output: str(Path(output.page).parents[1]),
        benchmarks=config["pathvars"]["benchmarks"],
        study=STUDY,
        step_version=step_version("write_resource_page"),
    script:
        "../../scripts/write_resource_page.py"
