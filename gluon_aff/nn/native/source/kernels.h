// Loops that the compiler turns into vector code: the product of small matrices, the sigmoid, sums.
//
// Maps are worked on in panels of PANEL neighbouring positions: panel[row * PANEL + position], rows are channels. No
// result depends on the number of threads: work is cut by the shapes alone and sums are added in the order of the cut.
#pragma once

#include <cstdint>
#include <cstring>

namespace gluon_aff {

constexpr int PANEL = 32;  // positions
// TILE rows of a product are computed at once, WIDE vectors of each: their sums must fit the registers, of which there
// are 32 with AVX-512 and 16 without.
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE = 8;
#else
constexpr int LANES = 8, TILE = 4;
#endif
constexpr int WIDE = 2;
typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// out[m][n] (+)= sum over k of a(m, k) b[k][n], for ROWS rows and `vectors` vectors of columns; a(m, k) is
// a[m * a_row + k * a_step].
template <int ROWS, int VECTORS>
inline void tile(int64_t depth, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_step, float* out,
                 int64_t out_row, bool add) {
  Vector sum[ROWS][VECTORS];
  for (int m = 0; m < ROWS; ++m)
    for (int v = 0; v < VECTORS; ++v)
      sum[m][v] = add ? *reinterpret_cast<const Vector*>(out + m * out_row + v * LANES) : Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[VECTORS];
    for (int v = 0; v < VECTORS; ++v) right[v] = *reinterpret_cast<const Vector*>(b + k * b_step + v * LANES);
    for (int m = 0; m < ROWS; ++m) {
      const float left = a[m * a_row + k * a_step];
      for (int v = 0; v < VECTORS; ++v) sum[m][v] += left * right[v];
    }
  }
  for (int m = 0; m < ROWS; ++m)
    for (int v = 0; v < VECTORS; ++v) *reinterpret_cast<Vector*>(out + m * out_row + v * LANES) = sum[m][v];
}

// A matrix of weights, rows x depth, in the order in which `apply` reads it: tiles of TILE rows, padded with zeros.
inline int64_t packed_size(int64_t rows, int64_t depth) { return round_up(rows, TILE) * depth; }

// weights(m, k) = w[m * row + k * step] * (scale ? scale[m * by_row + k * by_step] : 1)
inline void pack(float* packed, const float* w, int64_t rows, int64_t depth, int64_t row, int64_t step,
                 const float* scale = nullptr, int64_t by_row = 0, int64_t by_step = 0) {
  for (int64_t m = 0; m < round_up(rows, TILE); ++m)
    for (int64_t k = 0; k < depth; ++k) {
      const float value = m < rows ? w[m * row + k * step] * (scale ? scale[m * by_row + k * by_step] : 1.0f) : 0.0f;
      packed[(m / TILE * depth + k) * TILE + m % TILE] = value;
    }
}

// Rows first .. first + TILE of weights x panel.
inline void apply_tile(const float* packed, int64_t depth, int64_t first, const float* panel, float* out) {
  const float* a = packed + first * depth;
  for (int n = 0; n < PANEL; n += WIDE * LANES)
    tile<TILE, WIDE>(depth, a, 1, TILE, panel + n, PANEL, out + n, PANEL, false);
}

// out = weights x panel; out has round_up(rows, TILE) rows.
inline void apply(const float* packed, int64_t rows, int64_t depth, const float* panel, float* out) {
  for (int64_t m = 0; m < rows; m += TILE) apply_tile(packed, depth, m, panel, out + m * PANEL);
}

// sum[m][k] += over positions left[m][p] right[k][p]: `turned` is right with positions first, width columns.
inline void outer(const float* left, int64_t rows, const float* turned, int64_t width, float* sum) {
  const auto columns = [&](int64_t k, decltype(tile<TILE, 1>)* product) {
    for (int64_t m = 0; m < rows; m += TILE)
      product(PANEL, left + m * PANEL, PANEL, 1, turned + k, width, sum + m * width + k, width, true);
  };
  int64_t k = 0;
  for (; k + WIDE * LANES <= width; k += WIDE * LANES) columns(k, tile<TILE, WIDE>);
  for (; k < width; k += LANES) columns(k, tile<TILE, 1>);
}

// panel (rows x PANEL) -> turned (PANEL x width), zeros beyond rows.
inline void turn(const float* panel, int64_t rows, int64_t width, float* turned) {
  for (int p = 0; p < PANEL; ++p) {
    float* to = turned + p * width;
    for (int64_t k = 0; k < rows; ++k) to[k] = panel[k * PANEL + p];
    for (int64_t k = rows; k < width; ++k) to[k] = 0.0f;
  }
}

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// exp to about 1e-7: 2^n e^f with n whole and |f| <= ln 2 / 2. What is not a number stays so.
inline float exponential(float x) {
  const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float shifted = x * 1.44269504f + round;
  const float n = shifted - round;
  const float f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float e = 1.9875691500e-4f;
  e = e * f + 1.3981999507e-3f;
  e = e * f + 8.3334519073e-3f;
  e = e * f + 4.1665795894e-2f;
  e = e * f + 1.6666665459e-1f;
  e = e * f + 5.0000001201e-1f;
  e = e * f * f + f + 1.0f;
  return e * from_bits((to_bits(shifted) - to_bits(round) + 127u) << 23);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// Sum of PANEL values in one order.
inline float sum_of(const float* values) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int p = 0; p < PANEL; ++p) sum += values[p];
  return sum;
}

}  // namespace gluon_aff
