"""Register the diffusion scan to the T1w image and bring the tissue maps into its grid."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.align import align_dwi

        align_dwi(
            dwi=smk.input.dwi,
            bval=smk.input.bval,
            bvec=smk.input.bvec,
            mask=smk.input.mask,
            t1w=smk.input.t1w,
            t1w_mask=smk.input.t1w_mask,
            tissues={"CSF": smk.input.CSF, "GM": smk.input.GM, "WM": smk.input.WM},
            seed=smk.params.seed,
            settings=smk.params.settings,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
