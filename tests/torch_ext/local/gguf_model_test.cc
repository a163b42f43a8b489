// The same model in a GGUF and in a safetensors file: see testdata/make_gguf.py.

#include "torch_ext/local/gguf_model.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kLlama[] = "tests/torch_ext/local/testdata/llama.gguf";
constexpr char kSafetensors[] = "tests/torch_ext/local/testdata/models/llama/model.safetensors";

TEST(GgufModelTest, EveryWeightIsWhereHuggingFaceHasIt) {
  const GgufModel model = GgufModel::open(kLlama).value();
  const SafetensorsFile expected = SafetensorsFile::open(kSafetensors).value();
  EXPECT_EQ(model.names().size(), 21U);
  for (const std::string& name : model.names()) {
    ASSERT_TRUE(expected.contains(name)) << name;
    const at::Tensor own = model.read(name).value();
    EXPECT_EQ(own.scalar_type(), at::ScalarType::Float) << name;
    EXPECT_TRUE(at::equal(own, expected.read(name).value())) << name;
  }
}

TEST(GgufModelTest, AMissingWeightIsNamed) {
  const GgufModel model = GgufModel::open(kLlama).value();
  EXPECT_FALSE(model.contains("model.norm.bias"));
  const auto tensor = model.read("model.norm.bias");
  ASSERT_FALSE(tensor);
  EXPECT_THAT(tensor.error().message(), HasSubstr("weight 'model.norm.bias' is missing"));
}

TEST(GgufModelTest, AFileThatIsCutOffWhileItIsReadIsAnError) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "cut.gguf";
  std::filesystem::copy_file(kLlama, path, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  const GgufModel model = GgufModel::open(path).value();
  std::filesystem::resize_file(path, 100);
  EXPECT_GT(model.file()->texts("tokenizer.ggml.tokens").value().size(), 0U);
  for (const char* name : {"model.norm.weight", "model.layers.0.self_attn.q_proj.weight"}) {
    const auto tensor = model.read(name);
    ASSERT_FALSE(tensor) << name;
    EXPECT_EQ(tensor.error().code(), ErrorCode::kIo);
    EXPECT_THAT(tensor.error().message(),
                AllOf(HasSubstr("cut.gguf': has 100 bytes by now, expected at least"),
                      HasSubstr(name[6] == 'n' ? "tensor 'output_norm.weight'"
                                               : "tensor 'blk.0.attn_q.weight'")));
  }
}

TEST(GgufModelTest, ASafetensorsFileThatIsCutOffWhileItIsReadIsAnError) {
  const std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) / "cut.safetensors";
  std::filesystem::copy_file(kSafetensors, path, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  const SafetensorsFile file = SafetensorsFile::open(path).value();
  std::filesystem::resize_file(path, 100);
  const auto tensor = file.read("model.norm.weight");
  ASSERT_FALSE(tensor);
  EXPECT_THAT(tensor.error().message(),
              AllOf(HasSubstr("tensor 'model.norm.weight': '"),
                    HasSubstr("cut.safetensors': has 100 bytes by now, expected at least")));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
