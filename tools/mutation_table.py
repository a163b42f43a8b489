"""What tools/mutations takes out, one at a time, and the test that must notice.

A row: what is taken out; the edits, each a file, a text that occurs in it exactly once, and the text
in its place; the test target; the test, as GoogleTest's filter names it.
"""

STRAND = "//tests/tinkex/training:strand_test"
FUTURE = "//tests/tinkex/async:future_test"
POLL = "//tests/tinkex/async:poll_loop_test"
SESSION = "//tests/tinkex/async:session_poll_test"
BATCH = "//tests/tinkex/training:parallel_batch_test"
RETRY = "//tests/tinkex/retry:retry_loop_test"
TIMEOUTS = "//tests/tinkex/http:timeouts_test"
CLASSIFY = "//tests/tinkex/retry:classify_test"
LIMITER = "//tests/tinkex/limits:rate_limiter_test"
SLOTS = "//tests/tinkex/limits:slot_table_test"
COMBINE = "//tests/tinkex/training:combine_test"
TRAINING = "//tests/tinkex:training_client_test"
TEMPLATES = "//tests/fuzz:chat_template_limits_test"

STRAND_CC = "tinkex/training/strand.cc"
BATCH_CC = "tinkex/training/parallel_batch.cc"
FUTURE_H = "tinkex/future.h"
CELL_H = "tinkex/result_cell.h"
RETRY_CC = "tinkex/retry/retry_loop.cc"
CURL_CC = "tinkex/http/curl_transfer.cc"
LIMITER_CC = "tinkex/limits/rate_limiter.cc"
SLOTS_H = "tinkex/limits/slot_table.h"

MUTATIONS = [
    ("a secret that holds another one is hidden before that",
     [("tinkex/base/text.cc", "return a.size() > b.size();", "return a.size() < b.size();")],
     CLASSIFY, "ErrorFromResponseTest.ASecretWithinALongerOneLeavesNothingOfThat"),
    ("send mutex",
     [(STRAND_CC, "      on_wire_ = true;\n", "")],
     STRAND, "StrandTest.T6_ChunksLeaveOneAtATimeInOrderAndGiveTheirIds"),
    ("send mutex is handed on after a failure before the send",
     [(STRAND_CC, "    on_reply(head, counted, error_from_current_exception()"
                  ".with_not_accepted(true));\n", "")],
     STRAND, "StrandTest.C3_ABodyThatCannotBeCompletedFreesTheWire"),
    ("a batch ends before the next one starts",
     [(STRAND_CC, "queue_.push_back(submission);", "queue_.push_front(submission);")],
     STRAND, "StrandTest.H6_ABatchIsNeverInterleavedWithAnotherOne"),
    ("sequence id taken at the start of the send",
     [(STRAND_CC, "    if (!group) submission->waiting.push_back(std::move(body));\n",
       "    submission->ids.push_back(next_seq_id_++);\n"
       "    submission->waiting.push_back(std::move(body));\n"),
      (STRAND_CC, "  std::deque<std::shared_ptr<ByteBuffer>> waiting;\n",
       "  std::deque<std::shared_ptr<ByteBuffer>> waiting;\n  std::deque<std::int64_t> ids;\n"),
      (STRAND_CC, "        seq_id = next_seq_id_++;\n",
       "        seq_id = head->ids.front();\n        head->ids.pop_front();\n")],
     STRAND, "StrandTest.T12_CancellingOnTheWireKeepsTheSequenceAndDropsTheRest"),
    ("an id of unknown outcome stays used",
     [(STRAND_CC, "if (reply.error().not_accepted()) --next_seq_id_;", "--next_seq_id_;")],
     STRAND, "StrandTest.Trap7_AnIdOfUnknownOutcomeIsNotUsedAgain"),
    ("an id that was not used is given back",
     [(STRAND_CC, "      if (reply.error().not_accepted()) --next_seq_id_;\n", "")],
     STRAND, "StrandTest.Trap7_AnIdThatNeverLeftIsGivenBack"),
    ("same id and same bytes on a retry",
     [(RETRY_CC, "  ++attempts_;\n",
       "  if (++attempts_ > 1) {\n"
       "    auto other = std::make_shared<ByteBuffer>();\n"
       "    other->append(request_.http.body->view());\n"
       "    other->push_back('0');  // another sequence id\n"
       "    request_.http.body = std::move(other);\n"
       "  }\n")],
     STRAND, "StrandTest.Trap7_ARepeatSendsTheSameIdAndTheSameBytes"),
    ("a failed chunk stops its batch",
     [(STRAND_CC, "      if (!head->error) head->error = std::move(reply).error();\n"
                  "      // It was given up while its last request was on the wire.\n"
                  "      if (doubtful) head->error = std::move(*head->error).with_not_accepted(false);\n"
                  "      drop_waiting(*head);\n", "      (void)doubtful;\n")],
     STRAND, "StrandTest.C3_AFailedChunkStopsTheBatchAndSaysWhatWasAccepted"),
    ("an aborted submission does not leave",
     [(STRAND_CC, "    submission->error = error;\n    drop_waiting(*submission);\n", "")],
     STRAND, "StrandTest.T12_ACancelledSubmissionThatWaitsNeverLeaves"),
    ("an aborted upload is broken off",
     [(STRAND_CC, "  if (sending) sending->withdraw();\n", "")],
     STRAND, "StrandTest.T12_AnAbortedUploadIsBrokenOffAndItsSequenceIdGivenBack"),
    ("what is withdrawn after a lost reply still learns what became of it",
     [("tinkex/retry/retry_loop.h", "return !outcome_unknown_.load(); }", "return true; }")],
     RETRY, "RetryLoopTest.T12_WithdrawnAfterALostReplyItGoesOnToLearnWhatBecameOfIt"),
    ("a save under a name that may be older is not told as done",
     [("tinkex/connection/saved_names.cc", "if (paths_.insert(path).second) ",
       "paths_.insert(path);\n  ")],
     "//tests/tinkex:training_faults_test",
     "TrainingFaultsTest.ASaveUnderANameThatMayBeOlderIsNotFoundToBeDone"),
    ("a conflict of sequences is not taken for a save that was done",
     [(RETRY_CC, "!speaks_of_a_sequence(reply, done.name)", "!done.name.empty()")],
     RETRY, "RetryLoopTest.AConflictThatIsNotAboutTheNameDoesNotMeanThatTheSaveWasDone"),
    ("a proxy's page is not taken for the API's word that it was done",
     [(RETRY_CC, "done.reply && is_in_json(reply) &&", "done.reply &&")],
     RETRY, "RetryLoopTest.AProxysWordThatNothingIsThereDoesNotMeanThatItWasDeleted"),
    ("a reply that keeps coming is not cut",
     [(CURL_CC, "    if (transfer.has_content_) transfer.extend_timeout();\n", "")],
     TIMEOUTS, "TimeoutsTest.AReplyThatKeepsComingMayTakeLongerThanTheTimeout"),
    ("blanks are no beginning of a reply",
     [(CURL_CC, "transfer.has_content_ || !trim", "true || !trim")],
     TIMEOUTS, "TimeoutsTest.AReplyOfBlanksIsNotOneThatHasBegun"),
    ("a reply that trickles does not last for ever",
     [(CURL_CC, "std::min(elapsed + timeout, latest)", "elapsed + timeout")],
     TIMEOUTS, "TimeoutsTest.AReplyThatOnlyTricklesIsGivenUp"),
    ("a body that keeps leaving is not cut",
     [(CURL_CC, "  transfer.sent_ += bytes;\n  transfer.extend_timeout();\n",
       "  transfer.sent_ += bytes;\n")],
     TIMEOUTS, "TimeoutsTest.ARequestThatKeepsLeavingMayTakeLongerThanTheTimeout"),
    ("a heartbeat goes on after a 404",
     [("tinkex/session/heartbeat.cc", "reply->status == 410", "reply->status / 100 == 4")],
     "//tests/tinkex/session:heartbeat_test",
     "HeartbeatTest.WhateverAProxyAnswersTheNextBeatFollows"),
    ("what is dropped gives its bytes back",
     [(STRAND_CC, "  for (const auto& body : submission.waiting) queued_bytes_ -= body->size();\n",
       "")],
     STRAND, "StrandTest.AnAbortedBatchGivesItsBytesBack"),
    ("what was accepted gives its bytes back",
     [(STRAND_CC, "    queued_bytes_ -= bytes;\n", "    (void)bytes;\n")],
     STRAND, "StrandTest.WhatWasAcceptedGivesItsBytesBack"),
    ("byte budget",
     [(STRAND_CC, "  return !starving_head;", "  (void)starving_head;\n  return false;")],
     STRAND, "StrandTest.TheByteBudgetMakesACallerWaitUntilAChunkIsAccepted"),
    ("the head of the queue passes the byte budget when it has nothing to send",
     [(STRAND_CC, "  return !starving_head;", "  (void)starving_head;\n  return true;")],
     STRAND, "StrandTest.TheHeadPassesTheByteBudgetWhenItHasNothingToSend"),
    ("who calls after the close does not wait for the byte budget",
     [(STRAND_CC, "!submission->error && !runtime_->closed.load() &&", "!submission->error &&")],
     STRAND, "StrandTest.WhoCallsAfterTheCloseDoesNotWaitForTheBudget"),
    ("results of accepted chunks are fetched after a failed send",
     [("tinkex/connection/remote_training.cc",
       "      auto polled = results_of(service, accepted, results, chunks);\n"
       "      if (failed) return;\n",
       "      if (failed) return;\n"
       "      auto polled = results_of(service, accepted, results, chunks);\n")],
     TRAINING, "TrainingClientTest.C3_AcceptedChunksOfAFailedBatchAreStillPolledToTheirEnd"),

    ("the first of the chunks that go side by side leaves last",
     [(BATCH_CC, "    if (on_wire_ > 0 || phase_ != Phase::kSending) return;\n",
       "    if (phase_ != Phase::kSending) return;\n")],
     BATCH, "ParallelBatchTest.H1_TheFirstChunkLeavesLastAndTheNextCallBehindIt"),
    ("an id between accepted ones is filled",
     [(BATCH_CC, "    if (!accepted_[i - 1]) gaps_.push_back("
                 "plan_.first_seq_id + static_cast<std::int64_t>(i - 1));\n", "")],
     BATCH, "ParallelBatchTest.C3_IdsBehindTheLastAcceptedChunkAreGivenBackAndTheOthersFilled"),
    ("an id that could not be closed is closed before anything else",
     [(STRAND_CC, "    for (const std::int64_t seq_id : outcome.open_ids) "
                  "open_ids_.push_back({seq_id, head});\n", "")],
     BATCH, "ParallelBatchTest.C3_AnIdThatCouldNotBeClosedIsClosedBeforeAnythingElse"),

    ("reply guard: an abandoned promise settles",
     [(FUTURE_H, "    if (cell_) cell_->set(Error(ErrorCode::kCancelled, "
                 "\"the operation was abandoned unfinished\"));\n", "")],
     FUTURE, "FutureTest.T12_AnAbandonedPromiseSettlesItsFuture"),
    ("reply guard: work that throws settles",
     [(FUTURE_H, "    cell.set(error_from_current_exception());\n", "    (void)cell;\n")],
     FUTURE, "FutureTest.T8_WhateverGuardedWorkThrowsSettlesTheCell"),
    ("reply guard: a continuation that throws settles",
     [("tinkex/error.h", "    return error_from_current_exception(thrower);\n  }\n}", "    throw;\n  }\n}")],
     FUTURE, "FutureTest.C2_AThrowingContinuationBecomesTheErrorOfTheNextFuture"),
    ("the first result stays",
     [(CELL_H, "      if (result_ || ended_) return false;\n      settle(", "      settle(")],
     FUTURE, "FutureTest.C2_TheFirstResultStays"),
    ("cancelling tells the producer",
     [(CELL_H, "      if (hook) hook();\n", "      (void)hook;\n")],
     FUTURE, "FutureTest.CancelSettlesAtOnceAndTellsTheProducer"),
    ("who waits goes on when the producer has been told",
     [(CELL_H, "      if (hook) hook();\n", "      self->finish(error_of(make_error));\n"),
      (CELL_H, "      CallDepth::run_behind([self, make_error] { self->finish(error_of(make_error)); });\n",
       "      if (hook) hook();\n")],
     FUTURE, "FutureTest.T12_WhoWaitsGoesOnWhenTheProducerHasBeenTold"),
    ("so it is at the end of a long chain",
     [(CELL_H, "      CallDepth::run_behind([self, make_error] { self->finish(error_of(make_error)); });\n",
       "      self->finish(error_of(make_error));\n")],
     FUTURE, "FutureTest.T12_AtTheEndOfALongChainTooTheProducerIsToldFirst"),
    ("a long chain of futures fits the stack",
     [("tinkex/base/call_depth.h", "    if (depth_ >= kMost && defer(call)) return;\n", "")],
     FUTURE, "FutureTest.T12_CancellingALongChainReachesItsBeginning"),
    ("waiting where the result must be made is refused",
     [(FUTURE_H,
       "return cell_->executor() != nullptr && cell_->executor()->is_worker_thread();",
       "return false;")],
     FUTURE, "FutureTest.WaitingOnAnExecutorThreadIsRefusedInsteadOfHanging"),
    ("a handle is not asked for ever where nobody can wait for it",
     [("torch_ext/ops/future_handle.h", "    if (seconds > 0) refuse_deadlock();\n", "")],
     "//tests/torch_ext:ops_test", "OpsTest.HandleThatWouldWaitForItselfSaysSoOnEveryThread"),
    ("combined futures stop at the first failure",
     [(FUTURE_H, "        if (all->set(settled.result().error())) cancel_rest();\n", "")],
     FUTURE, "WhenAllTest.T16_StopsAtTheFirstFailureAndCancelsTheRest"),
    ("combined futures keep the order",
     [(FUTURE_H, "        values.push_back(std::move(*cell->result()));",
       "        values.insert(values.begin(), std::move(*cell->result()));")],
     FUTURE, "WhenAllTest.H7_KeepsTheOrderWhateverComesFirst"),
    ("combined outputs keep the order of the chunks",
     [("tinkex/training/combine.cc", "              std::back_inserter(combined.loss_fn_outputs));",
       "              std::inserter(combined.loss_fn_outputs, "
       "combined.loss_fn_outputs.begin()));")],
     COMBINE, "CombineTest.T10_OutputsFollowTheOrderOfTheChunks"),
    ("a chunk answered for another number of datums is refused",
     [("tinkex/training/combine.cc",
       "    if (chunks[i].loss_fn_outputs.size() != sent[i].size()) {\n"
       "      return count_mismatch(i, chunks, sent[i].size());\n    }\n", "")],
     COMBINE, "CombineTest.T10_AChunkAnsweredForAnotherNumberOfDatumsIsRefused"),

    ("compare-and-swap maximum: compare",
     [(LIMITER_CC, "  while (current < wanted &&\n", "  while (\n")],
     LIMITER, "RateLimiterTest.S10_AShorterWindowNeverShortensALongerOne"),
    ("compare-and-swap maximum: swap",
     [(LIMITER_CC,
       "         !until_ns_.compare_exchange_weak(current, wanted, std::memory_order_relaxed)) {\n"
       "  }\n",
       "         current != wanted) {\n    until_ns_.store(wanted);\n    current = wanted;\n  }\n")],
     LIMITER, "RateLimiterTest.S10_NoConcurrentExtensionIsLost"),
    ("the window is looked at again after a wait",
     [(RETRY_CC, "    if (runtime().clock->now() < until) {\n",
       "    if (runtime().clock->now() < until) {\n      request_.wait_for_limiter = false;\n")],
     RETRY, "RetryLoopTest.S7_AWindowThatGrowsDuringTheWaitIsRespected"),
    ("a 429 sets the window",
     [(RETRY_CC, "    request_.limiter->extend_by(runtime().clock->now(),\n"
                 "                                std::min(delay, "
                 "request_.retry.max_retry_after));\n", "    (void)delay;\n")],
     RETRY, "RetryLoopTest.S10_A429SetsTheWindowAndTheNextRequestWaitsForIt"),
    ("one attempt means one request",
     [(RETRY_CC, "  if (budget.max_attempts <= 1) return "
                 "fail(std::move(error).with_retryable(true));\n", ""),
      (RETRY_CC, "attempts_ >= budget.max_attempts", "attempts_ > budget.max_attempts")],
     RETRY, "RetryLoopTest.S11_OneAttemptMeansOneRequestWhateverTheServerSays"),
    ("a user's mistake is not repeated",
     [("tinkex/retry/classify.cc",
       "  if (category == ErrorCategory::kUser) return RetryDecision::kGiveUp;\n", "")],
     CLASSIFY, "*H8_DecidesAsWritten*"),
    ("a server's hint comes first",
     [("tinkex/retry/classify.cc",
       "  if (equals_ignoring_case(hint, \"true\")) return RetryDecision::kRetry;\n", "")],
     CLASSIFY, "DecideTest.H8_Property_TheHintAlwaysWins"),

    ("polls take their turn oldest first",
     [("tinkex/async/poll_gate.cc",
       "      next.push_back(std::move(waiting_.front().first));\n      waiting_.pop_front();\n",
       "      next.push_back(std::move(waiting_.back().first));\n      waiting_.pop_back();\n")],
     POLL, "PollLoopTest.ThePollGateBoundsWhatIsOnTheWireAndServesTheOldestFirst"),
    ("polls in flight are bounded",
     [("tinkex/async/poll_gate.cc", "inside_ <= limit_ - weight);", "inside_ <= limit_);")],
     POLL, "PollLoopTest.ThePollGateBoundsWhatIsOnTheWireAndServesTheOldestFirst"),
    ("a server error is followed by a pause",
     [("tinkex/async/poll_loop.cc",
       "failed: \", error.message());\n  again_after(delay);\n",
       "failed: \", error.message());\n  again_after({});\n")],
     POLL, "PollLoopTest.H10_AServerErrorIsNeverAskedAgainWithoutAPause"),
    ("a request that is well does not hush what another one suffers from",
     [("tinkex/async/last_word.h",
       "    std::erase_if(words_, [speaker](const auto& word) { return word.first == speaker; });\n",
       "    (void)speaker;\n    words_.clear();\n")],
     POLL, "PollLoopTest.C3_AChunkThatIsWellDoesNotHushAnothersTrouble"),
    ("cancelling stops the poll on the wire",
     [("tinkex/async/step_chain.cc",
       "  if (const auto id = exchange_under_way()) runtime_->transport->cancel(*id);\n", "")],
     POLL, "PollLoopTest.CancelStopsAPollOnTheWire"),

    ("a future that is reported before its waiter comes is remembered",
     [("tinkex/async/session_poll.cc",
       "  if (!early_.emplace(request_id, bytes).second) return;\n",
       "  (void)bytes;\n")],
     SESSION, "SessionPollTest.AFutureThatIsReportedBeforeItsWaiterComesIsRemembered"),
    ("who gets an id that another waits for asks for itself",
     [("tinkex/async/session_poll.cc", " || waiting_.contains(request_id)", "")],
     SESSION, "SessionPollTest.T12_WhoGetsAnIdThatAnotherWaitsForAsksForItself"),

    ("a stale handle finds nothing",
     [(SLOTS_H,
       "    while (generation_of(word) == handle.generation && (word & kLive) != 0) {\n"
       "      if (slot.word.compare_exchange_weak(word, word + kOnePin,",
       "    while ((word & kLive) != 0) {\n"
       "      if (slot.word.compare_exchange_weak(word, word + kOnePin,")],
     SLOTS, "SlotTableTest.S3_AReusedSlotRefusesTheOldHandle"),
    ("an entry lives until its last reader leaves",
     [(SLOTS_H, "        if (pins_of(word) == 0) release(slot);", "        release(slot);")],
     SLOTS, "SlotTableTest.S12_TheEntryLivesUntilTheLastPinLeaves"),
    ("an added token is UTF-8",
     [("tinkex/tokenizers/added_tokens.cc",
       "  if (!internal::is_utf8(content)) return refuse(\"is not UTF-8\");\n", "")],
     "//tests/tinkex/tokenizers:gguf_vocabulary_test",
     "GgufVocabularyTest.WhatDoesNotFitIsRefused"),
    ("a line of a file has a longest length",
     [("torch_ext/jsonl.cc",
       "      if (length > longest_line_ - line_.size()) return too_long();\n", "")],
     "//tests/torch_ext:jsonl_test",
     "JsonlTest.ALineMayBeAsLongAsTheLimitAndNoLonger"),
    ("what is packed behind another is not asked for its first token",
     [("torch_ext/token_dataset.cc", "    weights_[first] = 0;\n", "    (void)first;\n")],
     "//tests/torch_ext:data_test", "PackedTest.WhatIsLearnedStaysTheSame"),
    ("what a text is searched for is spent for",
     [("tinkex/tokenizers/jinja/value.cc",
       "spend_text(bytes) && spend_text(wanted) && spend(compared / 64);",
       "spend_text(bytes) && spend(bytes / 64 * wanted);")],
     TEMPLATES, "LimitsTest.WhatIsStrippedIsSpentForThoughTheTextIsShort"),
    ("a namespace's name is spent for before it is copied",
     [("tinkex/tokenizers/jinja/functions.cc",
       "!run.spend_text(name.text()->size()) ||\n        ", "")],
     TEMPLATES, "LimitsTest.NamesOfANamespaceAreSpentFor"),
    ("a name is no loopback address",
     [("tinkex/base/host.h", "  in_addr v4{};\n",
       "  if (text.starts_with(\"127.\")) return true;\n  in_addr v4{};\n")],
     "//tests/tinkex/base:host_test", "HostTest.OnlyWholeAddressesAreLoopbackAddresses"),
]
