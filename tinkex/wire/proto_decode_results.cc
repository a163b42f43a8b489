#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"
#include "tinkex/wire/boundary.h"
#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/proto_codec.h"
#include "tinkex/wire/proto_reader.h"
#include "tinkex/wire/proto_schema.h"

namespace tinkex::wire::proto {
namespace {

// A record without fields claims datums that take no bytes; a hostile claim must not fill the
// memory.
constexpr std::size_t kMaxEmptyDatums = std::size_t{1} << 16;

// A record's names stand once in the body and are copied for every datum.
constexpr std::size_t kMaxNameBytes = 256;

// One output of all datums of a record, still in the body.
struct PackedColumn {
  std::string name;
  std::string_view data;
  std::string_view offsets;
  std::int32_t dtype = 0;
  std::vector<std::int64_t> trailing_shape;
};

PackedColumn read_column(BytesEntry entry) {
  PackedColumn column;
  column.name = std::move(entry.key);
  if (column.name.size() > kMaxNameBytes) {
    fail_decode("loss_fn_outputs: the name " + internal::quoted(column.name) + " is longer than " +
                std::to_string(kMaxNameBytes) + " bytes");
  }
  Reader fields = make_reader(entry.value);
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(batched_tensor::kData): column.data = read_bytes(fields); break;
      case bytes_field(batched_tensor::kOffsets): column.offsets = read_bytes(fields); break;
      case varint_field(batched_tensor::kDType): column.dtype = fields.get_enum(); break;
      case bytes_field(batched_tensor::kTrailingShape):
        read_shape(fields, column.trailing_shape);
        break;
      case varint_field(batched_tensor::kTrailingShape):
        read_extent(fields, column.trailing_shape);
        break;
      default: fields.skip();
    }
  }
  return column;
}

// Where each datum's elements begin, counted in elements: one entry more than datums.
std::vector<std::size_t> element_bounds(const PackedColumn& column, const std::string& where) {
  const std::size_t element = packed_element_size(column.dtype, where);
  std::vector<std::size_t> bounds;
  std::int64_t last = 0;
  for (const std::int64_t offset : unpack<std::int64_t>(column.offsets, where)) {
    const bool is_first = bounds.empty();
    if (offset < last || (is_first && offset != 0) ||
        static_cast<std::uint64_t>(offset) > column.data.size() ||
        static_cast<std::size_t>(offset) % element != 0) {
      fail_decode(where + ": offset " + std::to_string(offset) + " at " +
                  std::to_string(bounds.size()) + "; offsets must begin with 0, not decrease, be " +
                  "multiples of " + std::to_string(element) + " and end within the " +
                  std::to_string(column.data.size()) + " bytes of data");
    }
    bounds.push_back(static_cast<std::size_t>(offset) / element);
    last = offset;
  }
  return bounds;
}

// The elements of all datums in one block that the slices share.
struct SharedValues {
  DType dtype;
  std::shared_ptr<const void> owner;
  const std::byte* data;
};

template <class T>
SharedValues share_values(std::vector<T> values, DType dtype) {
  auto owner = std::make_shared<const std::vector<T>>(std::move(values));
  const auto* data = reinterpret_cast<const std::byte*>(owner->data());
  return {dtype, std::move(owner), data};
}

/// Of elements that keep their type: unlike a vector, the block is not filled with zeros first.
template <class T>
SharedValues copy_block(std::string_view bytes, DType dtype) {
  const auto owner = std::make_shared_for_overwrite<T[]>(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(owner.get(), bytes.data(), bytes.size());
  return {dtype, owner, reinterpret_cast<const std::byte*>(owner.get())};
}

SharedValues copy_values(const PackedColumn& column, std::size_t elements,
                         const std::string& where) {
  const std::string_view bytes =
      column.data.substr(0, elements * packed_element_size(column.dtype, where));
  if (column.dtype == dtype::kFloat32) return copy_block<float>(bytes, DType::kFloat32);
  if (column.dtype == dtype::kInt64) return copy_block<std::int64_t>(bytes, DType::kInt64);
  Values values = unpack_values(bytes, column.dtype, where);
  return values.dtype == DType::kFloat32 ? share_values(std::move(values.floats), values.dtype)
                                         : share_values(std::move(values.ints), values.dtype);
}

// The shapes of the datums' parts of one column.
class PartShape {
 public:
  PartShape(Shape trailing, const std::string& where) : where_(where), shape_{0} {
    const std::optional<std::size_t> row = element_count(trailing);
    if (!row || trailing.size() == kMaxDimensions) {
      fail_decode(where + ": impossible trailing_shape " + internal::shape_text(trailing));
    }
    row_ = *row;
    shape_.insert(shape_.end(), trailing.begin(), trailing.end());
  }

  // Valid until the next one.
  Shape of(std::size_t elements) {
    if (row_ == 0 ? elements != 0 : elements % row_ != 0) {
      fail_decode(where_ + ": " + std::to_string(elements) +
                  " elements cannot have trailing_shape " +
                  internal::shape_text(Shape(shape_).subspan(1)));
    }
    shape_.front() = row_ == 0 ? 0 : static_cast<std::int64_t>(elements / row_);
    return shape_;
  }

 private:
  const std::string& where_;
  std::size_t row_ = 0;
  std::vector<std::int64_t> shape_;
};

void add_column(const PackedColumn& column, std::span<NamedTensors> datums) {
  const std::string where = "loss_fn_outputs field " + internal::quoted(column.name);
  const std::vector<std::size_t> bounds = element_bounds(column, where);
  if (bounds.size() != datums.size() + 1 && !(bounds.empty() && datums.empty())) {
    fail_decode(where + ": " + std::to_string(bounds.size()) + " offsets for " +
                std::to_string(datums.size()) + " datums, expected one more than datums");
  }
  const SharedValues values = copy_values(column, bounds.empty() ? 0 : bounds.back(), where);
  if (datums.empty()) return;
  PartShape shape(column.trailing_shape, where);
  for (std::size_t i = 0; i < datums.size(); ++i) {
    const std::byte* begin = values.data + bounds[i] * size_of(values.dtype);
    datums[i].emplace_back(column.name, TensorData::share(values.owner, begin, values.dtype,
                                                          shape.of(bounds[i + 1] - bounds[i])));
  }
}

// num_datums is left out by some servers; then the first field tells.
std::size_t count_datums(std::int64_t num_datums, const std::vector<PackedColumn>& columns,
                         std::size_t before) {
  if (num_datums < 0) fail_decode("loss_fn_outputs: num_datums is negative");
  if (!columns.empty()) {
    const std::size_t offsets = columns.front().offsets.size() / sizeof(std::int64_t);
    const std::size_t from_offsets = offsets == 0 ? 0 : offsets - 1;
    if (num_datums == 0) return from_offsets;
    // Each datum needs an offset, so a larger claim than the data allows ends here.
    if (static_cast<std::uint64_t>(num_datums) != from_offsets) {
      fail_decode("loss_fn_outputs: num_datums is " + std::to_string(num_datums) + " but field " +
                  internal::quoted(columns.front().name) + " has " + std::to_string(offsets) +
                  " offsets, expected one more than datums");
    }
  } else if (static_cast<std::uint64_t>(num_datums) + before > kMaxEmptyDatums) {
    fail_decode("loss_fn_outputs: more than " + std::to_string(kMaxEmptyDatums) +
                " datums without any field");
  }
  return static_cast<std::size_t>(num_datums);
}

void add_packed_column(PackedColumn column, std::vector<PackedColumn>& columns) {
  for (PackedColumn& other : columns) {
    if (other.name == column.name) {
      other = std::move(column);
      return;
    }
  }
  if (columns.size() == kMaxNamedTensors) {
    fail_decode("loss_fn_outputs: a record has more than " + std::to_string(kMaxNamedTensors) +
                " fields");
  }
  columns.push_back(std::move(column));
}

void read_record(Reader fields, std::vector<NamedTensors>& outputs) {
  std::vector<PackedColumn> columns;
  std::int64_t num_datums = 0;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(array_record::kFields):
        add_packed_column(read_column(read_bytes_entry(fields)), columns);
        break;
      case varint_field(array_record::kNumDatums): num_datums = fields.get_int64(); break;
      default: fields.skip();
    }
  }
  const std::size_t before = outputs.size();
  const std::size_t count = count_datums(num_datums, columns, before);
  outputs.resize(before + count);
  for (const PackedColumn& column : columns) {
    add_column(column, std::span(outputs).subspan(before, count));
  }
}

// Servers put a path before the name, as in `a:b:ArrayRecord`, or leave it out.
std::string output_type(std::string raw, bool has_records) {
  const std::size_t colon = has_records ? raw.rfind(':') : std::string::npos;
  if (colon != std::string::npos) raw.erase(0, colon + 1);
  return raw.empty() ? "ArrayRecord" : raw;
}

StopReason to_stop_reason(std::int32_t code) {
  switch (code) {
    case stop_reason::kStop: return StopReason::kStop;
    case stop_reason::kLength: return StopReason::kLength;
    default: break;
  }
  fail_decode("unknown stop_reason code " + std::to_string(code) +
              ", expected 0 (stop) or 1 (length)");
}

SampledSequence read_sequence(Reader fields) {
  SampledSequence sequence;
  sequence.stop_reason = StopReason::kStop;  // the default of the wire, which leaves it out
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case varint_field(sequence::kStopReason):
        sequence.stop_reason = to_stop_reason(fields.get_enum());
        break;
      case bytes_field(sequence::kTokens):
        sequence.tokens = unpack<std::int32_t>(read_bytes(fields), "sequence.tokens");
        break;
      case bytes_field(sequence::kLogprobs):
        sequence.logprobs = unpack<float>(read_bytes(fields), "sequence.logprobs");
        break;
      default: fields.skip();
    }
  }
  if (!sequence.logprobs.empty() && sequence.logprobs.size() != sequence.tokens.size()) {
    fail_decode("a sequence has " + std::to_string(sequence.tokens.size()) + " tokens but " +
                std::to_string(sequence.logprobs.size()) + " logprobs");
  }
  return sequence;
}

struct PackedTable {
  std::vector<std::int32_t> token_ids;
  std::vector<float> logprobs;
  std::uint32_t k = 0;
  std::uint32_t length = 0;
};

PackedTable read_table(Reader fields) {
  PackedTable table;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(topk::kTokenIds):
        table.token_ids = unpack<std::int32_t>(read_bytes(fields), "topk.token_ids");
        break;
      case bytes_field(topk::kLogprobs):
        table.logprobs = unpack<float>(read_bytes(fields), "topk.logprobs");
        break;
      case varint_field(topk::kK): table.k = fields.get_uint32(); break;
      case varint_field(topk::kLength): table.length = fields.get_uint32(); break;
      default: fields.skip();
    }
  }
  const std::uint64_t cells = std::uint64_t{table.k} * table.length;
  if (cells != 0 && (table.token_ids.size() != cells || table.logprobs.size() != cells)) {
    fail_decode("topk: " + std::to_string(table.length) + " rows of " + std::to_string(table.k) +
                " need as many token_ids and logprobs, got " +
                std::to_string(table.token_ids.size()) + " and " +
                std::to_string(table.logprobs.size()));
  }
  return table;
}

std::vector<std::vector<TokenLogprob>> to_rows(const PackedTable& table) {
  if (table.k == 0) return {};
  std::vector<std::vector<TokenLogprob>> rows(table.length);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t begin = i * table.k;
    const auto is_padding = [&](std::size_t cell) {
      return table.token_ids[cell] == topk::kPaddingToken &&
             table.logprobs[cell] == topk::kPaddingLogprob;
    };
    std::size_t end = is_padding(begin) ? begin : begin + table.k;
    while (end > begin && is_padding(end - 1)) --end;
    for (std::size_t cell = begin; cell < end; ++cell) {
      rows[i].emplace_back(table.token_ids[cell], table.logprobs[cell]);
    }
  }
  return rows;
}

}  // namespace

ForwardBackwardOutput decode_output(std::string_view body) {
  ForwardBackwardOutput output;
  std::string type;
  bool has_records = false;
  Reader fields = make_reader(body);
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(output::kLossFnOutputType): type = read_text(fields); break;
      case bytes_field(output::kLossFnOutputs):
        read_record(fields.get_message(), output.loss_fn_outputs);
        has_records = true;
        break;
      case bytes_field(output::kMetrics): {
        DoubleEntry entry = read_double_entry(fields);
        output.metrics[std::move(entry.key)] = entry.value;
        break;
      }
      default: fields.skip();
    }
  }
  output.loss_fn_output_type = output_type(std::move(type), has_records);
  return output;
}

SampleResponse decode_sample_response(std::string_view body) {
  SampleResponse response;
  Reader fields = make_reader(body);
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(sample::kSequences):
        response.sequences.push_back(read_sequence(fields.get_message()));
        break;
      case bytes_field(sample::kPromptLogprobs):
        response.prompt_logprobs = unpack<float>(read_bytes(fields), "prompt_logprobs");
        break;
      case bytes_field(sample::kTopkPromptLogprobs):
        response.topk_prompt_logprobs = to_rows(read_table(fields.get_message()));
        break;
      case varint_field(sample::kPromptCacheHitTokens):
        response.prompt_cache_hit_tokens = fields.get_int32();
        break;
      default: fields.skip();
    }
  }
  return response;
}

}  // namespace tinkex::wire::proto
