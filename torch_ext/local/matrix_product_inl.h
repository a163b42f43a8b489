#pragma once

// Products of matrices, as GotoBLAS has them (Goto and van de Geijn, Anatomy of High-Performance
// Matrix Multiplication, 2008): blocks of both matrices are copied into panels that the innermost
// loop reads in order, and that stay in the caches. See row_kernels_inl.h.

#include <cstdint>

#include "torch_ext/local/row_kernels.h"
#include "torch_ext/local/vector_inl.h"

namespace tinkex::torch_ext::local {
namespace {

/// Rows of a panel of a. With two vectors of a panel of b each, their sums fill the registers.
constexpr int kPanelRows = TINKEX_PANEL_ROWS;
template <class T>
constexpr int kPanelColumns = 2 * static_cast<int>(kVec<T>);

/// What is copied at a time: a's block stays in the second cache, a panel of b's in the first.
constexpr std::int64_t kBlockRows = 192;
constexpr std::int64_t kBlockColumns = 1024;
constexpr std::int64_t kBlockDepth = 192;
static_assert(kMatrixWorkspace == kBlockDepth * (kBlockRows + kBlockColumns));
static_assert(kBlockRows % kPanelRows == 0 && kBlockColumns % kPanelColumns<float> == 0);

using Quad [[gnu::vector_size(16)]] = float;
using QuadBits [[gnu::vector_size(16)]] = std::uint32_t;
using QuadHalves [[gnu::vector_size(8)]] = std::uint16_t;

Quad load_quad(const float* from) {
  Quad quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return quad;
}

Quad load_quad(const std::uint16_t* from) {
  QuadHalves halves;
  __builtin_memcpy(&halves, from, sizeof halves);
  const QuadBits bits = __builtin_convertvector(halves, QuadBits) << 16;
  Quad quad;
  __builtin_memcpy(&quad, &bits, sizeof quad);
  return quad;
}

float widened(float number) { return number; }
double widened(double number) { return number; }
float widened(std::uint16_t upper_half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(upper_half) << 16;
  float number;
  __builtin_memcpy(&number, &bits, sizeof number);
  return number;
}

/// Four lanes of four numbers that lie in order, as four numbers of four lanes, times `factor`.
template <int Lanes, class W>
void transpose_quad(const W* from, std::int64_t lane_stride, float factor, float* to) {
  const Quad r0 = load_quad(from);
  const Quad r1 = load_quad(from + lane_stride);
  const Quad r2 = load_quad(from + 2 * lane_stride);
  const Quad r3 = load_quad(from + 3 * lane_stride);
  const Quad low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
  const Quad low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Quad high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  const Quad high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  const Quad columns[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                           __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                           __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                           __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) {
    const Quad scaled = columns[i] * factor;
    __builtin_memcpy(to + i * Lanes, &scaled, sizeof scaled);
  }
}

/// One matrix as the packing sees it: `lanes` are rows of a or columns of b.
template <class W>
struct Operand {
  const W* data;
  std::int64_t lane_stride;
  std::int64_t depth_stride;

  Operand from(std::int64_t lane, std::int64_t depth) const {
    return {data + lane * lane_stride + depth * depth_stride, lane_stride, depth_stride};
  }
};

/// Copies `lanes` lanes of `depth` numbers, times `factor`, to to[number * Lanes + lane]; lanes
/// that are missing are zeros.
template <int Lanes, class T, class W>
void pack_panel(const Operand<W>& from, std::int64_t lanes, std::int64_t depth, T factor, T* to) {
  std::int64_t lane = 0;
  if constexpr (sizeof(T) == sizeof(float)) {
    const std::int64_t quads = depth / 4 * 4;
    for (; from.depth_stride == 1 && lane + 4 <= lanes; lane += 4) {
      const W* rows = from.data + lane * from.lane_stride;
      for (std::int64_t p = 0; p < quads; p += 4) {
        transpose_quad<Lanes>(rows + p, from.lane_stride, factor, to + p * Lanes + lane);
      }
      for (std::int64_t p = quads; p < depth; ++p) {
        for (int i = 0; i < 4; ++i) {
          to[p * Lanes + lane + i] = factor * widened(rows[i * from.lane_stride + p]);
        }
      }
    }
  }
  if (from.lane_stride == 1 && lanes == Lanes) {
    for (std::int64_t p = 0; p < depth; ++p) {
      const W* row = from.data + p * from.depth_stride;
      for (int i = 0; i < Lanes; ++i) to[p * Lanes + i] = factor * widened(row[i]);
    }
    return;
  }
  for (; lane < lanes; ++lane) {
    const W* row = from.data + lane * from.lane_stride;
    for (std::int64_t p = 0; p < depth; ++p) {
      to[p * Lanes + lane] = factor * widened(row[p * from.depth_stride]);
    }
  }
  for (; lane < Lanes; ++lane) {
    for (std::int64_t p = 0; p < depth; ++p) to[p * Lanes + lane] = 0;
  }
}

/// All panels of a block, one behind the other.
template <int Lanes, class T, class W>
void pack(const Operand<W>& from, std::int64_t lanes, std::int64_t depth, T factor, T* to) {
  for (std::int64_t lane = 0; lane < lanes; lane += Lanes, to += Lanes * depth) {
    const std::int64_t count = lanes - lane < Lanes ? lanes - lane : Lanes;
    pack_panel<Lanes>(from.from(lane, 0), count, depth, factor, to);
  }
}

/// A part of c, and what is added to it.
template <class T>
struct Target {
  T* c;
  std::int64_t c_row;
  const T* add;
  std::int64_t add_row;

  Target at(std::int64_t row, std::int64_t column) const {
    return {c + row * c_row + column, c_row,
            add == nullptr ? nullptr : add + row * add_row + column, add_row};
  }
};

template <class T>
void store(Vec<T> sum, T* c, const T* add, std::int64_t count) {
  if (add != nullptr) sum += load_some<T>(add, count);
  store_some<T>(sum, c, count);
}

/// A panel of a times a panel of b. Each element has one accumulator, which takes the products in
/// order.
template <class T>
void multiply_panels(const T* a, const T* b, std::int64_t depth, const Target<T>& to,
                     std::int64_t rows, std::int64_t columns) {
  Vec<T> sums[kPanelRows][2] = {};
  for (std::int64_t p = 0; p < depth; ++p, a += kPanelRows, b += kPanelColumns<T>) {
    const Vec<T> left = load(b);
    const Vec<T> right = load(b + kVec<T>);
#pragma GCC unroll 16
    for (int r = 0; r < kPanelRows; ++r) {
      sums[r][0] += a[r] * left;
      sums[r][1] += a[r] * right;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kPanelRows; ++r) {
    if (r >= rows) break;
    const Target<T> row = to.at(r, 0);
    store<T>(sums[r][0], row.c, row.add, columns);
    if (columns <= kVec<T>) continue;
    const T* add = row.add == nullptr ? nullptr : row.add + kVec<T>;
    store<T>(sums[r][1], row.c + kVec<T>, add, columns - kVec<T>);
  }
}

template <class T>
void multiply_blocks(const T* a, std::int64_t rows, const T* b, std::int64_t columns,
                     std::int64_t depth, const Target<T>& to) {
  for (std::int64_t j = 0; j < columns; j += kPanelColumns<T>) {
    for (std::int64_t i = 0; i < rows; i += kPanelRows) {
      multiply_panels<T>(a + i * depth, b + j * depth, depth, to.at(i, j), rows - i, columns - j);
    }
  }
}

template <class T, class W>
void multiply(const MatrixProduct<T, W>& x) {
  T* a = x.workspace;
  T* b = x.workspace + kBlockRows * kBlockDepth;
  const Operand<T> left{x.a, x.a_row, x.a_column};
  const Operand<W> right{x.b, x.b_column, x.b_row};
  for (std::int64_t j = 0; j < x.n; j += kBlockColumns) {
    const std::int64_t columns = x.n - j < kBlockColumns ? x.n - j : kBlockColumns;
    // Once for a k of 0, too, which leaves what is added.
    for (std::int64_t p = 0; p == 0 || p < x.k; p += kBlockDepth) {
      const std::int64_t depth = x.k - p < kBlockDepth ? x.k - p : kBlockDepth;
      pack<kPanelColumns<T>>(right.from(j, p), columns, depth, T(1), b);
      const Target<T> to = p == 0 ? Target<T>{x.c, x.c_row, x.add, x.add_row}
                                  : Target<T>{x.c, x.c_row, x.c, x.c_row};
      for (std::int64_t i = 0; i < x.m; i += kBlockRows) {
        const std::int64_t rows = x.m - i < kBlockRows ? x.m - i : kBlockRows;
        // The scale goes in here: behind the sum, some copies of the code would multiply and add in
        // one step, others in two.
        pack<kPanelRows>(left.from(i, p), rows, depth, x.scale, a);
        multiply_blocks<T>(a, rows, b, columns, depth, to.at(i, j));
      }
    }
  }
}

}  // namespace
}  // namespace tinkex::torch_ext::local
