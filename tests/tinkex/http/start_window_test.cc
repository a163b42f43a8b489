#include "tinkex/http/start_window.h"

#include <gtest/gtest.h>

#include <vector>

namespace tinkex::internal {
namespace {

using std::chrono::milliseconds;
using TimePoint = StartWindow::TimePoint;

constexpr TimePoint kBegin{std::chrono::seconds(1)};

/// Starts as many as it may.
std::vector<std::uint64_t> fill(StartWindow& window, TimePoint now) {
  std::vector<std::uint64_t> tickets;
  while (window.is_open(now)) tickets.push_back(window.start(now));
  return tickets;
}

TEST(StartWindowTest, ABurstStartsAFewAndEachEndLetsOneMoreStart) {
  StartWindow window(1'000);
  const auto tickets = fill(window, kBegin);
  EXPECT_EQ(tickets.size(), StartWindow::kMaxYoung);
  window.end(tickets[10]);
  EXPECT_EQ(fill(window, kBegin + milliseconds(1)).size(), 1u);
  for (const auto ticket : {tickets[0], tickets[1], tickets.back()}) window.end(ticket);
  EXPECT_EQ(fill(window, kBegin + milliseconds(1)).size(), 3u);
}

TEST(StartWindowTest, WhatTheServerHoldsMakesRoomAfterAMomentUpToTheLimit) {
  StartWindow window(100);
  fill(window, kBegin);
  EXPECT_EQ(window.opens_at(), kBegin + StartWindow::kYoung);
  EXPECT_FALSE(window.is_open(kBegin + StartWindow::kYoung - milliseconds(1)));
  EXPECT_EQ(fill(window, kBegin + StartWindow::kYoung).size(), 36u);
  EXPECT_EQ(window.opens_at(), std::nullopt) << "only an end can open it";
  EXPECT_FALSE(window.is_open(kBegin + milliseconds(1'000)));
}

TEST(StartWindowTest, TheEndOfOneThatGrewOldFreesAConnectionAndNothingElse) {
  StartWindow window(StartWindow::kMaxYoung + 1);
  const auto old = fill(window, kBegin);
  const TimePoint later = kBegin + StartWindow::kYoung;
  EXPECT_EQ(fill(window, later).size(), 1u);
  for (const auto ticket : old) window.end(ticket);
  EXPECT_EQ(fill(window, later).size(), StartWindow::kMaxYoung - 1);
}

}  // namespace
}  // namespace tinkex::internal
