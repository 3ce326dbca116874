// The launcher of the cluster kernel; js_cluster.cu says what it computes.
#pragma once

#include <cuda_runtime.h>

// Device pointers and sizes of the rows; x_row and y_row are strides in elements.
struct JsRows {
  const void *x;         // bf16 logits of P, 16-byte aligned rows
  const void *y;         // bf16 logits of Q
  const long long *ids;  // sampled tokens, or null
  int vocab;             // a multiple of 8
  long long x_row, y_row;
  float k;               // log2(e) over the temperature
};

// fp32 [T] outputs; null where not wanted.
struct JsOutputs {
  float *js, *lse_p, *lse_q, *logp_p, *logp_q;
};

cudaError_t launch_js_cluster(const JsRows &rows, const JsOutputs &out, long long n_tokens, cudaStream_t stream);
