"""Find the brain in the session's T1w image."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.anat.brain import extract_brain_files

        extract_brain_files(list(smk.input.t1w), smk.params.settings, mask=smk.output.mask)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
