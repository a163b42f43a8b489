#include "tinkex/tokenizers/bpe_model.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tinkex/base/random.h"
#include "tinkex/tokenizers/byte_alphabet.h"

namespace tinkex::tokenizers {
namespace {

using Ids = std::vector<std::int64_t>;

/// Tokens for the letters, and for what the merges make of them, in this order.
std::vector<TokenEntry> entries_of(const std::string& letters, const BpeRules& rules) {
  std::vector<TokenEntry> entries;
  const auto add = [&entries](const std::string& text) {
    for (const TokenEntry& entry : entries) {
      if (entry.text == text) return;
    }
    entries.push_back({text, static_cast<TokenId>(entries.size()), true});
  };
  for (const char letter : letters) add(std::string(1, letter));
  for (const auto& [left, right] : rules.merges) add(left + right);
  return entries;
}

class BpeModelTest : public testing::Test {
 protected:
  /// The tokens of a word, with a bar between them.
  std::string tokens(const std::string& letters, const BpeRules& rules, const std::string& word) {
    Result<TokenTable> table = TokenTable::create(entries_of(letters, rules));
    if (!table) return table.error().message();
    const Result<BpeModel> model = BpeModel::create(*table, rules);
    if (!model) return model.error().message();
    Ids ids;
    model->encode(word, scratch_, ids);
    std::string text;
    for (const std::int64_t id : ids) text += (text.empty() ? "" : "|") + table->find(id)->text;
    return text;
  }

  BpeModel::Scratch scratch_;
};

TEST_F(BpeModelTest, TheEarliestMergeGoesFirst) {
  EXPECT_EQ(tokens("abc", {.merges = {{"b", "c"}, {"a", "b"}}}, "abc"), "a|bc");
  EXPECT_EQ(tokens("abc", {.merges = {{"a", "b"}, {"b", "c"}}}, "abc"), "ab|c");
}

TEST_F(BpeModelTest, OfEqualMergesTheLeftmostGoesFirst) {
  EXPECT_EQ(tokens("a", {.merges = {{"a", "a"}}}, "aaaaa"), "aa|aa|a");
  EXPECT_EQ(tokens("a", {.merges = {{"a", "a"}, {"aa", "aa"}}}, "aaaaaaa"), "aaaa|aa|a");
}

TEST_F(BpeModelTest, AnEmptyWordHasNoTokens) { EXPECT_EQ(tokens("a", {}, ""), ""); }

TEST_F(BpeModelTest, ALaterRowForThePairCounts) {
  const BpeRules rules{.merges = {{"a", "b"}, {"b", "c"}, {"a", "b"}}};
  EXPECT_EQ(tokens("abc", rules, "abc"), "a|bc");
}

TEST_F(BpeModelTest, IgnoreMergesTakesAWordThatIsAToken) {
  BpeRules rules{.merges = {{"b", "c"}, {"a", "b"}, {"ab", "c"}}};
  EXPECT_EQ(tokens("abc", rules, "abc"), "a|bc");
  rules.ignore_merges = true;
  EXPECT_EQ(tokens("abc", rules, "abc"), "abc");
  EXPECT_EQ(tokens("abc", rules, "abcc"), "a|bc|c");
}

TEST_F(BpeModelTest, BytesThatTheVocabularyLacksAreLeftOutOrUnknown) {
  BpeRules rules{.merges = {{"a", "b"}}};
  EXPECT_EQ(tokens("abu", rules, "axb"), "ab");
  rules.unknown_token = "u";
  EXPECT_EQ(tokens("abu", rules, "axxb"), "a|u|u|b");
  EXPECT_EQ(tokens("abu", rules, "xxbx"), "u|u|b|u");
  rules.fuse_unknown = true;
  EXPECT_EQ(tokens("abu", rules, "axxb"), "a|u|b");
  EXPECT_EQ(tokens("abu", rules, "xxbx"), "u|b|u");
  rules.unknown_token = "v";
  EXPECT_EQ(tokens("abu", rules, "a"),
            "unk_token 'v' is needed, as the vocabulary lacks bytes, and is not in it");
}

TEST_F(BpeModelTest, MergesOfWhatIsNotInTheVocabularyAreRefused) {
  const auto problem = [](std::vector<TokenEntry> entries, const BpeRules& rules) {
    const Result<TokenTable> table = TokenTable::create(std::move(entries));
    const Result<BpeModel> model = BpeModel::create(*table, rules);
    EXPECT_FALSE(model.ok());
    EXPECT_EQ(model.error().code(), ErrorCode::kIo);
    return model.error().message();
  };
  const std::vector<TokenEntry> two = {{"a", 0}, {"b", 1}};
  EXPECT_EQ(problem(two, {.merges = {{"a", "b"}}}),
            "merge 0, 'a' and 'b': their whole is not in the vocabulary");
  EXPECT_EQ(problem(two, {.merges = {{"a", "c"}}}), "merge 0, 'a' and 'c': not in the vocabulary");
  const std::vector<TokenEntry> empty = {{"a", 0}, {"", 1}};
  EXPECT_EQ(problem(empty, {.merges = {{"a", ""}}}), "merge 0, 'a' and '': one is empty");
  const std::vector<TokenEntry> added = {{"a", 0}, {"b", 1}, {"ab", 2, /*in_model=*/false}};
  EXPECT_EQ(problem(added, {.merges = {{"a", "b"}}}),
            "merge 0, 'a' and 'b': their whole is not in the vocabulary");
}

TEST(TokenTableTest, TextsAndIdsAreThereOnceAndHaveFewHoles) {
  const auto problem = [](std::vector<TokenEntry> entries) {
    const Result<TokenTable> table = TokenTable::create(std::move(entries));
    return table.ok() ? "" : table.error().message();
  };
  EXPECT_EQ(problem({{"a", 0}, {"b", 60'000}}), "");
  EXPECT_EQ(problem({{"a", 0}, {"b", 0}}), "tokens 'a' and 'b' have the same id 0");
  EXPECT_EQ(problem({{"a", 0}, {"a", 1}}), "token 'a' is there twice");
  EXPECT_EQ(problem({{"a", 0}, {"b", 70'000}}),
            "token 'b' has the id 70000, which is too high for 2 tokens");
  EXPECT_EQ(problem({{"a", UINT32_MAX}}),
            "token 'a' has the id 4294967295, which is too high for 1 tokens");
}

/// The textbook: of all neighbours merge the earliest pair, leftmost, until there is none.
Ids merged_slowly(const TokenTable& table, const BpeRules& rules, const std::string& word) {
  std::vector<std::string> parts;
  for (const char letter : word) parts.emplace_back(1, letter);
  std::map<std::pair<std::string, std::string>, std::size_t> ranks;
  for (std::size_t i = 0; i < rules.merges.size(); ++i) ranks[rules.merges[i]] = i;
  while (true) {
    std::size_t best = rules.merges.size();
    std::size_t where = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto rank = ranks.find({parts[i], parts[i + 1]});
      if (rank == ranks.end() || rank->second >= best) continue;
      best = rank->second;
      where = i;
    }
    if (best == rules.merges.size()) break;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(table.find(part)->id);
  return ids;
}

TEST(BpeModelPropertyTest, AgreesWithTheTextbook) {
  internal::RandomSource random(17);
  BpeModel::Scratch scratch;
  for (int round = 0; round < 60; ++round) {
    BpeRules rules;
    std::vector<std::string> known = {"a", "b", "c"};
    for (int i = 0; i < 40; ++i) {
      const std::string left = known[random.next() % known.size()];
      const std::string right = known[random.next() % known.size()];
      rules.merges.emplace_back(left, right);
      if (left.size() + right.size() < 8) known.push_back(left + right);
    }
    const Result<TokenTable> table = TokenTable::create(entries_of("abc", rules));
    ASSERT_TRUE(table.ok());
    const Result<BpeModel> model = BpeModel::create(*table, rules);
    ASSERT_TRUE(model.ok());
    for (int i = 0; i < 100; ++i) {
      std::string word;
      const std::size_t length = random.next() % 60;
      while (word.size() < length) word += static_cast<char>('a' + random.next() % 3);
      Ids ids;
      model->encode(word, scratch, ids);
      ASSERT_EQ(ids, merged_slowly(*table, rules, word)) << word;
    }
  }
}

TEST(BpeModelPropertyTest, AMegabyteInOneWordTakesNoQuadraticTime) {
  const BpeRules rules{.merges = {{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}};
  const Result<TokenTable> table = TokenTable::create(entries_of("a", rules));
  ASSERT_TRUE(table.ok());
  const Result<BpeModel> model = BpeModel::create(*table, rules);
  ASSERT_TRUE(model.ok());
  BpeModel::Scratch scratch;
  Ids ids;
  model->encode(std::string(1'000'001, 'a'), scratch, ids);
  EXPECT_EQ(ids.size(), 125'001u);
}

}  // namespace
}  // namespace tinkex::tokenizers
