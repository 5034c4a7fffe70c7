"""Fit the diffusion tensor by weighted least squares and check its maps."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.engine import fit_tensor

        fit_tensor(
            files={
                "dwi": smk.input.dwi,
                "bval": smk.input.bval,
                "bvec": smk.input.bvec,
                "mask": smk.input.mask,
            },
            settings=smk.params.settings,
            device=smk.params.device,
            threads=smk.threads,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
