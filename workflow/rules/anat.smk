"""T1w image: brain, bias field, tissue maps, template and atlas regions."""

from pathlib import Path

from scan2map.preprocess.anat import native_paths

ATLASES = {Path(path).name.split(".")[0]: path for path in config["anat"]["atlases"]}


NATIVE_ATLASES = config["anat"]["native_atlases"]


wildcard_constraints:
    atlas="[A-Za-z0-9]+",


rule extract_brain:
    """Find the brain in the T1w image."""
    input:
        t1w=bids_files("t1w"),
    output:
        mask=derivative("anat", "mask", desc="brain"),
    log:
        "<logs>/extract_brain/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/extract_brain/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        settings=config["anat"],
        step_version=step_version("extract_brain"),
    script:
        "../../scripts/extract_brain.py"


rule segment_tissue:
    """Remove the bias field of the T1w image and map the fractions of CSF, grey and white matter."""
    input:
        t1w=bids_files("t1w"),
        mask=derivative("anat", "mask", desc="brain"),
    output:
        preproc=derivative("anat", "T1w", desc="preproc"),
        csf=derivative("anat", "probseg", label="CSF"),
        gm=derivative("anat", "probseg", label="GM"),
        wm=derivative("anat", "probseg", label="WM"),
        dseg=derivative("anat", "dseg"),
    log:
        "<logs>/segment_tissue/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/segment_tissue/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=20,
    params:
        settings=config["anat"],
        step_version=step_version("segment_tissue"),
    script:
        "../../scripts/segment_tissue.py"


rule register_template:
    """Register the MNI152 template to the T1w image."""
    input:
        preproc=derivative("anat", "T1w", desc="preproc"),
        mask=derivative("anat", "mask", desc="brain"),
    output:
        transform=derivative("anat", "xfm", from_="MNI152", to="T1w", mode="image"),
    log:
        "<logs>/register_template/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/register_template/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=20,
    params:
        settings=config["anat"],
        seed=config["study"]["seed"],
        step_version=step_version("register_template"),
    script:
        "../../scripts/register_template.py"


rule map_atlas:
    """Bring the regions of an atlas from MNI152 onto the T1w image."""
    input:
        atlas=lambda wildcards: ATLASES[wildcards.atlas],
        mask=derivative("anat", "mask", desc="brain"),
        transform=derivative("anat", "xfm", from_="MNI152", to="T1w", mode="image"),
    output:
        labels=derivative("anat", "dseg", space="T1w", seg="{atlas}"),
    log:
        "<logs>/map_atlas/sub-{subject}_ses-{session}_seg-{atlas}.log",
    wildcard_constraints:
        atlas="|".join(ATLASES) or "none",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        step_version=step_version("map_atlas"),
    script:
        "../../scripts/map_atlas.py"


rule map_native_atlas:
    """Bring a subject's own label image onto the grid of its T1w image."""
    input:
        atlas=lambda wildcards: native_paths.native_atlas_path(
            NATIVE_ATLASES[wildcards.atlas], wildcards.subject, wildcards.session
        ),
        mask=derivative("anat", "mask", desc="brain"),
    output:
        labels=derivative("anat", "dseg", space="T1w", seg="{atlas}"),
    log:
        "<logs>/map_native_atlas/sub-{subject}_ses-{session}_seg-{atlas}.log",
    wildcard_constraints:
        atlas="|".join(NATIVE_ATLASES) or "none",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        step_version=step_version("map_native_atlas"),
    script:
        "../../scripts/map_native_atlas.py"
