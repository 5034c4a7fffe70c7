"""Bring the tensor maps into the space of the T1w image."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.tensor_space import resample_tensor_files

        resample_tensor_files(
            tensor=smk.input.tensor,
            mask=smk.input.mask,
            transform=smk.input.transform,
            t1w=smk.input.t1w,
            settings=smk.params.settings,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
