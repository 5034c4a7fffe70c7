"""A conda channel in a folder, with the two packages that the project's environments take from conda-forge.

Python is made from the interpreter that runs this file, pip from its wheel: what a channel must hold to be solved and
linked, without network. It says nothing about the builds of the real conda-forge.

Use: python channel.py CHANNEL PIP_WHEEL
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

SUBDIR = "linux-64"
# Folders of the standard library that no script needs.
LEFT_OUT = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "idlelib", "tkinter", "__pycache__", "config-*"
)


def write_package(tree: Path, folder: Path, name: str, version: str, depends: list[str]) -> dict:
    """Pack a folder as a conda package.

    Args:
        tree: the files, as they are to lie in an environment.
        folder: where the package is written.
        name: its name.
        version: its version.
        depends: its requirements.

    Returns:
        File name and entry in the index of the channel.
    """
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends, "subdir": SUBDIR}
    files = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file() or path.is_symlink())
    info = tree / "info"
    info.mkdir()
    (info / "index.json").write_text(json.dumps(index))
    entries = [path_entry(tree, file) for file in files]
    (info / "paths.json").write_text(json.dumps({"paths_version": 1, "paths": entries}))
    (info / "files").write_text("\n".join(files))
    package = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(package, "w:bz2", compresslevel=1) as archive:
        for path in sorted(tree.iterdir()):
            archive.add(path, path.name)
    content = package.read_bytes()
    digests = {"md5": hashlib.md5(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
    return {package.name: index | digests | {"size": len(content)}}


def path_entry(tree: Path, name: str) -> dict:
    """What a package says about one of its files."""
    path = tree / name
    entry = {"_path": name, "path_type": "softlink" if path.is_symlink() else "hardlink"}
    if path.is_symlink():
        return entry
    content = path.read_bytes()
    return entry | {"sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}


def copy_python(tree: Path) -> None:
    """This interpreter with its standard library, movable."""
    name = f"python{sysconfig.get_python_version()}"
    program = tree / "bin" / name
    program.parent.mkdir()
    shutil.copy2(os.path.realpath(sys.executable), program)
    for link in ("python", "python3"):
        (tree / "bin" / link).symlink_to(name)
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, tree / "lib" / name, ignore=LEFT_OUT)
    (tree / "lib" / name / "site-packages").mkdir()
    (tree / "lib" / name / "site-packages" / "README.txt").write_text("Packages go here.\n")
    shared = Path(sysconfig.get_config_var("LIBDIR")) / (sysconfig.get_config_var("LDLIBRARY") or "")
    if shared.suffix != ".a" and shared.is_file():
        shutil.copy2(shared, tree / "lib" / sysconfig.get_config_var("INSTSONAME"))
        subprocess.run(["patchelf", "--set-rpath", "$ORIGIN/../lib", program], check=True)


def copy_pip(tree: Path, wheel: Path) -> None:
    """The files of a pure wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages")


def main(channel: Path, wheel: Path) -> None:
    folder = channel / SUBDIR
    folder.mkdir(parents=True)
    packages = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("python", "pip"):
            (Path(scratch) / name).mkdir()
        copy_python(Path(scratch) / "python")
        packages |= write_package(Path(scratch) / "python", folder, "python", platform.python_version(), [])
        copy_pip(Path(scratch) / "pip", wheel)
        packages |= write_package(Path(scratch) / "pip", folder, "pip", wheel.name.split("-")[1], ["python"])
    for subdir, entries in ((SUBDIR, packages), ("noarch", {})):
        (channel / subdir).mkdir(exist_ok=True)
        repodata = {"info": {"subdir": subdir}, "packages": entries, "packages.conda": {}, "repodata_version": 1}
        (channel / subdir / "repodata.json").write_text(json.dumps(repodata))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
