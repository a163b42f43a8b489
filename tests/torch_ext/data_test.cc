#include "torch_ext/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <fstream>
#include <limits>

#include "torch_ext/seeded_order.h"
#include "torch_ext/seeded_sampler.h"

namespace tinkex::torch_ext {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using Lists = std::vector<std::vector<std::int64_t>>;

template <class T>
std::vector<T> values(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  return {dense.data_ptr<T>(), dense.data_ptr<T>() + dense.numel()};
}

/// Sequence i is {10 i, 10 i + 1, ...}, of length 2 + i % 3.
Lists sequences(std::int64_t count) {
  Lists lists;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < 2 + i % 3; ++j) {
      if (j == 0) lists.emplace_back();
      lists.back().push_back(10 * i + j);
    }
  }
  return lists;
}

TokenBatch collate(TokenDataset& dataset, std::vector<std::size_t> indices,
                   Reduction reduction = Reduction::kMean) {
  return Collate(reduction).apply_batch(dataset.get_batch(indices));
}

template <class T>
std::string message(const Result<T>& result) {
  if (result.ok()) return "no error";
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
  return result.error().message();
}

std::string temporary(const std::string& name, const std::string& content) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(TokenDatasetTest, ABatchIsShiftedByOne) {
  auto dataset = TokenDataset::from_tokens({{1, 2, 3}, {4, 5}}, {{9, 0, 1}, {9, 3}}).value();
  const TokenBatch batch = collate(dataset, {1, 0});
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch.token_count(), 3);
  EXPECT_THAT(values<std::int64_t>(batch.tokens[0]), ElementsAre(4));
  EXPECT_THAT(values<std::int64_t>(batch.targets[0]), ElementsAre(5));
  EXPECT_THAT(values<std::int64_t>(batch.tokens[1]), ElementsAre(1, 2));
  EXPECT_THAT(values<std::int64_t>(batch.targets[1]), ElementsAre(2, 3));
  EXPECT_THAT(values<float>(batch.weights[0]), ElementsAre(0.75F));
  EXPECT_THAT(values<float>(batch.weights[1]), ElementsAre(0, 0.25F));
}

TEST(TokenDatasetTest, WeightsOfASumAreThoseOfTheDataset) {
  auto dataset = TokenDataset::from_tokens({{1, 2, 3}}, {{0, 2, 5}}).value();
  const TokenBatch batch = collate(dataset, {0}, Reduction::kSum);
  EXPECT_THAT(values<float>(batch.weights[0]), ElementsAre(2, 5));
  collate(dataset, {0}, Reduction::kMean);  // Leaves the dataset as it was.
  EXPECT_THAT(values<float>(dataset.get(0).weights), ElementsAre(0, 2, 5));
}

TEST(TokenDatasetTest, NegativeWeightsCountByTheirSizeInAMean) {
  auto dataset = TokenDataset::from_tokens({{1, 2, 3}}, {{0, 3, -1}}).value();
  EXPECT_THAT(values<float>(collate(dataset, {0}).weights[0]), ElementsAre(0.75F, -0.25F));
}

TEST(TokenDatasetTest, ABatchWithNothingToLearnHasNoNaN) {
  auto dataset = TokenDataset::from_tokens({{1, 2}, {3, 4}}, {{0, 0}, {0, 1}}).value();
  EXPECT_THAT(values<float>(collate(dataset, {0}).weights[0]), ElementsAre(0));
}

TEST(TokenDatasetTest, TensorsOfAnyIntegerDtypeGiveTheSameAsLists) {
  const std::vector<torch::Tensor> tokens{
      torch::tensor({1, 2, 3}, torch::kInt32),
      torch::tensor({{4, 0}, {5, 0}}, torch::kInt64).select(1, 0)};
  const std::vector<torch::Tensor> weights{torch::tensor({false, false, true}),
                                           torch::tensor({0.0, 0.5}, torch::kBFloat16)};
  auto dataset = TokenDataset::from_tensors(tokens, weights).value();
  EXPECT_THAT(values<std::int64_t>(dataset.get(0).tokens), ElementsAre(1, 2, 3));
  EXPECT_THAT(values<std::int64_t>(dataset.get(1).tokens), ElementsAre(4, 5));
  EXPECT_THAT(values<float>(dataset.get(0).weights), ElementsAre(0, 0, 1));
  EXPECT_THAT(values<float>(dataset.get(1).weights), ElementsAre(0, 0.5F));
}

TEST(TokenDatasetTest, BadListsAreNamedByIndex) {
  const auto tokens = [](const Lists& lists) { return message(TokenDataset::from_tokens(lists)); };
  EXPECT_THAT(tokens({}), HasSubstr("tokens is empty"));
  EXPECT_THAT(tokens({{1, 2}, {3}}), HasSubstr("tokens[1] has 1 token ids, expected at least 2"));
  EXPECT_THAT(tokens({{1, 2}, {3, -4}}),
              HasSubstr("tokens[1][1] is -4, expected a token id from 0"));
  EXPECT_THAT(tokens({{1, std::int64_t{1} << 31}}), HasSubstr("tokens[0][1] is 2147483648"));
  const auto weights = [](const std::vector<std::vector<float>>& lists) {
    return message(TokenDataset::from_tokens({{1, 2}, {3, 4}}, lists));
  };
  EXPECT_THAT(weights({{1, 1}}), HasSubstr("weights has 1 sequences but tokens has 2"));
  EXPECT_THAT(weights({{1, 1}, {1, 1, 1}}),
              HasSubstr("weights[1] has 3 elements but tokens[1] has 2"));
  EXPECT_THAT(weights({{1, 1}, {1, std::numeric_limits<float>::quiet_NaN()}}),
              HasSubstr("weights[1][1] is nan"));
  EXPECT_THAT(weights({{1, 0}, {1, 0}}), HasSubstr("weights are 0"));
}

TEST(TokenDatasetTest, BadTensorsAreNamedByIndex) {
  const torch::Tensor good = torch::tensor({1, 2});
  const auto tokens = [&](const torch::Tensor& bad) {
    return message(TokenDataset::from_tensors({good, bad}));
  };
  EXPECT_THAT(tokens({}), HasSubstr("tokens[1]"));
  EXPECT_THAT(tokens(torch::ones({2})), HasSubstr("tokens[1] has dtype float32"));
  EXPECT_THAT(tokens(torch::ones({2, 2}, torch::kLong)), HasSubstr("tokens[1] has 2 dimensions"));
  EXPECT_THAT(tokens(torch::ones({2}, at::TensorOptions(at::kMeta).dtype(at::kLong))),
              HasSubstr("tokens[1]"));
  EXPECT_THAT(message(TokenDataset::from_tensors({good}, {torch::ones({2, 1})})),
              HasSubstr("weights[0] has 2 dimensions"));
  EXPECT_THAT(message(TokenDataset::from_tensors({good}, {torch::Tensor()})),
              HasSubstr("weights[0]"));
  const torch::Tensor trained = torch::ones({2}, torch::requires_grad());
  EXPECT_THAT(message(TokenDataset::from_tensors({good}, {trained})),
              HasSubstr("weights[0] requires a gradient, but none flows through"));
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(TokenDataset::from_tensors({good}, {trained}).ok());
}

TEST(PackedTest, NeighboursShareASequenceWhileTheyFit) {
  auto dataset = TokenDataset::from_tokens(sequences(5)).value();  // Lengths 2, 3, 4, 2, 3.
  auto packed = dataset.packed(6).value();
  ASSERT_EQ(packed.size(), 2u + 1u);
  EXPECT_THAT(values<std::int64_t>(packed.get(0).tokens), ElementsAre(0, 1, 10, 11, 12));
  EXPECT_THAT(values<std::int64_t>(packed.get(1).tokens), ElementsAre(20, 21, 22, 23, 30, 31));
  EXPECT_THAT(values<std::int64_t>(packed.get(2).tokens), ElementsAre(40, 41, 42));
  EXPECT_EQ(packed.token_count(), dataset.token_count());
  EXPECT_EQ(packed.longest(), 6);
}

TEST(PackedTest, WhatIsLearnedStaysTheSame) {
  auto dataset = TokenDataset::from_tokens(sequences(5)).value();
  auto packed = dataset.packed(100).value();
  ASSERT_EQ(packed.size(), 1u);
  // No sequence is asked for the first token of the one behind it.
  EXPECT_THAT(values<float>(packed.get(0).weights),
              ElementsAre(0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1));
}

TEST(PackedTest, ASequenceThatIsTooLongByItselfIsNamed) {
  const auto dataset = TokenDataset::from_tokens(sequences(5)).value();
  EXPECT_THAT(message(dataset.packed(3)),
              HasSubstr("example 2 has 4 tokens, expected at most max_tokens, which is 3"));
  EXPECT_THAT(message(dataset.packed(0)), HasSubstr("max_tokens is 0, expected at least 1"));
}

TEST(FromJsonlTest, LinesBecomeSequencesWithTheirWeights) {
  const auto path =
      temporary("a.jsonl", "{\"prompt\": \"ab\", \"completion\": \"c\"}\n{\"text\": \"d\"}\n");
  auto dataset = TokenDataset::from_jsonl(path, ByteTokenizer()).value();
  ASSERT_EQ(dataset.size(), 2u);
  EXPECT_THAT(values<std::int64_t>(dataset.get(0).tokens), ElementsAre(256, 'a', 'b', 'c', 257));
  EXPECT_THAT(values<float>(dataset.get(0).weights), ElementsAre(0, 0, 0, 1, 1));
  EXPECT_THAT(values<std::int64_t>(dataset.get(1).tokens), ElementsAre(256, 'd', 257));
  EXPECT_EQ(dataset.cut(), 0u);
}

TEST(FromJsonlTest, WhatIsTooLongIsCutAndWhatThenTeachesNothingIsDropped) {
  const auto path = temporary("b.jsonl",
                              "{\"text\": \"abcdef\"}\n{\"prompt\": \"abcdef\", \"completion\": "
                              "\"g\"}\n{\"text\": \"a\"}\n");
  auto dataset = TokenDataset::from_jsonl(path, ByteTokenizer(), {.max_tokens = 4}).value();
  ASSERT_EQ(dataset.size(), 2u);
  EXPECT_THAT(values<std::int64_t>(dataset.get(0).tokens), ElementsAre(256, 'a', 'b', 'c'));
  EXPECT_EQ(dataset.cut(), 2u);
  EXPECT_EQ(dataset.dropped(), 1u);
  EXPECT_THAT(message(TokenDataset::from_jsonl(path, ByteTokenizer(), {.max_tokens = 1})),
              HasSubstr("b.jsonl: no example has anything to learn from within max_tokens"));
}

TEST(FromJsonlTest, MessagesAreWrittenByTheTemplateThatIsGiven) {
  const auto path = temporary(
      "c.jsonl",
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})");
  const auto chat = ChatTemplate::parse(
      "{% for m in messages %}{{ m.role[0] }}{{ m.content }};{% endfor %}"
      "{% if add_generation_prompt %}a{% endif %}",
      "", "");
  auto dataset = TokenDataset::from_jsonl(
                     path, ByteTokenizer(),
                     {.chat_template = std::make_shared<const ChatTemplate>(chat.value())})
                     .value();
  EXPECT_THAT(values<std::int64_t>(dataset.get(0).tokens),
              ElementsAre('u', 'q', ';', 'a', 'a', ';'));
  EXPECT_THAT(values<float>(dataset.get(0).weights), ElementsAre(0, 0, 0, 0, 1, 1));
  EXPECT_THAT(message(TokenDataset::from_jsonl(path, ByteTokenizer())),
              HasSubstr("c.jsonl:1: field 'messages' needs a chat template"));
}

TEST(PadTest, ABatchIsPaddedBehindAndUnpaddedAgain) {
  auto dataset = TokenDataset::from_tokens({{1, 2, 3}, {4, 5}}).value();
  const TokenBatch batch = collate(dataset, {0, 1});
  const PaddedBatch padded = pad(batch, 99);
  EXPECT_TRUE(padded.tokens.equal(torch::tensor({{1, 2}, {4, 99}})));
  EXPECT_TRUE(padded.targets.equal(torch::tensor({{2, 3}, {5, -100}})));
  EXPECT_TRUE(padded.mask.equal(torch::tensor({{true, true}, {true, false}})));
  EXPECT_EQ(padded.weights[1][1].item<float>(), 0);
  const auto rows = unpad(padded.targets, padded.mask).value();
  ASSERT_EQ(rows.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_TRUE(rows[i].equal(batch.targets[i])) << i;
}

TEST(PadTest, RowsKeepFurtherDimensionsAndTheGradient) {
  const torch::Tensor values_of_rows = torch::ones({2, 3, 2}, torch::requires_grad());
  const torch::Tensor mask = torch::tensor({{false, true, true}, {true, false, false}});
  const auto rows = unpad(values_of_rows, mask).value();
  EXPECT_EQ(rows[0].sizes(), (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(rows[1].sizes(), (std::vector<std::int64_t>{1, 2}));
  (rows[0].sum() + 3 * rows[1].sum()).backward();
  EXPECT_TRUE(values_of_rows.grad().select(2, 0).equal(
      torch::tensor({{0.0F, 1.0F, 1.0F}, {3.0F, 0.0F, 0.0F}})));
}

TEST(PadTest, AMaskOfOtherSizesIsRefused) {
  const torch::Tensor mask = torch::ones({2, 3}, torch::kBool);
  EXPECT_EQ(message(unpad(torch::ones({2, 2}), mask)),
            "padded has sizes [2, 2], expected it to begin with those of mask, [2, 3]");
  EXPECT_EQ(message(unpad(torch::ones({2, 3}), torch::ones({2, 3}))),
            "mask is a tensor of float32 [2, 3], expected bool [B, T], such as PaddedBatch::mask");
  EXPECT_THAT(message(unpad({}, mask)), HasSubstr("padded is undefined"));
  EXPECT_THAT(message(unpad(torch::ones({2, 3}), {})), HasSubstr("mask is undefined"));
}

/// The first token of every sequence, batch after batch, as a loader gives them.
std::vector<std::vector<std::int64_t>> loaded(TokenDataset& dataset, const SeededSampler& sampler,
                                              std::size_t workers, int epochs) {
  auto loader = torch::data::make_data_loader(
      dataset.map(Collate()), sampler,
      torch::data::DataLoaderOptions().batch_size(7).workers(workers));
  std::vector<std::vector<std::int64_t>> batches;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    for (TokenBatch& batch : *loader) {
      batches.emplace_back();
      for (const torch::Tensor& tokens : batch.tokens) {
        batches.back().push_back(tokens[0].item<std::int64_t>());
      }
    }
  }
  return batches;
}

TEST(DataLoaderTest, WorkersChangeNothingInTheOrder) {
  auto dataset = TokenDataset::from_tokens(sequences(100)).value();
  const auto alone = loaded(dataset, SeededSampler(100, 7), 0, 3);
  EXPECT_EQ(loaded(dataset, SeededSampler(100, 7), 4, 3), alone);
  std::vector<std::int64_t> flat;
  for (const auto& batch : alone) flat.insert(flat.end(), batch.begin(), batch.end());
  ASSERT_EQ(flat.size(), 300u);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    const auto order = seeded_order(100, 7, epoch);
    for (std::size_t i = 0; i < 100; ++i) {
      EXPECT_EQ(flat[100 * epoch + i], static_cast<std::int64_t>(10 * order[i]));
    }
  }
}

TEST(DataLoaderTest, AResumedLoaderGivesTheRestOfTheEpoch) {
  auto dataset = TokenDataset::from_tokens(sequences(100)).value();
  const auto whole = loaded(dataset, SeededSampler(100, 7), 2, 2);
  SeededSampler done(100, 7);
  done.advance(5 * 7);
  const auto rest = loaded(dataset, done, 2, 2);
  EXPECT_EQ(rest, std::vector(whole.begin() + 5, whole.end()));
}

TEST(DataLoaderTest, AnErrorInAWorkerKeepsItsMessage) {
  auto dataset = TokenDataset::from_tokens(sequences(10)).value();
  try {
    loaded(dataset, SeededSampler(20, 7), 2, 1);
    FAIL() << "a sampler of another size went unnoticed";
  } catch (const torch::data::WorkerException& error) {
    EXPECT_THAT(error.what(), HasSubstr("but there are 10; make the sampler with"));
    EXPECT_THROW(std::rethrow_exception(error.original_exception), Error);
  }
  EXPECT_THROW(loaded(dataset, SeededSampler(20, 7), 0, 1), Error);
}

TEST(DataLoaderTest, ABatchIsWhatATrainingClientTakes) {
  auto dataset = TokenDataset::from_tokens({{1, 2, 3}, {4, 5}}).value();
  const TokenBatch batch = collate(dataset, {0, 1});
  const auto datums = batch.datums().value();
  ASSERT_EQ(datums.size(), 2u);
  EXPECT_EQ(datums[0].loss_fn_inputs.at(0).first, "target_tokens");
  EXPECT_EQ(datums[0].loss_fn_inputs.at(1).first, "weights");
  EXPECT_EQ(datums[0].loss_fn_inputs.at(0).second.size(), 2u);
}

}  // namespace
}  // namespace tinkex::torch_ext
