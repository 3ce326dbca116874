// Hands device pointers from Python to the launcher. Pointers and the stream travel as integers, so that this file
// needs no CUDA build of torch to compile; all checks are made in cuda_backend.py.

#include <torch/extension.h>

#include <array>
#include <stdexcept>
#include <string>

#include "js_cluster.h"

namespace {

using Pointer = unsigned long long;

void js_cluster(std::array<Pointer, 3> inputs, std::array<Pointer, 5> outputs, long long n_tokens, int vocab,
                long long x_row, long long y_row, double k, Pointer stream) {
  const JsRows rows = {reinterpret_cast<const void *>(inputs[0]), reinterpret_cast<const void *>(inputs[1]),
                       reinterpret_cast<const long long *>(inputs[2]), vocab, x_row, y_row, static_cast<float>(k)};
  const auto out = [&](int i) { return reinterpret_cast<float *>(outputs[i]); };
  const JsOutputs results = {out(0), out(1), out(2), out(3), out(4)};
  const cudaError_t error = launch_js_cluster(rows, results, n_tokens, reinterpret_cast<cudaStream_t>(stream));
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("js_cluster: launch failed: ") + cudaGetErrorString(error));
  }
}

} // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("js_cluster", &js_cluster); }
