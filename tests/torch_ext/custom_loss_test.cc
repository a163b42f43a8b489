// Custom losses on the embedded backend train exactly as the built-in losses of the same formula.

#include "tinkex/custom_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "torch_ext/connect.h"

namespace tinkex::torch_ext {
namespace {

using Floats = std::vector<float>;
using Ints = std::vector<std::int64_t>;

/// What one step of training comes to: of the gradient its norm, and of the weights after the step
/// what the model makes of the batch.
struct Step {
  ForwardBackwardOutput output;
  double gradient_norm = 0;
  std::vector<Floats> logprobs;
};

std::vector<Floats> logprobs_of(const ForwardBackwardOutput& output) {
  std::vector<Floats> all;
  for (const NamedTensors& one : output.loss_fn_outputs) {
    all.push_back(find(one, "logprobs")->to_floats());
  }
  return all;
}

Floats input_of(const Datum& datum, std::string_view name) {
  return find(datum.loss_fn_inputs, name)->to_floats();
}

class CustomLossOnBackendTest : public ::testing::Test {
 protected:
  /// A step of a new model, always the same one.
  template <class Pass>
  Step step(const std::vector<Datum>& batch, Pass pass) {
    auto model =
        connection_.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
            .get()
            .value();
    Step done;
    // From weights of which every part has a gradient.
    (void)model.forward_backward(plain_, loss::kCrossEntropy);
    (void)model.optim_step({.learning_rate = 1e-2});
    auto output = pass(model, batch);
    auto update = model.optim_step({.learning_rate = 1e-2});
    done.output = std::move(output).get().value();
    done.gradient_norm = update.get().value().metrics.at("grad_norm");
    done.logprobs = logprobs_of(model.forward(plain_, loss::kCrossEntropy).get().value());
    return done;
  }

  static Datum datum(Ints tokens, Ints targets, NamedTensors more = {}) {
    Datum made;
    made.model_input = ModelInput::from_tokens(std::move(tokens));
    made.loss_fn_inputs = {{"target_tokens", TensorData::from(std::move(targets))}};
    for (auto& input : more) made.loss_fn_inputs.push_back(std::move(input));
    return made;
  }

  static void expect_same(const Step& ours, const Step& theirs) {
    EXPECT_NEAR(ours.gradient_norm, theirs.gradient_norm, 1e-5 * theirs.gradient_norm);
    EXPECT_GT(theirs.gradient_norm, 1e-3);
    EXPECT_NEAR(ours.output.metrics.at("loss:sum"), theirs.output.metrics.at("loss:sum"), 1e-4);
    EXPECT_EQ(logprobs_of(ours.output), logprobs_of(theirs.output));
    for (std::size_t i = 0; i < theirs.logprobs.size(); ++i) {
      for (std::size_t j = 0; j < theirs.logprobs[i].size(); ++j) {
        EXPECT_NEAR(ours.logprobs[i][j], theirs.logprobs[i][j], 1e-4) << i << ", " << j;
      }
    }
  }

  Connection connection_ =
      connect({.client = {}, .embedded = {}, .where = Backend::kEmbedded}).value();
  const std::vector<Datum> plain_{datum({10, 20, 30}, {20, 30, 40}), datum({7, 8}, {8, 9})};
};

TEST_F(CustomLossOnBackendTest, CrossEntropyWrittenByHandTrainsLikeTheBuiltInOne) {
  const std::vector<Datum> batch{
      datum({1, 2, 3, 4}, {2, 3, 4, 5}, {{"weights", TensorData::from(Floats{0, 1, 0.5f, 2})}}),
      datum({9, 8}, {8, 7}, {{"weights", TensorData::from(Floats{1, 0.25f})}})};
  const Step built_in = step(batch, [](TrainingClient& model, const std::vector<Datum>& data) {
    return model.forward_backward(data, loss::kCrossEntropy);
  });
  const Step custom = step(batch, [](TrainingClient& model, const std::vector<Datum>& data) {
    return model.forward_backward_custom(data, [](auto given, auto logprobs) {
      CustomLossOutput output;
      for (std::size_t i = 0; i < given.size(); ++i) {
        const Floats weights = input_of(given[i], "weights");
        const Floats l = logprobs[i].to_floats();
        Floats gradient(l.size());
        for (std::size_t j = 0; j < l.size(); ++j) {
          output.loss -= double{weights[j]} * l[j];
          gradient[j] = -weights[j];
        }
        output.gradients.push_back(TensorData::from(std::move(gradient)));
      }
      return Result<CustomLossOutput>(std::move(output));
    });
  });
  expect_same(custom, built_in);
}

TEST_F(CustomLossOnBackendTest, ImportanceSamplingWrittenByHandTrainsLikeTheBuiltInOne) {
  const std::vector<Datum> batch{datum({1, 2, 3, 4}, {2, 3, 4, 5},
                                       {{"logprobs", TensorData::from(Floats{-5, -5.5f, -6, -5})},
                                        {"advantages", TensorData::from(Floats{1, -1, 0.5f, 2})}}),
                                 datum({9, 8}, {8, 7},
                                       {{"logprobs", TensorData::from(Floats{-5.2f, -5.8f})},
                                        {"advantages", TensorData::from(Floats{-0.5f, 1.5f})}})};
  const Step built_in = step(batch, [](TrainingClient& model, const std::vector<Datum>& data) {
    return model.forward_backward(data, loss::kImportanceSampling);
  });
  const Step custom = step(batch, [](TrainingClient& model, const std::vector<Datum>& data) {
    return model.forward_backward_custom(data, [](auto given, auto logprobs) {
      CustomLossOutput output;
      for (std::size_t i = 0; i < given.size(); ++i) {
        const Floats sampled = input_of(given[i], "logprobs");
        const Floats advantages = input_of(given[i], "advantages");
        const Floats l = logprobs[i].to_floats();
        Floats gradient(l.size());
        for (std::size_t j = 0; j < l.size(); ++j) {
          const double term = -std::exp(double{l[j]} - sampled[j]) * advantages[j];
          output.loss += term;
          gradient[j] = static_cast<float>(term);  // d/dl of exp(l - q) A is itself
        }
        output.gradients.push_back(TensorData::from(std::move(gradient)));
      }
      return Result<CustomLossOutput>(std::move(output));
    });
  });
  expect_same(custom, built_in);
}

}  // namespace
}  // namespace tinkex::torch_ext
