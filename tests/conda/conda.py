"""A stand-in for the conda commands that Snakemake 9 gives, on conda's own solver and linker (py-rattler).

Solving, linking and isolation are real; channels are looked up in the folder that ``SCAN2MAP_CHANNELS`` names.
An unknown command is an error, so that a new Snakemake cannot get a silent nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import rattler
import yaml

# conda answers with its version; this one says that it is not conda. Snakemake asks for at least 24.7.1.
VERSION = "99.0.0"
PLATFORM = "linux-64"
# Not a channel: tells conda to look nowhere else.
NO_DEFAULTS = "nodefaults"


async def create(prefix: str, channels: list[str], specifications: list[str]) -> None:
    """Solve for the specifications and link what the solver chose into a new environment."""
    settings = rattler.ChannelConfig(channel_alias=os.environ["SCAN2MAP_CHANNELS"])
    records = await rattler.solve(
        [rattler.Channel(name, settings) for name in channels if name != NO_DEFAULTS],
        specifications,
        platforms=[PLATFORM, "noarch"],
        virtual_packages=rattler.VirtualPackage.detect(),
    )
    await rattler.install(records, prefix, show_progress=False)
    print("\n".join(sorted(f"{record.name.normalized} {record.version}" for record in records)))


def create_from_file(path: str, prefix: str) -> None:
    """What ``conda env create --file --prefix`` does: conda's packages first, then pip's."""
    content = yaml.safe_load(Path(path).read_text())
    specifications = [item for item in content["dependencies"] if isinstance(item, str)]
    pins = [pin for item in content["dependencies"] if isinstance(item, dict) for pin in item["pip"]]
    asyncio.run(create(prefix, content["channels"], specifications))
    subprocess.run([f"{prefix}/bin/python", "-I", "-m", "pip", "install", "--quiet", *pins], check=True)


def value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def main(arguments: list[str]) -> None:
    match arguments:
        case ["--version"]:
            print("conda", VERSION)
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": os.environ["SCAN2MAP_CONDA"], "platform": PLATFORM}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *rest]:
            create_from_file(value(rest, "--file"), value(rest, "--prefix"))
        case ["clean", *_]:
            pass  # py-rattler's cache of packages is shared and stays
        case _:
            sys.exit(f"the stand-in for conda does not know: {arguments}")


if __name__ == "__main__":
    main(sys.argv[1:])
