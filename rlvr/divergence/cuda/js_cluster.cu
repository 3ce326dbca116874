// JS, log-probabilities and log-normalisers of bf16 row pairs on sm_90: one read of global memory.
//
// A thread-block cluster holds a row pair in distributed shared memory, each block a slice of the vocabulary.
// While the slice is copied in, every thread keeps an online maximum and sum; the blocks exchange those through
// distributed shared memory; then each sums its slice of the divergence from its own shared memory. Partial
// results are always joined in the same order: two runs agree bit for bit.
//
// The arithmetic is that of triton_math.py, to base 2. Compiled and inspected offline; it has never run.

#include "js_cluster.h"

#include <cooperative_groups.h>
#include <cuda_bf16.h>

namespace cg = cooperative_groups;

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kVec = 8;                // bf16 values in a 16-byte load
constexpr int kSliceBytes = 110 << 10; // of both rows in one block: two blocks fit a multiprocessor
constexpr int kMaxCluster = 16;
constexpr float kFloor = -1e30f;
constexpr float kHuge = 1e30f;
constexpr float kLn2 = 0.69314718056f;
constexpr float kMaxJs = 0.6931471228599548f;
// psi(d) as a series in s = (d / ln 2)^2, over ln 2, for d < 0.7; see triton_math.py.
constexpr double kZ = 0.12011325347955035, kLn2d = 0.6931471805599453;
constexpr float kSwitch = 0.7 / kLn2d * 0.7 / kLn2d;
constexpr float kJ1 = 0.499999969 * kZ / kLn2d;
constexpr float kJ2 = -0.249991852 * kZ * kZ / kLn2d;
constexpr float kJ3 = 0.110774633 * kZ * kZ * kZ / kLn2d;
constexpr float kJ4 = -0.0427229628 * kZ * kZ * kZ * kZ / kLn2d;

__device__ __forceinline__ float exp2_fast(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

__device__ __forceinline__ float log2_fast(float v) {
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// A maximum and the sum of 2^((x - max) k) beneath it.
struct Sum {
  float top;
  float sum;
};

__device__ __forceinline__ Sum join(Sum a, Sum b, float k) {
  const float top = fmaxf(a.top, b.top);
  return {top, a.sum * exp2_fast((a.top - top) * k) + b.sum * exp2_fast((b.top - top) * k)};
}

__device__ __forceinline__ void unpack(const uint4 &raw, float (&v)[kVec]) {
  const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

__device__ __forceinline__ void fold(const uint4 &raw, Sum &state, float k) {
  float v[kVec];
  unpack(raw, v);
  float top = state.top;
#pragma unroll
  for (int i = 0; i < kVec; ++i) top = fmaxf(top, v[i]);
  const float shift = top * k;
  float sum = state.sum * exp2_fast((state.top - top) * k);
#pragma unroll
  for (int i = 0; i < kVec; ++i) sum += exp2_fast(fmaf(v[i], k, -shift));
  state = {top, sum};
}

__device__ __forceinline__ float js_term(float a, float b) {
  const float delta = a - b;
  const float d = fminf(fabsf(delta), kHuge); // NaN, where both are -inf, becomes kHuge; h is 0 there
  const float u = exp2_fast(-d);
  const float one_u = 1.0f + u;
  const float far = fmaf(-d, u, one_u * (1.0f - log2_fast(one_u)));
  const float s = delta * delta;
  const float near = one_u * (s * fmaf(s, fmaf(s, fmaf(s, kJ4, kJ3), kJ2), kJ1));
  return exp2_fast(fmaxf(a, b)) * (s < kSwitch ? near : far);
}

// What a block shows to the other blocks of its cluster.
struct Shared {
  Sum warp_p[kWarps], warp_q[kWarps];
  Sum block_p, block_q;
  float warp_js[kWarps];
  float block_js;
};

__device__ __forceinline__ Sum warp_join(Sum value, float k) {
  for (int step = 16; step > 0; step /= 2) {
    const Sum other = {__shfl_xor_sync(~0u, value.top, step), __shfl_xor_sync(~0u, value.sum, step)};
    value = join(value, other, k);
  }
  return value;
}

__global__ void __launch_bounds__(kThreads, 2) js_cluster_kernel(JsRows rows, JsOutputs out) {
  extern __shared__ uint4 slice[]; // this block's part of row P, then of row Q
  __shared__ Shared shared;
  cg::cluster_group cluster = cg::this_cluster();
  const int n_blocks = cluster.num_blocks(), rank = cluster.block_rank();
  const long long row = blockIdx.x / n_blocks;
  const int groups = rows.vocab / kVec, per_block = (groups + n_blocks - 1) / n_blocks;
  const int begin = min(rank * per_block, groups), count = min(per_block, groups - begin);
  const auto *x = reinterpret_cast<const __nv_bfloat16 *>(rows.x) + row * rows.x_row;
  const auto *y = reinterpret_cast<const __nv_bfloat16 *>(rows.y) + row * rows.y_row;
  const auto *x_wide = reinterpret_cast<const uint4 *>(x) + begin;
  const auto *y_wide = reinterpret_cast<const uint4 *>(y) + begin;
  uint4 *slice_p = slice, *slice_q = slice + per_block;
  const float k = rows.k;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  Sum p = {kFloor, 0.0f}, q = {kFloor, 0.0f};
#pragma unroll 2
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const uint4 from_p = __ldcs(x_wide + i), from_q = __ldcs(y_wide + i);
    slice_p[i] = from_p;
    slice_q[i] = from_q;
    fold(from_p, p, k);
    fold(from_q, q, k);
  }
  p = warp_join(p, k);
  q = warp_join(q, k);
  if (lane == 0) shared.warp_p[warp] = p, shared.warp_q[warp] = q;
  __syncthreads();
  if (threadIdx.x == 0) {
    p = shared.warp_p[0], q = shared.warp_q[0];
    for (int i = 1; i < kWarps; ++i) p = join(p, shared.warp_p[i], k), q = join(q, shared.warp_q[i], k);
    shared.block_p = p, shared.block_q = q;
  }
  cluster.sync();
  p = {kFloor, 0.0f}, q = p;
  for (int i = 0; i < n_blocks; ++i) {
    const Shared *other = cluster.map_shared_rank(&shared, i);
    p = join(p, other->block_p, k);
    q = join(q, other->block_q, k);
  }
  const float log_p = log2f(p.sum), log_q = log2f(q.sum), c = log_p - log_q;

  float js = 0.0f;
  const float shift_p = p.top * k, shift_q = q.top * k;
#pragma unroll 2
  for (int i = threadIdx.x; i < count; i += kThreads) { // each thread reads what it wrote itself
    float a[kVec], b[kVec];
    unpack(slice_p[i], a);
    unpack(slice_q[i], b);
#pragma unroll
    for (int j = 0; j < kVec; ++j) js += js_term(fmaf(a[j], k, -shift_p), fmaf(b[j], k, -shift_q) + c);
  }
  for (int step = 16; step > 0; step /= 2) js += __shfl_xor_sync(~0u, js, step);
  if (lane == 0) shared.warp_js[warp] = js;
  __syncthreads();
  if (threadIdx.x == 0) {
    js = 0.0f;
    for (int i = 0; i < kWarps; ++i) js += shared.warp_js[i];
    shared.block_js = js;
  }
  cluster.sync();
  if (rank == 0 && threadIdx.x == 0) {
    js = 0.0f;
    for (int i = 0; i < n_blocks; ++i) js += cluster.map_shared_rank(&shared, i)->block_js;
    js *= exp2_fast(-log_p) * (0.5f * kLn2);
    const bool dead = p.sum == 0.0f || q.sum == 0.0f; // a row that is -inf throughout
    js = dead ? __int_as_float(0x7fffffff) : js > kMaxJs ? kMaxJs : js < 0.0f ? 0.0f : js; // keeps NaN
    if (out.js) out.js[row] = js;
    if (out.lse_p) out.lse_p[row] = (shift_p + log_p) * kLn2;
    if (out.lse_q) out.lse_q[row] = (shift_q + log_q) * kLn2;
    const long long token = rows.ids ? rows.ids[row] : 0;
    if (out.logp_p) out.logp_p[row] = (fmaf(__bfloat162float(x[token]), k, -shift_p) - log_p) * kLn2;
    if (out.logp_q) out.logp_q[row] = (fmaf(__bfloat162float(y[token]), k, -shift_q) - log_q) * kLn2;
  }
  cluster.sync(); // no block may leave while the first one reads its shared memory
}

} // namespace

cudaError_t launch_js_cluster(const JsRows &rows, const JsOutputs &out, long long n_tokens, cudaStream_t stream) {
  const int groups = rows.vocab / kVec;
  const auto slice_bytes = [&](int n) { return 2 * ((groups + n - 1) / n) * static_cast<int>(sizeof(uint4)); };
  int blocks = 1;
  while (blocks < kMaxCluster && slice_bytes(blocks) > kSliceBytes) blocks *= 2;
  const int bytes = slice_bytes(blocks);
  if (bytes > kSliceBytes || rows.vocab % kVec != 0) return cudaErrorInvalidValue;
  cudaError_t error = cudaFuncSetAttribute(js_cluster_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  error = cudaFuncSetAttribute(js_cluster_kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(blocks), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(n_tokens * blocks));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, js_cluster_kernel, rows, out);
}
