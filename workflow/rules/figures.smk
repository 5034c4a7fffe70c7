"""Figures and tables for papers: `snakemake figures` makes those of the study's systems, and a page of all."""

from scan2map.reporting import figure_list

FIGURES = "workflow/report/figures.yaml"


rule write_figure_index:
    """Write the page of all figures and tables, what each one answers, and why others are not made."""
    input:
        figures=figure_list.figure_files(
            figure_list.load_figures(FIGURES), LEARNING.systems
        ),
        listed=FIGURES,
    output:
        index=report(
            "<results>/figures/index.html",
            caption="../report/captions/figures.rst",
            category="Figures",
            labels={"page": "figures and tables"},
        ),
        tables=directory("<results>/figures/tables"),
    log:
        "<logs>/write_figure_index/write_figure_index.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        systems=LEARNING.systems,
        folder=lambda wildcards, output: str(Path(output.index).parent),
        # Not an input: these tables ship, and nothing here may make them again.
        validation=figure_list.published_tables("docs/validation"),
        study=STUDY,
        step_version=step_version("write_figure_index"),
    script:
        "../../scripts/write_figure_index.py"


rule figures:
    """Make every figure and table of the study's systems."""
    input:
        rules.write_figure_index.output.index,
