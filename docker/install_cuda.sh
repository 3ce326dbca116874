#!/usr/bin/env bash
# Install rlvr with its CUDA stack into the environment of the given Python, pinned by constraints-cuda.txt.
#   bash docker/install_cuda.sh path/to/python                 all three steps
#   bash docker/install_cuda.sh path/to/python dependencies    one step, as a layer of the image
# The steps stand in steps.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
constraints=docker/constraints-cuda.txt
# shellcheck source=docker/steps.sh
source docker/steps.sh

dependencies() {
    install_requirements gpu hub report
    # Without a GPU, as in a build, vLLM is not imported.
    "$python" -c 'import torch, transformers; print("installed: torch", torch.__version__, "CUDA", torch.version.cuda)'
}

run_steps "$@"
