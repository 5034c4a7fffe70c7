"""Write what a system learns from one subject of the split."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.build import build_subject

        build_subject(
            smk.wildcards.system,
            smk.wildcards.subject,
            list(smk.input.files),
            smk.params.sessions,
            smk.params.settings,
            smk.output.data,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
