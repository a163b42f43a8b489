#include "torch_ext/local/attention.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "torch_ext/local/matrix_product.h"
#include "torch_ext/local/parallel.h"
#include "torch_ext/local/rounding.h"
#include "torch_ext/local/row_kernels.h"
#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

/// Positions whose queries are computed together. What lies above the diagonal of a block is
/// computed in vain; smaller blocks make products that are slower. Of long sequences they are
/// smaller all the same, so that a block's scores stay near.
constexpr std::int64_t kBlock = 32;
constexpr std::int64_t kSmallestBlock = 8;
constexpr std::int64_t kScoresOfABlock = std::int64_t{1} << 20;

/// Fewer pieces of work than this do not keep the cores busy alike.
constexpr std::int64_t kEnoughUnits = 12;

std::int64_t padded(std::int64_t keys) { return rounded_up(keys, kScoreUnit); }

/// A block of positions of some query heads of a sequence, which read the same keys.
struct Block {
  std::int64_t sequence, head, heads, first, positions;
  std::int64_t rows() const { return heads * positions; }
  std::int64_t keys() const { return first + positions; }
  std::int64_t seen_by(std::int64_t row) const { return first + row % positions + 1; }
};

/// Where things lie in the rows of queries, keys and values.
struct Layout {
  std::int64_t batch, length, heads, kv_heads, dim, block_length;
  std::int64_t group() const { return heads / kv_heads; }
  std::int64_t width() const { return (heads + 2 * kv_heads) * dim; }
  std::int64_t key_column(std::int64_t kv_head) const { return (heads + kv_head) * dim; }
  std::int64_t value_column(std::int64_t kv_head) const { return key_column(kv_heads + kv_head); }
  std::int64_t blocks() const { return pieces_of(length, block_length); }
  double scale() const { return 1 / std::sqrt(static_cast<double>(dim)); }

  Block block(std::int64_t sequence, std::int64_t head, std::int64_t count,
              std::int64_t place) const {
    const std::int64_t first = place * block_length;
    return {sequence, head, count, first, std::min(block_length, length - first)};
  }

  static Layout of(const at::Tensor& rows, const ModelConfig& config, std::int64_t length) {
    TORCH_INTERNAL_ASSERT(rows.is_contiguous() && length > 0 && rows.size(0) % length == 0);
    const std::int64_t group = config.num_attention_heads / config.num_key_value_heads;
    const std::int64_t fitting = kScoresOfABlock / (group * length);
    return {rows.size(0) / length,
            length,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            std::min(length, std::clamp(fitting, kSmallestBlock, kBlock))};
  }

  /// The first `count` positions of a head of a sequence, in rows that lie so.
  template <class T>
  MatrixView<T> head(T* rows, std::int64_t sequence, std::int64_t column,
                     std::int64_t count) const {
    return {rows + sequence * length * width() + column, count, dim, width(), 1};
  }
};

/// Memory of one thread for its blocks; a row of a matrix is a query, head by head. Rows of scores
/// are padded, with zeros that change nothing.
template <class T>
class Workspace {
 public:
  Workspace(const Layout& layout, std::int64_t heads, T* memory)
      : dim_(layout.dim),
        rows_(heads * layout.block_length),
        keys_(padded(layout.length)),
        memory_(memory) {}

  static std::int64_t size(const Layout& layout, std::int64_t heads, bool backward) {
    const std::int64_t columns = backward ? 3 * layout.dim + 2 * padded(layout.length)
                                          : 2 * layout.dim + padded(layout.length);
    return padded(kMatrixWorkspace + heads * layout.block_length * columns);
  }

  T* for_products() const { return memory_; }
  MatrixView<T> queries(const Block& block) const { return part(0, block, dim_); }
  MatrixView<T> outputs(const Block& block) const { return part(dim_, block, dim_); }
  MatrixView<T> scores(const Block& block) const {
    return part(2 * dim_, block, padded(block.keys()));
  }
  // Of the backward pass alone.
  MatrixView<T> score_gradients(const Block& block) const {
    return part(2 * dim_ + keys_, block, padded(block.keys()));
  }
  MatrixView<T> gradients(const Block& block) const {
    return part(2 * dim_ + 2 * keys_, block, dim_);
  }

 private:
  /// `first`: how many columns are before it.
  MatrixView<T> part(std::int64_t first, const Block& block, std::int64_t columns) const {
    return {memory_ + kMatrixWorkspace + rows_ * first, block.rows(), columns, columns, 1};
  }

  std::int64_t dim_, rows_, keys_;
  T* memory_;
};

/// The columns of scores that are those of keys.
template <class T>
MatrixView<T> of_keys(MatrixView<T> scores, const Block& block) {
  scores.columns = block.keys();
  return scores;
}

/// Calls f(first, end, memory) for parts of `count` pieces of work, each on a thread with memory of
/// its own for `size` elements. `work` is about the multiplications of a piece.
template <class T, class F>
void in_parallel(std::int64_t count, std::int64_t work, std::int64_t size, const at::Tensor& like,
                 const F& f) {
  const std::int64_t threads = std::min<std::int64_t>(at::get_num_threads(), count);
  const at::Tensor memory = scratch_empty({threads, size}, like);
  T* first = memory.mutable_data_ptr<T>();
  at::parallel_for(0, count, grain_for(work), [&](std::int64_t begin, std::int64_t end) {
    f(begin, end, first + at::get_thread_num() * size);
  });
}

/// Calls f(row of the block's matrices, the same row in `rows`) for the block's queries. `rows`
/// have `width` elements, of which the first are the query heads'.
template <class Rows, class F>
void for_each_query(const Block& block, const Layout& layout, Rows* rows, std::int64_t width,
                    const F& f) {
  std::int64_t row = 0;
  for (std::int64_t head = block.head; head < block.head + block.heads; ++head) {
    Rows* from = rows + (block.sequence * layout.length + block.first) * width + head * layout.dim;
    for (std::int64_t i = 0; i < block.positions; ++i) f(row++, from + i * width);
  }
}

template <class T>
MatrixView<const T> gather(const Block& block, const Layout& layout, const at::Tensor& rows,
                           double scale, const MatrixView<T>& to) {
  const auto factor = static_cast<T>(scale);
  for_each_query(block, layout, rows.const_data_ptr<T>(), rows.size(1),
                 [&](std::int64_t row, const T* query) {
                   T* copy = to.data + row * layout.dim;
                   for (std::int64_t i = 0; i < layout.dim; ++i) copy[i] = factor * query[i];
                 });
  return to.read();
}

template <class T>
void scatter(const Block& block, const Layout& layout, const MatrixView<T>& from, double scale,
             const at::Tensor& rows) {
  const auto factor = static_cast<T>(scale);
  for_each_query(block, layout, rows.mutable_data_ptr<T>(), rows.size(1),
                 [&](std::int64_t row, T* query) {
                   const T* result = from.data + row * layout.dim;
                   for (std::int64_t i = 0; i < layout.dim; ++i) query[i] = factor * result[i];
                 });
}

/// Keys and values that a block sees.
template <class T>
struct Seen {
  MatrixView<const T> keys, values;

  static Seen of(const Block& block, const Layout& layout, const at::Tensor& rows) {
    const T* data = rows.const_data_ptr<T>();
    const std::int64_t kv_head = block.head / layout.group();
    return {layout.head(data, block.sequence, layout.key_column(kv_head), block.keys()),
            layout.head(data, block.sequence, layout.value_column(kv_head), block.keys())};
  }
};

/// Where what softmax found of a query lies.
template <class T>
SoftmaxFactors<T>* factors_of(const AttentionRecord& record, const Layout& layout,
                              const Block& block, std::int64_t row) {
  const std::int64_t head = block.head + row / block.positions;
  const std::int64_t position = block.first + row % block.positions;
  const std::int64_t query = (block.sequence * layout.heads + head) * layout.length + position;
  static_assert(sizeof(SoftmaxFactors<T>) == 2 * sizeof(T));
  return reinterpret_cast<SoftmaxFactors<T>*>(record.factors.mutable_data_ptr<T>()) + query;
}

template <class T>
void attend(const Block& block, const Layout& layout, const at::Tensor& rows,
            const Workspace<T>& workspace, const AttentionRecord& record) {
  const Seen<T> seen = Seen<T>::of(block, layout, rows);
  const auto queries = gather(block, layout, rows, layout.scale(), workspace.queries(block));
  const MatrixView<T> scores = workspace.scores(block);
  multiply(of_keys(scores, block), queries, seen.keys.t(), false, workspace.for_products());
  for (std::int64_t row = 0; row < block.rows(); ++row) {
    *factors_of<T>(record, layout, block, row) = kernels_of<T>().softmax(
        scores.data + row * scores.columns, block.seen_by(row), scores.columns);
  }
  const MatrixView<T> outputs = workspace.outputs(block);
  multiply(outputs, of_keys(scores, block).read(), seen.values, false, workspace.for_products());
  scatter(block, layout, outputs, 1, record.out);
}

template <class T>
void forward(const at::Tensor& rows, const Layout& layout, const AttentionRecord& record) {
  const std::int64_t group = layout.group();
  const std::int64_t blocks = layout.blocks();
  const auto body = [&](std::int64_t begin, std::int64_t end, T* memory) {
    const Workspace<T> workspace(layout, group, memory);
    for (std::int64_t i = begin; i < end; ++i) {
      // Late blocks have more keys: early and late ones take turns, so that threads get the same.
      const std::int64_t turn = i % blocks;
      const std::int64_t place = turn % 2 == 0 ? turn / 2 : blocks - 1 - turn / 2;
      const std::int64_t unit = i / blocks;
      attend(layout.block(unit / layout.kv_heads, unit % layout.kv_heads * group, group, place),
             layout, rows, workspace, record);
    }
  };
  const std::int64_t work = 2 * group * layout.dim * layout.block_length * layout.length;
  in_parallel<T>(layout.batch * layout.kv_heads * blocks, work,
                 Workspace<T>::size(layout, group, /*backward=*/false), rows, body);
}

/// The gradients of a sequence's keys and values: (length, head_dim) each.
template <class T>
struct KeyValueGradients {
  MatrixView<T> dk, dv;
  /// Of the first `count` positions.
  KeyValueGradients first(std::int64_t count) const {
    KeyValueGradients part = *this;
    part.dk.rows = part.dv.rows = count;
    return part;
  }
};

/// Turns the block's scores into probabilities, and the gradients of the latter into those of the
/// former.
template <class T>
void softmax_backward(const Block& block, const Layout& layout, const MatrixView<T>& scores,
                      const MatrixView<T>& d_scores, const AttentionRecord& record,
                      const MatrixView<const T>& d_out) {
  for_each_query(
      block, layout, record.out.const_data_ptr<T>(), record.out.size(1),
      [&](std::int64_t row, const T* out) {
        kernels_of<T>().softmax_gradient({.scores = scores.data + row * scores.columns,
                                          .d_scores = d_scores.data + row * scores.columns,
                                          .size = block.seen_by(row),
                                          .width = scores.columns,
                                          .factors = *factors_of<T>(record, layout, block, row),
                                          .out = out,
                                          .d_out = d_out.data + row * layout.dim,
                                          .dim = layout.dim});
      });
}

template <class T>
void attend_backward(const Block& block, const Layout& layout, const at::Tensor& rows,
                     const AttentionRecord& record, const at::Tensor& d_out,
                     const Workspace<T>& workspace, const at::Tensor& d_rows,
                     const KeyValueGradients<T>& gradients) {
  T* memory = workspace.for_products();
  const Seen<T> seen = Seen<T>::of(block, layout, rows);
  const auto queries = gather(block, layout, rows, layout.scale(), workspace.queries(block));
  const auto d_block = gather(block, layout, d_out, 1, workspace.gradients(block));
  const MatrixView<T> scores = workspace.scores(block);
  const MatrixView<T> d_scores = workspace.score_gradients(block);
  multiply(of_keys(scores, block), queries, seen.keys.t(), false, memory);
  multiply(of_keys(d_scores, block), d_block, seen.values.t(), false, memory);
  softmax_backward(block, layout, scores, d_scores, record, d_block);
  const MatrixView<const T> p = of_keys(scores, block).read();
  const MatrixView<const T> d_p = of_keys(d_scores, block).read();

  // The last block comes first: it sees all keys, and the others add to what it sets.
  const bool add = block.keys() < layout.length;
  const KeyValueGradients<T> own = gradients.first(block.keys());
  multiply(own.dv, p.t(), d_block, add, memory);
  multiply(own.dk, d_p.t(), queries, add, memory);
  const MatrixView<T> d_queries = workspace.outputs(block);
  multiply(d_queries, d_p, seen.keys, false, memory);
  scatter(block, layout, d_queries, layout.scale(), d_rows);
}

/// How the backward pass is cut: pieces of work that write to nothing in common. The query heads
/// that share a key head are one unit; or each is one, where there would be too few, and their
/// gradients of keys and values are added up afterwards.
struct Units {
  Units(const Layout& layout_in, const at::Tensor& d_rows_in)
      : layout(layout_in),
        d_rows(d_rows_in),
        heads(layout.batch * layout.kv_heads < kEnoughUnits ? 1 : layout.group()),
        count(layout.batch * layout.heads / heads) {
    if (!shared()) return;
    parts = scratch_empty(
        {layout.batch, layout.kv_heads, layout.group(), 2, layout.length, layout.dim}, d_rows);
  }

  bool shared() const { return heads < layout.group(); }
  std::int64_t sequence(std::int64_t unit) const { return unit * heads / layout.heads; }
  std::int64_t first_head(std::int64_t unit) const { return unit * heads % layout.heads; }

  template <class T>
  KeyValueGradients<T> gradients(std::int64_t unit) const {
    const std::int64_t length = layout.length;
    if (shared()) {
      T* own = parts.mutable_data_ptr<T>() + unit * 2 * length * layout.dim;
      return {{own, length, layout.dim, layout.dim, 1},
              {own + length * layout.dim, length, layout.dim, layout.dim, 1}};
    }
    T* data = d_rows.mutable_data_ptr<T>();
    const std::int64_t kv_head = first_head(unit) / layout.group();
    return {layout.head(data, sequence(unit), layout.key_column(kv_head), length),
            layout.head(data, sequence(unit), layout.value_column(kv_head), length)};
  }

  void finish() const {
    if (!shared()) return;
    // (batch, kv heads, 2, length, dim) to (batch, length, 2, kv heads, dim), as they lie in rows.
    at::Tensor to = d_rows.view({layout.batch, layout.length, -1})
                        .narrow(2, layout.key_column(0), 2 * layout.kv_heads * layout.dim)
                        .unflatten(2, {2, layout.kv_heads, layout.dim});
    to.copy_(parts.sum(2).permute({0, 3, 2, 1, 4}));
  }

  const Layout& layout;
  const at::Tensor& d_rows;
  std::int64_t heads;  ///< Query heads of a unit.
  std::int64_t count;
  at::Tensor parts;
};

template <class T>
void backward(const at::Tensor& d_out, const at::Tensor& rows, const Layout& layout,
              const AttentionRecord& record, const at::Tensor& d_rows) {
  const Units units(layout, d_rows);
  const auto body = [&](std::int64_t begin, std::int64_t end, T* memory) {
    const Workspace<T> workspace(layout, units.heads, memory);
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const KeyValueGradients<T> gradients = units.gradients<T>(unit);
      for (std::int64_t place = layout.blocks(); place-- > 0;) {
        attend_backward(
            layout.block(units.sequence(unit), units.first_head(unit), units.heads, place), layout,
            rows, record, d_out, workspace, d_rows, gradients);
      }
    }
  };
  const std::int64_t work = 2 * units.heads * layout.dim * layout.length * layout.length;
  in_parallel<T>(units.count, work, Workspace<T>::size(layout, units.heads, /*backward=*/true),
                 rows, body);
  units.finish();
}

}  // namespace

KeyValueViews KeyValueViews::of(const at::Tensor& rows, const ModelConfig& config,
                                std::int64_t length) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t kv_heads = config.num_key_value_heads;
  const at::Tensor all =
      rows.view({-1, length, heads + 2 * kv_heads, config.head_dim}).transpose(1, 2);
  return {all.narrow(1, heads, kv_heads), all.narrow(1, heads + kv_heads, kv_heads)};
}

AttentionRecord attention(const at::Tensor& rows, const ModelConfig& config, std::int64_t length) {
  const Layout layout = Layout::of(rows, config, length);
  AttentionRecord record{scratch_empty({rows.size(0), layout.heads * layout.dim}, rows),
                         scratch_empty({layout.batch, layout.heads, layout.length, 2}, rows)};
  with_type(rows, [&](auto zero) { forward<decltype(zero)>(rows, layout, record); });
  return record;
}

at::Tensor attention_backward(const at::Tensor& d_out, const at::Tensor& rows,
                              const AttentionRecord& record, const ModelConfig& config,
                              std::int64_t length) {
  const Layout layout = Layout::of(rows, config, length);
  TORCH_INTERNAL_ASSERT(d_out.is_contiguous() && d_out.sizes() == record.out.sizes());
  at::Tensor d_rows = scratch_empty(rows.sizes(), rows);
  with_type(rows,
            [&](auto zero) { backward<decltype(zero)>(d_out, rows, layout, record, d_rows); });
  return d_rows;
}

}  // namespace tinkex::torch_ext::local
