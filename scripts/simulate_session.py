"""Scan a digital subject and write the session as DICOM, with its ground truth."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.phantom.study import simulate_files

        simulate_files(
            smk.wildcards.subject,
            smk.wildcards.session,
            dicom=smk.output.dicom,
            truth_root=smk.params.truth_root,
            head=smk.params.head,
            protocol=smk.params.protocol,
            seed=smk.params.seed,
            threads=smk.threads,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
