"""Killed jobs, killed drivers, full and read-only disks: the next run ends with the same files, byte for byte."""

import hashlib
import subprocess
import time

import psutil
import pytest
import tiny_session
from clone import Clone, clone

STUDY = {"study": {"title": "Interrupted"}, "input": {"kind": "dicom"}}
# Conversion, intake and the first step of the perfusion chain: real jobs of a few seconds.
TARGET = "results/derivatives/scan2map/sub-01/ses-01/perf/sub-01_ses-01_desc-raw_asl.nii.gz"
pytestmark = pytest.mark.slow


def contents(folder) -> dict[str, str]:
    """Checksum of every file below a folder, apart from the index that pybids keeps."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "bids_index" not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    return tiny_session.write(tmp_path_factory.mktemp("scanner"), tiny_session.core_series())


@pytest.fixture(scope="module")
def study(root, tmp_path_factory, dicom) -> Clone:
    copy = clone(root, tmp_path_factory.mktemp("interrupted"))
    copy.configure(**STUDY)
    copy.participants([("01", "01", str(dicom))])
    return copy


@pytest.fixture(scope="module")
def undisturbed(study) -> dict[str, str]:
    """The files of a run that nothing has disturbed; its results are taken away."""
    finished = study.snakemake("--", TARGET)
    assert finished.returncode == 0, finished.stdout[-4000:]
    files = contents(study / "results")
    assert len(files) > 10
    start_over(study)
    return files


def start_over(study) -> None:
    for name in ("results", "logs", ".snakemake"):
        subprocess.run(["rm", "-rf", str(study / name)], check=True)


def running_job(driver: subprocess.Popen, rule: str) -> psutil.Process:
    """The process that runs a rule's script, as soon as there is one."""
    for _ in range(600):
        for child in psutil.Process(driver.pid).children(recursive=True):
            try:
                if any(f"{rule}.py" in word for word in child.cmdline()):
                    return child
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    raise TimeoutError(f"{rule} did not start")


def test_a_killed_job_fails_the_run_and_the_next_run_repairs_it(study, undisturbed):
    driver = study.start("--", TARGET)
    running_job(driver, "convert_session").kill()
    output, _ = driver.communicate()
    assert driver.returncode != 0, output[-2000:]
    again = study.snakemake("--", TARGET)
    assert again.returncode == 0, again.stdout[-4000:]
    assert contents(study / "results") == undisturbed
    start_over(study)


def test_a_killed_driver_leaves_a_lock_that_is_named_and_the_next_run_repairs_it(study, undisturbed):
    driver = study.start("--", TARGET)
    job = running_job(driver, "build_inventory")
    driver.kill()
    job.kill()
    driver.communicate()
    refused = study.snakemake("--", TARGET)
    assert refused.returncode != 0
    assert "--unlock" in refused.stdout
    assert study.snakemake("--unlock").returncode == 0
    again = study.snakemake("--", TARGET)
    assert again.returncode == 0, again.stdout[-4000:]
    assert contents(study / "results") == undisturbed
    start_over(study)


def test_a_second_run_at_the_same_time_is_refused_and_does_not_hurt_the_first(study, undisturbed):
    first = study.start("--", TARGET)
    running_job(first, "convert_session")
    second = study.snakemake("--", TARGET)
    assert second.returncode != 0
    assert "no other Snakemake process is trying to create the same files" in " ".join(second.stdout.split())
    output, _ = first.communicate()
    assert first.returncode == 0, output[-4000:]
    assert contents(study / "results") == undisturbed
    start_over(study)


@pytest.fixture
def small_disk(study):
    """The results folder as a file system of its own, too small for the study."""
    folder = study / "results"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def test_full_and_read_only_disks_fail_the_run_and_it_ends_well_once_there_is_room(study, undisturbed, small_disk):
    full = study.snakemake("--", TARGET)
    assert full.returncode != 0
    assert "No space left on device" in full.stdout
    remount(small_disk, "size=50m,ro")
    read_only = study.snakemake("--", TARGET)
    assert read_only.returncode != 0
    assert "Read-only file system" in read_only.stdout
    remount(small_disk, "rw")
    again = study.snakemake("--", TARGET)
    assert again.returncode == 0, again.stdout[-4000:]
    assert contents(small_disk) == undisturbed
