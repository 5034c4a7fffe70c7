"""Check and merge the diffusion runs of a session, and collect its b = 0 volumes."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.prepare import prepare_dwi

        prepare_dwi(smk.input.dwi, smk.input.epi, smk.params.settings, output=smk.output)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
