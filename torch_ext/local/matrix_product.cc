#include "torch_ext/local/matrix_product.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "torch_ext/local/parallel.h"
#include "torch_ext/local/rounding.h"
#include "torch_ext/local/row_kernels.h"
#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

/// Multiplications that are worth a thread: those of single rows wait for memory, these do not.
constexpr std::int64_t kPartWork = 2 * kThreadWork;

/// Multiples of every instruction set's panels: parts of a product that are not waste time.
constexpr std::int64_t kRowUnit = 12;
constexpr std::int64_t kColumnUnit = 32;

/// Into how many parts rows and columns are cut, one part for each thread. Every part copies its
/// rows of a and its columns of b, so the parts are as square as they can be.
struct Grid {
  std::int64_t rows = 1;
  std::int64_t columns = 1;

  static Grid of(std::int64_t m, std::int64_t n, std::int64_t threads) {
    const std::int64_t row_units = pieces_of(m, kRowUnit);
    const std::int64_t column_units = pieces_of(n, kColumnUnit);
    Grid best;
    for (std::int64_t rows = 1; rows <= std::min(threads, row_units); ++rows) {
      const Grid grid{rows, std::min(threads / rows, column_units)};
      if (grid.cost(row_units, column_units) < best.cost(row_units, column_units)) best = grid;
    }
    return best;
  }

 private:
  /// Of the largest part, in about multiplications: those themselves, and what it copies.
  std::int64_t cost(std::int64_t row_units, std::int64_t column_units) const {
    constexpr std::int64_t kCopy = 32;
    const std::int64_t m = pieces_of(row_units, rows) * kRowUnit;
    const std::int64_t n = pieces_of(column_units, columns) * kColumnUnit;
    return m * n + kCopy * (m + n);
  }
};

/// Where part `index` of `parts` begins, in whole units.
std::int64_t begin_of(std::int64_t index, std::int64_t parts, std::int64_t size,
                      std::int64_t unit) {
  return std::min(size, pieces_of(size, unit) * index / parts * unit);
}

template <class T, class W>
MatrixProduct<T, W> part_of(const MatrixProduct<T, W>& whole, const Grid& grid,
                            std::int64_t index) {
  const std::int64_t row = index / grid.columns;
  const std::int64_t column = index % grid.columns;
  const std::int64_t i = begin_of(row, grid.rows, whole.m, kRowUnit);
  const std::int64_t j = begin_of(column, grid.columns, whole.n, kColumnUnit);
  MatrixProduct<T, W> part = whole;
  part.m = begin_of(row + 1, grid.rows, whole.m, kRowUnit) - i;
  part.n = begin_of(column + 1, grid.columns, whole.n, kColumnUnit) - j;
  part.a += i * whole.a_row;
  part.b += j * whole.b_column;
  part.c += i * whole.c_row + j;
  if (part.add != nullptr) part.add += i * whole.add_row + j;
  part.workspace += index * kMatrixWorkspace;
  return part;
}

template <class T, class W>
void run(void (*kernel)(const MatrixProduct<T, W>&), MatrixProduct<T, W> whole,
         const at::Tensor& like) {
  if (whole.m == 0 || whole.n == 0) return;
  const std::int64_t threads =
      at::in_parallel_region()
          ? 1
          : std::min<std::int64_t>(at::get_num_threads(), whole.m * whole.n * whole.k / kPartWork);
  const Grid grid = Grid::of(whole.m, whole.n, std::max<std::int64_t>(1, threads));
  const std::int64_t parts = grid.rows * grid.columns;
  const at::Tensor workspace = scratch_empty({parts, kMatrixWorkspace}, like);
  whole.workspace = workspace.mutable_data_ptr<T>();
  at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      kernel(part_of(whole, grid, i));
    }
  });
}

template <class T, class W>
void run(void (*kernel)(const MatrixProduct<T, W>&), const at::Tensor& c, const at::Tensor& a,
         const W* b, const at::Tensor& b_like, const at::Tensor& add, double scale) {
  MatrixProduct<T, W> whole{};
  whole.m = a.size(0);
  whole.n = b_like.size(1);
  whole.k = a.size(1);
  whole.a = a.const_data_ptr<T>();
  whole.a_row = a.stride(0);
  whole.a_column = a.stride(1);
  whole.b = b;
  whole.b_row = b_like.stride(0);
  whole.b_column = b_like.stride(1);
  whole.c = c.mutable_data_ptr<T>();
  whole.c_row = c.stride(0);
  if (add.defined()) {
    whole.add = add.const_data_ptr<T>();
    whole.add_row = add.dim() == 1 ? 0 : add.stride(0);
  }
  whole.scale = static_cast<T>(scale);
  run(kernel, whole, c);
}

}  // namespace

void matrix_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
                    const at::Tensor& add, double scale) {
  TORCH_INTERNAL_ASSERT(a.size(1) == b.size(0) && c.size(0) == a.size(0) &&
                        c.size(1) == b.size(1) && c.stride(1) == 1);
  TORCH_INTERNAL_ASSERT(!add.defined() || (add.stride(-1) == 1 && add.size(-1) == c.size(1) &&
                                           (add.dim() == 1 || add.size(0) == c.size(0))));
  const RowKernels& kernels = row_kernels();
  if (c.scalar_type() == at::ScalarType::Double) {
    run(kernels.float64.multiply, c, a, b.const_data_ptr<double>(), b, add, scale);
  } else if (b.scalar_type() == at::ScalarType::BFloat16) {
    run(kernels.multiply_bfloat16, c, a, &b.const_data_ptr<at::BFloat16>()->x, b, add, scale);
  } else {
    run(kernels.float32.multiply, c, a, b.const_data_ptr<float>(), b, add, scale);
  }
}

}  // namespace tinkex::torch_ext::local
