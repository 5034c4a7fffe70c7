"""scan2map: from scanner exports to trusted maps, evaluation and figures.

DICOM -> ingest -> BIDS -> preprocess -> derivatives -> evaluate -> report. See README.md; settings in config/.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.19")
sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "lib"))


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


if config["study"]["container"]:

    container: config["study"]["container"]


include: "workflow/rules/check.smk"
include: "workflow/rules/phantom.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/anat.smk"
include: "workflow/rules/fieldmap.smk"
include: "workflow/rules/dwi.smk"
include: "workflow/rules/asl.smk"
include: "workflow/rules/bssfp.smk"
include: "workflow/rules/ctmr.smk"
include: "workflow/rules/learn.smk"
include: "workflow/rules/asl_quantnet.smk"
include: "workflow/rules/asl_denoise.smk"
include: "workflow/rules/dwi_vae.smk"
include: "workflow/rules/bssfp_dti.smk"
include: "workflow/rules/ctmr_fusion.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/describe.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/validation.smk"
include: "workflow/rules/validate_dwi.smk"
include: "workflow/rules/validate_asl.smk"
include: "workflow/rules/figures.smk"


rule all:
    """Process every subject of the table and update the report."""
    default_target: True
    input:
        "<results>/report/index.html",
        expand(rules.write_subject_page.output.page, zip, **EVERYBODY),
        lambda wildcards: expand(
            rules.quantify_multidelay.output.cbf, zip, **multidelay_sessions()
        ),
        "<results>/evaluation/rois.tsv",
        expand(rules.gather_quality.output.table, modality=["dwi", "asl"]),
        "<results>/bids_validation.tsv",
        "<results>/report/resources.html",
        "<results>/ro-crate-metadata.json",
        expand(rules.describe_derivatives.output.description, dataset=DATASETS),


onstart:
    doctor.require_engines(
        config,
        local=workflow.local_exec,
        deployed=doctor.brings_software(
            workflow.deployment_settings.deployment_method
        ),
    )


onerror:
    print(status.failure_summary(config["pathvars"]["logs"]), file=sys.stderr)
    follow_up.after_failure(workflow, log, config["pathvars"]["logs"], STARTED_S)
