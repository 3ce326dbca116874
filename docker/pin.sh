#!/usr/bin/env bash
# Write constraints-cpu.txt and constraints-cuda.txt: the newest versions within pyproject.toml's ranges.
#   pip install uv && bash docker/pin.sh
# uv reads metadata only; nothing is installed. Then run the tests: the pins are what they are run with.
set -euo pipefail
cd "$(dirname "$0")/.."
torch_cpu=${TORCH_CPU_WHEELS:-https://download.pytorch.org/whl/cpu/torch/} # a folder or page with the CPU builds

# For the older of the two Pythons; the newer one adds a single wish, vLLM's for an older setuptools.
pin() {
    local output=$1
    shift
    uv pip compile --quiet --upgrade --no-annotate --custom-compile-command 'bash docker/pin.sh' \
        --python-version 3.11 --constraints <(echo 'setuptools<81') --extra dev "$@" --output-file "$output" pyproject.toml
}

# The platforms are those of the base images.
pin docker/constraints-cpu.txt --extra cpu --find-links "$torch_cpu" --python-platform x86_64-manylinux_2_36
pin docker/constraints-cuda.txt --extra gpu --python-platform x86_64-manylinux_2_39
