#include <algorithm>
#include <span>
#include <tuple>
#include <vector>

#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/pack.h"
#include "tinkex/wire/proto_codec.h"
#include "tinkex/wire/proto_schema.h"
#include "tinkex/wire/proto_writer.h"

namespace tinkex::wire::proto {
namespace {

// One field of an ArrayRecord: the same output of consecutive datums, joined.
struct Column {
  std::string_view name;
  DType wire;
  Shape trailing_shape;
  std::vector<std::int64_t> offsets;  ///< In bytes, one more than datums.
};

// Consecutive datums whose outputs agree in type and trailing shape; others go into the next one.
struct Record {
  std::size_t first;
  std::size_t count;
  std::vector<Column> columns;
};

bool fits(const Record& record, const NamedTensors& datum) {
  return std::all_of(record.columns.begin(), record.columns.end(), [&datum](const Column& column) {
    const TensorData& tensor = *find(datum, column.name);
    return wire_dtype(tensor) == column.wire && tensor.shape().trailing() == column.trailing_shape;
  });
}

Record start_record(std::size_t first, const NamedTensors& datum) {
  Record record{first, 0, {}};
  for (const auto& [name, tensor] : datum) {
    record.columns.push_back({name, wire_dtype(tensor), tensor.shape().trailing(), {0}});
  }
  return record;
}

// check_output has made sure that all datums have the same names.
std::vector<Record> make_records(const std::vector<NamedTensors>& outputs) {
  std::vector<Record> records;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (records.empty() || !fits(records.back(), outputs[i])) {
      records.push_back(start_record(i, outputs[i]));
    }
    Record& record = records.back();
    ++record.count;
    for (Column& column : record.columns) {
      const TensorData& tensor = *find(outputs[i], column.name);
      const std::size_t bytes = tensor.size() * size_of(column.wire);
      column.offsets.push_back(column.offsets.back() + static_cast<std::int64_t>(bytes));
    }
  }
  return records;
}

std::size_t data_size(const Column& column) {
  return static_cast<std::size_t>(column.offsets.back());
}

std::size_t batched_size(const Column& column) {
  const std::size_t trailing =
      column.trailing_shape.empty() ? 0 : bytes_field_size(packed_size(column.trailing_shape));
  return optional_bytes_size(data_size(column)) +
         bytes_field_size(as_bytes(column.offsets).size()) +
         integer_field_size(dtype_code(column.wire)) + trailing;
}

std::size_t column_size(const Column& column) {
  return bytes_field_size(column.name.size()) + bytes_field_size(batched_size(column));
}

std::size_t record_size(const Record& record) {
  std::size_t size = integer_field_size(record.count);
  for (const Column& column : record.columns) size += bytes_field_size(column_size(column));
  return size;
}

std::size_t metric_size(const std::string& name) {
  return bytes_field_size(name.size()) + kDoubleFieldSize;
}

void write_column(const Column& column, std::span<const NamedTensors> datums, Writer& out) {
  out.open(array_record::kFields, column_size(column));
  out.bytes(entry::kKey, column.name);
  out.open(entry::kValue, batched_size(column));
  if (data_size(column) > 0) {
    out.open(batched_tensor::kData, data_size(column));
    for (const NamedTensors& datum : datums) {
      const TensorData& tensor = *find(datum, column.name);
      pack(tensor, column.wire, out.skip(tensor.size() * size_of(column.wire)));
    }
  }
  out.bytes(batched_tensor::kOffsets, as_bytes(column.offsets));
  out.integer(batched_tensor::kDType, dtype_code(column.wire));
  if (!column.trailing_shape.empty()) {
    out.packed(batched_tensor::kTrailingShape, column.trailing_shape);
  }
}

void write_record(const Record& record, const std::vector<NamedTensors>& outputs, Writer& out) {
  const auto datums = std::span(outputs).subspan(record.first, record.count);
  out.open(output::kLossFnOutputs, record_size(record));
  for (const Column& column : record.columns) write_column(column, datums, out);
  out.integer(array_record::kNumDatums, record.count);
}

std::size_t sequence_size(const SampledSequence& sequence) {
  const bool is_length = sequence.stop_reason == StopReason::kLength;
  return (is_length ? integer_field_size(stop_reason::kLength) : 0) +
         optional_bytes_size(as_bytes(sequence.tokens).size()) +
         optional_bytes_size(as_bytes(sequence.logprobs).size());
}

void write_sequence(const SampledSequence& sequence, Writer& out) {
  out.open(sample::kSequences, sequence_size(sequence));
  if (sequence.stop_reason == StopReason::kLength) {
    out.integer(sequence::kStopReason, stop_reason::kLength);
  }
  out.optional_bytes(sequence::kTokens, as_bytes(sequence.tokens));
  out.optional_bytes(sequence::kLogprobs, as_bytes(sequence.logprobs));
}

// The rectangle that the wire wants: short rows are padded.
struct TopkTable {
  std::vector<std::int32_t> token_ids;
  std::vector<float> logprobs;
  std::size_t k = 0;
  std::size_t length = 0;
};

TopkTable make_table(const std::vector<std::vector<TokenLogprob>>& rows) {
  TopkTable table;
  table.length = rows.size();
  // A table of empty rows still has a width, else its length would be lost.
  table.k = rows.empty() ? 0 : 1;
  for (const auto& row : rows) table.k = std::max(table.k, row.size());
  table.token_ids.assign(table.length * table.k, topk::kPaddingToken);
  table.logprobs.assign(table.length * table.k, topk::kPaddingLogprob);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < rows[i].size(); ++j) {
      std::tie(table.token_ids[i * table.k + j], table.logprobs[i * table.k + j]) = rows[i][j];
    }
  }
  return table;
}

std::size_t table_size(const TopkTable& table) {
  return bytes_field_size(as_bytes(table.token_ids).size()) +
         bytes_field_size(as_bytes(table.logprobs).size()) + integer_field_size(table.k) +
         integer_field_size(table.length);
}

void write_table(const TopkTable& table, Writer& out) {
  out.open(sample::kTopkPromptLogprobs, table_size(table));
  out.bytes(topk::kTokenIds, as_bytes(table.token_ids));
  out.bytes(topk::kLogprobs, as_bytes(table.logprobs));
  out.integer(topk::kK, table.k);
  out.integer(topk::kLength, table.length);
}

std::size_t sample_size(const SampleResponse& response, const TopkTable& table) {
  const auto hits = static_cast<std::uint64_t>(response.prompt_cache_hit_tokens);
  std::size_t size = optional_bytes_size(as_bytes(response.prompt_logprobs).size()) +
                     (table.length > 0 ? bytes_field_size(table_size(table)) : 0) +
                     (hits > 0 ? integer_field_size(hits) : 0);
  for (const SampledSequence& sequence : response.sequences) {
    size += bytes_field_size(sequence_size(sequence));
  }
  return size;
}

}  // namespace

void encode_output(const ForwardBackwardOutput& output, ByteBuffer& body) {
  check_output(output);
  const std::vector<Record> records = make_records(output.loss_fn_outputs);
  std::size_t size = optional_bytes_size(output.loss_fn_output_type.size());
  for (const Record& record : records) size += bytes_field_size(record_size(record));
  for (const auto& [name, value] : output.metrics) size += bytes_field_size(metric_size(name));

  Writer out(begin_message(size, body));
  out.optional_bytes(output::kLossFnOutputType, output.loss_fn_output_type);
  for (const Record& record : records) write_record(record, output.loss_fn_outputs, out);
  for (const auto& [name, value] : output.metrics) {
    out.open(output::kMetrics, metric_size(name));
    out.bytes(entry::kKey, name);
    out.real(entry::kValue, value);
  }
}

void encode_sample_response(const SampleResponse& response, ByteBuffer& body) {
  check_sample_response(response);
  const TopkTable table = make_table(response.topk_prompt_logprobs);
  Writer out(begin_message(sample_size(response, table), body));
  for (const SampledSequence& sequence : response.sequences) write_sequence(sequence, out);
  out.optional_bytes(sample::kPromptLogprobs, as_bytes(response.prompt_logprobs));
  if (table.length > 0) write_table(table, out);
  if (response.prompt_cache_hit_tokens > 0) {
    out.integer(sample::kPromptCacheHitTokens,
                static_cast<std::uint64_t>(response.prompt_cache_hit_tokens));
  }
}

}  // namespace tinkex::wire::proto
