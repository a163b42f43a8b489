#include "tests/torch_ext/local/gguf_writer.h"

#include <initializer_list>
#include <span>
#include <utility>

namespace tinkex::torch_ext::local::testing {
namespace {

void pad(std::string& bytes, std::size_t alignment) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
}

}  // namespace

std::string raw_text(std::string_view text) {
  return raw(static_cast<std::uint64_t>(text.size())) + std::string(text);
}

GgufWriter& GgufWriter::value(std::string_view key, std::uint32_t kind, std::string_view bytes) {
  metadata_ += raw_text(key) + raw(kind) + std::string(bytes);
  ++metadata_entries_;
  return *this;
}

GgufWriter& GgufWriter::value(std::string_view key, GgufKind kind, std::string_view bytes) {
  return value(key, static_cast<std::uint32_t>(kind), bytes);
}

GgufWriter& GgufWriter::text(std::string_view key, std::string_view text) {
  return value(key, GgufKind::kText, raw_text(text));
}

GgufWriter& GgufWriter::uint32(std::string_view key, std::uint32_t number) {
  return value(key, GgufKind::kUint32, raw(number));
}

GgufWriter& GgufWriter::float32(std::string_view key, float number) {
  return value(key, GgufKind::kFloat32, raw(number));
}

GgufWriter& GgufWriter::array(std::string_view key, GgufKind element, std::uint64_t count,
                              std::string_view bytes) {
  return value(key, GgufKind::kArray,
               raw(static_cast<std::uint32_t>(element)) + raw(count) + std::string(bytes));
}

GgufWriter& GgufWriter::texts(std::string_view key, const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& each : texts) bytes += raw_text(each);
  return array(key, GgufKind::kText, texts.size(), bytes);
}

GgufWriter& GgufWriter::tensor(std::string_view name, std::vector<std::uint64_t> shape,
                               std::uint32_t type, std::string_view bytes,
                               std::optional<std::uint64_t> offset) {
  pad(data_, alignment);
  infos_ += raw_text(name) + raw(static_cast<std::uint32_t>(shape.size()));
  for (std::size_t i = shape.size(); i > 0; --i) infos_ += raw(shape[i - 1]);
  infos_ += raw(type) + raw(offset.value_or(data_.size()));
  data_ += bytes;
  ++tensors_;
  return *this;
}

GgufWriter& GgufWriter::counting_tensor(std::string_view name, std::vector<std::uint64_t> shape) {
  std::uint64_t elements = 1;
  for (const std::uint64_t extent : shape) elements *= extent;
  std::vector<float> numbers;
  for (std::uint64_t i = 1; i <= elements; ++i) numbers.push_back(static_cast<float>(i));
  return tensor(name, std::move(shape), 0, raw(numbers));
}

std::string GgufWriter::bytes() const {
  std::string file = magic + raw(version) + raw(tensor_count.value_or(tensors_)) +
                     raw(metadata_count.value_or(metadata_entries_)) + metadata_ + infos_;
  if (tensors_ > 0) pad(file, alignment);
  return file + data_;
}

Result<std::shared_ptr<const GgufFile>> parsed(std::string_view bytes) {
  const auto source = std::as_bytes(std::span(bytes));
  const auto copy = std::make_shared<std::vector<std::byte>>(source.begin(), source.end());
  return GgufFile::parse("test.gguf", *copy, copy);
}

GgufWriter tiny_llama() {
  GgufWriter file;
  file.text("general.architecture", "llama");
  for (const auto& [key, number] : std::initializer_list<std::pair<const char*, std::uint32_t>>{
           {"block_count", 1},
           {"context_length", 16},
           {"embedding_length", 8},
           {"feed_forward_length", 6},
           {"attention.head_count", 2},
           {"attention.head_count_kv", 1}}) {
    file.uint32(std::string("llama.") + key, number);
  }
  file.float32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  file.uint32("tokenizer.ggml.eos_token_id", 2);
  file.counting_tensor("token_embd.weight", {5, 8});
  file.counting_tensor("blk.0.attn_norm.weight", {8});
  file.counting_tensor("blk.0.attn_q.weight", {8, 8});
  file.counting_tensor("blk.0.attn_k.weight", {4, 8});
  file.counting_tensor("blk.0.attn_v.weight", {4, 8});
  file.counting_tensor("blk.0.attn_output.weight", {8, 8});
  file.counting_tensor("blk.0.ffn_norm.weight", {8});
  file.counting_tensor("blk.0.ffn_gate.weight", {6, 8});
  file.counting_tensor("blk.0.ffn_up.weight", {6, 8});
  file.counting_tensor("blk.0.ffn_down.weight", {8, 6});
  file.counting_tensor("output_norm.weight", {8});
  return file;
}

}  // namespace tinkex::torch_ext::local::testing
