#!/usr/bin/env bash
# A stand-in for conda and a local channel, so that `snakemake --sdm conda` solves, links and isolates for real, offline
# apart from the package index of pip.
#
#   tests/conda/rig.sh run PYTHON CMD ...   PYTHON: the interpreter that becomes the channel's Python (3.11)
#
# CMD finds `conda` on its PATH, a Snakemake without the project's packages in $SCAN2MAP_DRIVER, and a folder for
# environments in $SCAN2MAP_CONDA_PREFIX. Everything is removed afterwards (KEEP=1: left).
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
ENVIRONMENTS=$HERE/../../envs
RIG=${RIG:-${TMPDIR:-/tmp}/scan2map-conda}

pin() { grep -hoiE "^ *-? *$1==?[0-9][0-9.]*" "$2" | head -n 1 | tr -d ' -' | sed 's/==*/==/'; }

make_tools() {
    "$1" -m venv "$RIG/tools"
    "$RIG/tools/bin/pip" install --quiet --requirement "$HERE/requirements.txt"
    "$1" -m venv "$RIG/driver"
    # What starts the workflow on a cluster where conda brings the rest: Snakemake and nothing of the project.
    "$RIG/driver/bin/pip" install --quiet "$(pin snakemake "$ENVIRONMENTS/local.lock")"
}

make_channel() {
    "$RIG/tools/bin/pip" download --quiet --no-deps --dest "$RIG/wheels" "$(pin pip "$ENVIRONMENTS/imaging.yaml")"
    PATH=$RIG/tools/bin:$PATH "$RIG/tools/bin/python" "$HERE/channel.py" "$RIG/channels/conda-forge" "$RIG"/wheels/pip-*.whl
}

make_conda() {
    mkdir -p "$RIG/conda/bin"
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$RIG/tools/bin/python" "$HERE/conda.py" >"$RIG/conda/bin/conda"
    # Snakemake sources it: `source activate PREFIX`.
    cat >"$RIG/conda/bin/activate" <<'ACTIVATE'
export CONDA_PREFIX="$1" CONDA_DEFAULT_ENV="$1" CONDA_SHLVL=1 PATH="$1/bin:$PATH"
ACTIVATE
    chmod +x "$RIG/conda/bin/conda"
}

[ "${1:-}" = run ] || { echo "use: $0 run PYTHON COMMAND" >&2; exit 1; }
python=$2
shift 2
[ -n "${KEEP:-}" ] || trap 'rm -rf "$RIG"' EXIT
rm -rf "$RIG"
mkdir -p "$RIG/environments"
make_tools "$python"
make_channel
make_conda
export SCAN2MAP_CONDA=$RIG/conda SCAN2MAP_CHANNELS=file://$RIG/channels/ SCAN2MAP_DRIVER=$RIG/driver/bin/python
export SCAN2MAP_CONDA_PREFIX=$RIG/environments PATH=$RIG/conda/bin:$PATH
"$@"
