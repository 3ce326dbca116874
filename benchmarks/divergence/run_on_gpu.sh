#!/usr/bin/env bash
# Tests and measures the divergence kernels on a machine with a CUDA GPU, from a checkout, needing only torch, triton,
# numpy, pytest, hypothesis and mpmath (liger-kernel and matplotlib if present). Results go to benchmarks/results/.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python}
results=benchmarks/results
mkdir -p "$results"

"$python" -c "import torch; assert torch.cuda.is_available(), 'no CUDA device: nothing to do here'" || exit 2
"$python" -m pytest -q tests/divergence -m "gpu or not slow" 2>&1 | tee "$results/gpu_tests.txt"
tests=${PIPESTATUS[0]}
"$python" -m benchmarks.divergence.sass 2>&1 | tee "$results/sass.txt"
"$python" -m benchmarks.divergence --device cuda --out "$results" "$@" 2>&1 | tee "$results/gpu_benchmark.txt"
bench=${PIPESTATUS[0]}
echo
echo "tests: exit $tests; benchmark: exit $bench; files in $results:"
sed -n '/^target /,$p' "$results/gpu_benchmark.txt"
exit $((tests || bench))
