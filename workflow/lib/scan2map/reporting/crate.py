"""A run as an RO-Crate: each result, the step that made it, from which files, with which settings and software.

The crate is the folder of results; its description follows RO-Crate 1.3 [1] and the Process Run Crate profile [2]:
one action per step and session, read from the sidecars that every result has. It names files inside the folder only.

References:
    [1] https://w3id.org/ro/crate/1.3. [2] https://w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import scan2map
from scan2map.provenance import commit, write_json

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
NAME = "ro-crate-metadata.json"
FOLDERS = ("derivatives", "evaluation", "validation", "figures")
SESSION = re.compile(r"sub-[A-Za-z0-9]+_ses-[A-Za-z0-9]+")
FORMATS = {
    ".gz": "application/gzip",
    ".tsv": "text/tab-separated-values",
    ".html": "text/html",
    ".json": "application/json",
}


class Result(NamedTuple):
    """A result and what its sidecar says about it; paths relative to the crate."""

    path: str
    sidecar: Mapping[str, Any]


def find_results(root) -> Iterator[Result]:
    """Results with a sidecar that names the step that made them, in the order of their paths."""
    root = Path(root)
    for folder in FOLDERS:
        # Listed once: a folder of a large study holds thousands of files.
        beside = defaultdict(list)
        for path in sorted(path for path in (root / folder).rglob("*") if path.is_file()):
            beside[path.parent, path.name.split(".")[0]].append(path)
        for path in sorted(path for files in beside.values() for path in files if path.suffix == ".json"):
            content = json.loads(path.read_text())
            if isinstance(content, dict) and "Step" in _maker(content):
                for file in beside[path.parent, path.stem]:
                    if file != path:
                        yield Result(file.relative_to(root).as_posix(), content)


def _maker(content: Mapping) -> Mapping:
    made_by = content.get("GeneratedBy", {})
    return made_by if isinstance(made_by, dict) else {}


def published(source=__file__) -> str:
    """Date of the code's commit (ISO 8601): the same code on the same data describes itself in the same bytes."""
    command = ["git", "-C", str(Path(source).parent), "log", "-1", "--format=%cI"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "1970-01-01"


def write_crate(root, out, *, title: str) -> None:
    """Describe a finished study as an RO-Crate.

    Args:
        root: the folder of results.
        out: ``ro-crate-metadata.json`` in that folder.
        title: of the study.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name, crate.datePublished = title, published()
    crate.description = "Maps, tables and reports of a neuroimaging study, with the steps that made them."
    crate.license = "Not stated here: the owner of the data decides."
    crate.root_dataset.append_to("conformsTo", _entity(crate, PROFILE, "CreativeWork", name="Process Run Crate"))
    grouped = defaultdict(list)
    for result in find_results(root):
        grouped[_maker(result.sidecar)["Step"], _scope(result.path)].append(result)
    prefix = os.path.relpath(root)
    for (step, scope), results in grouped.items():
        _add_action(crate, step, scope, results, Path(root), prefix)
    for page in sorted(Path(root).glob("report/*.html")):
        _file(crate, page.relative_to(root).as_posix(), Path(root))
    write_json(out, crate.metadata.generate())


def _scope(path: str) -> str:
    found = SESSION.search(path)
    return found.group() if found else "study"


def _entity(crate: ROCrate, identifier: str, kind: str, **properties):
    """An entity that describes something outside the folder, once."""
    from rocrate.model import ContextEntity

    known = crate.get(identifier)
    return known or crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _file(crate: ROCrate, path: str, root: Path, **properties):
    """A file of the folder; a name without a file where it was removed after its use."""
    from rocrate.model import File

    if not (root / path).is_file():
        return _entity(crate, f"#removed/{path}", "CreativeWork", name=Path(path).name, description="Removed after use")
    known = crate.get(path)
    if known:
        return known
    facts = {
        "name": Path(path).name,
        "encodingFormat": FORMATS.get(Path(path).suffix, "text/plain"),
        "contentSize": str((root / path).stat().st_size),
    }
    return crate.add(File(crate, dest_path=path, properties=facts | properties))


def _add_action(crate: ROCrate, step: str, scope: str, results: list[Result], root: Path, prefix: str) -> None:
    first = results[0].sidecar
    inputs = list(dict.fromkeys(source for result in results for source in result.sidecar.get("Sources", ())))
    made = [_file(crate, one.path, root, description=one.sidecar.get("Description", "")) for one in results]
    used = [_file(crate, path, root) for path in (_inside(source, prefix) for source in inputs) if path]
    action = _entity(
        crate, f"#{step}/{scope}", "CreateAction", name=f"{step}, {scope.replace('_', ' ')}",
        actionStatus="http://schema.org/CompletedActionStatus",
    )  # fmt: skip
    action["instrument"] = _software(crate, step, first)
    action["object"] = [*used, _settings(crate, step, scope, first.get("Settings", {}))]
    action["result"] = made
    crate.root_dataset.append_to("mentions", action)


def _inside(source: str, prefix: str) -> str | None:
    """Path of a source relative to the crate; None for what lies outside of it."""
    path = os.path.relpath(source, prefix)
    return None if path.startswith("..") or os.path.isabs(source) else Path(path).as_posix()


def _settings(crate: ROCrate, step: str, scope: str, settings: Mapping):
    value = json.dumps(settings, sort_keys=True)
    return _entity(crate, f"#{step}/{scope}/settings", "PropertyValue", name="settings", value=value)


def _software(crate: ROCrate, step: str, sidecar: Mapping):
    """The step, as a part of scan2map at a commit, with the libraries that decide its numbers."""
    made_by = _maker(sidecar)
    version, code = made_by.get("StepVersion", 1), made_by.get("Commit", commit())
    parts = sidecar.get("SoftwareVersions", {"scan2map": scan2map.__version__})
    libraries = [
        _entity(crate, f"#{name}-{number}", "SoftwareApplication", name=name, softwareVersion=number)
        for name, number in parts.items()
    ]
    tool = _entity(
        crate, f"#step/{step}/{version}/{code}", "SoftwareApplication", name=step,
        softwareVersion=f"step version {version}, commit {code}",
    )  # fmt: skip
    tool["softwareRequirements"] = libraries
    return tool
