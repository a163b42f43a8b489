// Supervised fine-tuning through the Tinker API: a language model learns from examples.
//
// Read it from `main` upwards, or `train` first: it is the whole loop. In short:
//
//   auto connection = connect().value();  // to a server, or to one in this process
//   auto& service = connection.service;
//   auto trainer = service.create_lora_training_client("tinkex/tiny").get().value();
//   TokenBatch batch = make_batch(examples, tokenizer);
//   auto loss = trainer.forward_backward(batch.datums().value(), tinkex::loss::kCrossEntropy);
//   auto step = trainer.optim_step({.learning_rate = 1e-4});  // both are on their way
//   double sum = loss.get().value().metrics.at("loss:sum");
//
// Results carry their errors. `value()` throws them, and `main` reports them in one place.

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/announce.h"
#include "examples/support/batch.h"
#include "examples/support/checkup.h"
#include "examples/support/files.h"
#include "examples/support/interrupt.h"
#include "examples/support/loss_curve.h"
#include "examples/support/merge.h"
#include "examples/support/metrics_log.h"
#include "examples/support/options.h"
#include "examples/support/patience.h"
#include "examples/support/progress.h"
#include "examples/support/report.h"
#include "examples/support/run_folder.h"
#include "examples/support/sampling.h"
#include "examples/support/schedule.h"
#include "examples/support/setup.h"
#include "examples/support/superseded.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/metrics_tensor.h"
#include "torch_ext/programs/callers_directory.h"
#include "torch_ext/programs/streams.h"

namespace {

using tinkex::Future;
using tinkex::TrainingClient;
using namespace tinkex::torch_ext::programs;  // NOLINT(google-build-using-namespace): this is one.
using namespace sft;  // NOLINT(google-build-using-namespace): this example's own helpers.

/// A step whose requests have left, and whose results will arrive.
struct PendingStep {
  std::int64_t number;  ///< Counts from 1.
  std::int64_t tokens;
  double learning_rate;
  Future<tinkex::ForwardBackwardOutput> gradient;
  Future<tinkex::OptimStepResponse> update;
  std::optional<Future<tinkex::SaveWeightsResponse>> saved;  ///< Of the model after this step.
  std::optional<std::string> checkpoint;                     ///< The same when it is there.
};

/// What a run works with.
struct Workshop {
  TrainingClient trainer;
  const Task& task;
  const tinkex::Tokenizer& tokenizer;
  tinkex::ServiceClient& service;
};

/// What goes along with the training.
struct Training {
  RunFolder& run;
  MetricsLog& log;
  SupersededCheckpoints& superseded;
  ProgressDisplay& display;
  Patience& patience;
  std::optional<PendingStep> unproven = std::nullopt;  ///< Saved, and perhaps ruined.
};

/// Ends a run whose model is worth nothing any more.
struct Ruined {
  tinkex::Error why;
};

/// Sends one step: a batch of tensors becomes Datums, then gradients, then an update.
PendingStep submit_step(Workshop& shop, const Plan& plan, std::int64_t step) {
  const Batch batch = make_batch(shop.task.batch(step, plan.batch_size), shop.tokenizer);

  // Datums borrow the tensors' memory: nothing is copied here.
  const std::vector<tinkex::Datum> datums = batch.datums().value();

  tinkex::AdamParams adam;
  adam.learning_rate = Schedule{plan.learning_rate, plan.steps}.learning_rate(step);
  adam.grad_clip_norm = 1.0;

  // Two requests back to back. Neither waits for the network; the tensors may go at once.
  Future<tinkex::ForwardBackwardOutput> gradient =
      shop.trainer.forward_backward(datums, tinkex::loss::kCrossEntropy);
  Future<tinkex::OptimStepResponse> update = shop.trainer.optim_step(adam);
  return {.number = step + 1,
          .tokens = batch.token_count(),
          .learning_rate = adam.learning_rate,
          .gradient = std::move(gradient),
          .update = std::move(update),
          .saved = std::nullopt,
          .checkpoint = std::nullopt};
}

/// Sends a request to save the model as it will be after `step`, for what was sent before is done
/// before. The name is new, so that no save spoils the checkpoint that is recorded.
Future<tinkex::SaveWeightsResponse> submit_save(Workshop& shop, std::int64_t step) {
  return shop.trainer.save_state(kOnTheWay + std::to_string(step));
}

/// Whose fault a loss is that is no number. `first`: of this process.
const char* blame(std::int64_t step, bool first) {
  if (step == 1) return ", and no update came before; the model or --data is at fault";
  return first ? "; the checkpoint that the run goes on from is ruined, or --data is at fault"
               : "; lower --learning-rate";
}

/// The weights sum to 1, so the sum is a mean. Throws Ruined if it is not finite. `first`: of this
/// process.
double loss_of(const tinkex::ForwardBackwardOutput& output, std::int64_t step, bool first) {
  for (const auto& [name, metric] : tinkex::torch_ext::metrics_to_tensors(output.metrics)) {
    if (name != "loss:sum") continue;
    const double loss = metric.item<double>();
    if (std::isfinite(loss)) return loss;
    const std::string is =
        "the loss of step " + std::to_string(step) + " is " + std::to_string(loss);
    throw Ruined{tinkex::Error(tinkex::ErrorCode::kRequestFailed, is + blame(step, first))
                     .with_category(tinkex::ErrorCategory::kUser)};
  }
  throw tinkex::Error(tinkex::ErrorCode::kDecode,
                      "the server's metrics have no loss:sum; it does not speak the Tinker API");
}

/// The result of a save behind an update that failed, which is worth little time.
tinkex::Result<tinkex::SaveWeightsResponse> wait_briefly(
    Future<tinkex::SaveWeightsResponse> saved) {
  if (!saved.wait_for(std::chrono::seconds(10))) saved.cancel();
  return std::move(saved).get();
}

/// Waits for a step and gives its loss. What was saved after it is noted first, for it is of no use
/// where that loss, or what comes next, ends the run.
double finish_step(PendingStep& step, Training& training) {
  const std::string name = "step " + std::to_string(step.number);
  Patience& patience = training.patience;
  const auto output = patience.wait_for(std::move(step.gradient), name);
  if (!output) step.update.cancel();
  const auto update = patience.wait_for(std::move(step.update), "the update of " + name);
  std::optional<tinkex::Result<tinkex::SaveWeightsResponse>> saved;
  if (step.saved) {
    saved = update ? patience.wait_for(*std::move(step.saved), "the checkpoint of " + name)
                   : wait_briefly(*std::move(step.saved));
    if (*saved) training.run.expect((*saved)->path).value();
  }
  const double loss = loss_of(output.value(), step.number, step.number == training.run.step() + 1);
  update.value();
  if (saved) step.checkpoint = saved->value().path;
  return loss;
}

/// Looks at the model after the last step, of which no loss of a step tells. Throws Ruined if that
/// step has ruined it: then it is not recorded. Where nobody can tell, it is, and the checkpoint
/// before it stays.
void check_model(Workshop& shop, Training& training, std::int64_t done) {
  const RunFolder& run = training.run;
  const Batch batch = make_batch(shop.task.batch(done, run.plan.batch_size), shop.tokenizer);
  const std::vector<tinkex::Datum> datums = batch.datums().value();
  const auto pass = training.patience.wait_for(
      shop.trainer.forward(datums, tinkex::loss::kCrossEntropy), "a look at the model");
  const Checkup checkup = examine(pass, datums, run.plan.base_url.empty());
  if (checkup.health == Health::kRuined) {
    throw Ruined{tinkex::Error(tinkex::ErrorCode::kRequestFailed,
                               "step " + std::to_string(done) +
                                   " has ruined the model (lower --learning-rate): " + checkup.why)
                     .with_category(tinkex::ErrorCategory::kUser)};
  }
  if (checkup.health == Health::kSound) return;
  training.superseded.keep();
  say_unchecked(run, done, checkup.why);
}

/// Trains until the last step or Ctrl-C, SIGTERM or SIGHUP, and saves on the way. Gives the steps
/// that the model has taken.
std::int64_t train(Workshop& shop, Training& training, std::int64_t last_step,
                   std::int64_t save_every) {
  RunFolder& run = training.run;
  ProgressDisplay& display = training.display;
  std::optional<PendingStep> previous;
  std::optional<PendingStep>& unproven = training.unproven;
  const auto record = [&] {
    if (!unproven) return;
    run.save(unproven->number, *unproven->checkpoint).value();
    unproven.reset();
    training.superseded.remove();  // Only now: the record names the newer one.
    display.saved();
  };
  const auto finish_previous = [&] {
    if (!previous) return;
    PendingStep step = *std::exchange(previous, std::nullopt);
    const double loss = finish_step(step, training);
    const tinkex::Status logged = training.log.append(
        {step.number, loss, step.learning_rate, step.tokens, display.seconds()});
    display.show(step.number, loss, step.tokens, /*with_a_save=*/step.checkpoint.has_value());
    record();  // That loss is of the model that was saved: it has not gone astray.
    if (step.checkpoint) unproven = std::move(step);
    logged.value();  // Not before: a log that cannot be written condemns no checkpoint.
  };

  // While the server computes a step, the next is prepared and sent: it never waits for us.
  std::int64_t done = run.step();
  while (done < last_step && stop_signal() == 0) {
    PendingStep next = submit_step(shop, run.plan, done++);
    finish_previous();
    if (done % save_every == 0 && done < last_step) next.saved = submit_save(shop, done);
    previous = std::move(next);
  }
  const bool trained = previous.has_value();
  finish_previous();
  display.finish();
  if (trained) check_model(shop, training, done);
  record();
  return done;
}

/// Saves the model as it is after `done` steps. One that was stopped is on its way still: what it
/// saves in its folder goes when it has gone on. On a server it takes no room here, and stays: a
/// copy of the folder, or another program, may need it.
void save_model(Workshop& shop, Training& training, std::int64_t done) {
  RunFolder& run = training.run;
  const bool goes = done != run.plan.steps && run.plan.base_url.empty();
  const std::string name = (goes ? kOnTheWay : "step-") + std::to_string(done);
  const std::string path =
      training.patience.wait_for(shop.trainer.save_state(name), "the checkpoint").value().path;
  if (const tinkex::Status recorded = run.save(done, path); !recorded)
    throw tinkex::Error(recorded.error()).with_context(path + " is saved, but not recorded");
  training.superseded.remove();
}

/// Whether what is recorded is the model after `done` steps, and remains if the run goes on.
bool is_saved(const RunFolder& run, std::int64_t done) {
  return run.saved() && run.step() == done && (run.plan.base_url.empty() || !run.checkpoint_goes());
}

/// For a run that fails before anything is recorded, by no fault of the model that was saved:
/// better to go on from that than from nowhere. Of a step that has failed itself it is worth
/// nothing.
void rescue(Training& training) {
  if (!training.unproven) return training.superseded.remove_unrecorded();
  const std::string& path = *training.unproven->checkpoint;
  if (!training.run.save(training.unproven->number, path))
    std::fprintf(stderr, "sft: %s is saved, but not recorded\n", path.c_str());
}

/// Trains and saves. `gives_up` is of Patience.
void train_and_save(Workshop& shop, RunFolder& run, std::int64_t last_step, std::int64_t save_every,
                    std::chrono::milliseconds gives_up) {
  const auto log = MetricsLog::open(run.file("metrics.jsonl"), run.step()).value();
  SupersededCheckpoints superseded(shop.service, run);
  ProgressDisplay display(run.step(), run.plan.steps);
  const auto say = [&](const std::string& text) {
    display.finish();
    std::fprintf(stderr, "sft: %s\n", text.c_str());
  };
  Patience patience(say, gives_up);
  Training training{run, *log, superseded, display, patience};
  try {
    const std::int64_t begun = run.step(), done = train(shop, training, last_step, save_every);
    const bool nothing_new = run.saved() && done == begun;
    if (!nothing_new && !is_saved(run, done)) save_model(shop, training, done);
  } catch (const Ruined& ruined) {
    superseded.remove_unrecorded();
    throw ruined.why;
  } catch (...) {
    if (!run.saved()) rescue(training);
    throw;
  }
  write_file(run.file("loss.svg"),
             draw_loss_curve(log->losses(), show_text(shop.task.description(), 74)))
      .value();
}

/// Shows what the training of this process has changed, unless it is to stop before that is known.
void show_results(Workshop& shop, const Answers& before) {
  if (shop.task.prompts().empty() || stop_signal() != 0) return;
  auto texts = sample(shop.trainer, shop.task, shop.tokenizer);
  if (!texts) return;
  const Answers after{"after", *std::move(texts)};
  std::printf("\n%s\n", compare(shop.task.prompts(), before, after).c_str());
  std::printf("After:   %s\n", score(shop.task.prompts(), after.texts).c_str());
}

/// What the model says at the beginning. A run that is resumed has learnt already.
Answers sample_before(Workshop& shop, const RunFolder& run) {
  const std::string step = std::to_string(run.step());
  if (shop.task.prompts().empty()) return {};  // As was said about the data.
  auto texts = sample(shop.trainer, shop.task, shop.tokenizer);
  if (!texts) return {};
  std::printf("%s  %s\n\n", run.resumed() ? ("At step " + step + ":").c_str() : "Before:",
              score(shop.task.prompts(), *texts).c_str());
  return {run.resumed() ? "step " + step : "before", *std::move(texts)};
}

/// Trains, shows the results and merges the model if asked to; gives the exit code. What fails is
/// preceded by how to go on from what was saved.
int train_to_the_end(Workshop& shop, RunFolder& run, const Options& options,
                     const tinkex::torch_ext::Connection& connection,
                     const tinkex::torch_ext::ConnectOptions& where) {
  const std::int64_t steps = run.plan.steps;
  const std::int64_t last_step =
      options.stop_after > 0 ? std::min(steps, run.step() + options.stop_after) : steps;
  Ending ending{.merge = options.merge};
  tinkex::Status merged = tinkex::ok_status();
  const auto gives_up =
      connection.embedded ? std::chrono::milliseconds(0) : shop.service.options().max_poll_failing;
  try {
    const Answers before = sample_before(shop, run);
    train_and_save(shop, run, last_step, save_interval(options.save_every, steps), gives_up);
    show_results(shop, before);
    ending.signal = stop_signal();
    if (options.merge && run.done() && ending.signal == 0) merged = merge(connection, run);
    ending.signal = stop_signal();  // A merge is not stopped half-way, but the program was told.
  } catch (...) {
    say_what_is_saved(run, options.merge);
    throw;
  }
  ending.mergeable = check_merge(run, where).ok();
  say_how_to_go_on(run, ending);
  merged.value();  // Only now: what is trained is saved, and can be merged later.
  return ending.signal == 0 ? 0 : kStoppedBySignal + ending.signal;
}

int fine_tune(const Options& options) {
  const std::unique_ptr<RunFolder> run = RunFolder::open(options).value();
  Plan& plan = run->plan;
  const tinkex::torch_ext::ConnectOptions where = connect_options(*run, options).value();
  if (options.merge) check_merge(*run, where).value();
  if (run->done()) {  // Only to be merged, see RunFolder::open.
    merge_alone(*run, where).value();
    return 0;
  }
  choose_defaults(plan);
  say_where(where, options, plan);
  const std::unique_ptr<Task> task = open_task(plan).value();
  use_threads(options.threads);

  const tinkex::torch_ext::Connection connection = open_connection(*run, where).value();
  tinkex::ServiceClient service = connection.service;
  const KnownModel model = find_model(service, *run).value();
  TrainingClient trainer = open_model(service, model.name, *run, options.rank.has_value()).value();
  const auto tokenizer = open_tokenizer(trainer.info(), plan).value();
  const std::string cut = task->fit(*tokenizer, model.context_length).value();
  Workshop shop{trainer, *task, *tokenizer, service};
  greet(connection, trainer, *task, *run, {about_data(*run, *task), cut});
  watch_for_stop();  // Only now: until there is a model, nothing would be saved by a later stop.
  return train_to_the_end(shop, *run, options, connection, where);
}

int run(int argc, char** argv) {
  enter_callers_directory("sft");
  const ParsedOptions parsed = parse_options(argc, argv);
  if (!parsed.options) return parsed.exit_code;
  try {
    return fine_tune(*parsed.options);
  } catch (const tinkex::Error& error) {
    std::fprintf(stderr, "sft: %s\n", error.message().c_str());
    return exit_code_of(error);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "sft: out of memory; lower --batch-size\n");
    return kFailure;
  } catch (const c10::Error& error) {  // Its what() is pages long.
    std::fprintf(stderr, "sft: %s\n", error.what_without_backtrace());
    return kFailure;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sft: %s\n", error.what());
    return kFailure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  ignore_write_signals();
  const int code = run(argc, argv);
  return output_arrived("sft") || code != 0 ? code : kFailure;
}
