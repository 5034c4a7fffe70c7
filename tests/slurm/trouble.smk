"""Jobs that get into trouble on a cluster, each as small as it can be."""


def record(resource):
    """A shell command that writes where the job ran and what it had."""
    return (
        'echo "$SLURMD_NODENAME $SLURM_JOB_PARTITION ${{CUDA_VISIBLE_DEVICES:-none}} {resources.'
        + resource
        + '}" > {output}'
    )


rule use_gpu:
    output:
        "gpu_{index}.txt",
    resources:
        mem_mb=700,
        runtime=2,
        gpu=1,
    shell:
        "sleep 5; " + record("gpu")


rule need_memory:
    output:
        "memory.txt",
    resources:
        mem_mb=lambda wildcards, attempt: 700 * attempt,
        runtime=2,
    shell:
        "python3 -c 'import time; held = bytearray(900 * 2**20); time.sleep(6)'; "
        + record("mem_mb")


rule need_time:
    output:
        "time.txt",
    resources:
        mem_mb=700,
        runtime=lambda wildcards, attempt: attempt,
    shell:
        "sleep 75; " + record("runtime")


rule take_a_while:
    output:
        "{name}.done",
    resources:
        mem_mb=700,
        runtime=5,
    shell:
        "sleep 15; " + record("runtime")
