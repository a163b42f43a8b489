// Saving, loading and listing, also by a later backend on the same data directory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <string>

#include "tests/torch_ext/local/test_backend.h"
#include "torch_ext/logits_loss.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;

class CheckpointApiTest : public ::testing::Test {
 protected:
  CheckpointApiTest()
      : root_(fs::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(root_);
    restart();
  }
  ~CheckpointApiTest() override {
    api_.reset();
    fs::remove_all(root_);
  }

  void restart() {
    api_.reset();
    BackendOptions options;
    options.data_dir = root_;
    api_ = std::make_unique<TestBackend>(options);
    session_ = api_->session();
  }

  /// One step on a batch; the loss before it.
  double train(const std::string& model, int& seq) {
    const Json output = api_->run("forward_backward", backward_body(model, ++seq));
    api_->run("optim_step", step_body(model, ++seq));
    return output.at("metrics").at("loss:sum");
  }

  Json save(const std::string& model, int seq_id, const Json& name, bool overwrite = false) {
    return api_->run("save_weights", {{"model_id", model},
                                      {"seq_id", seq_id},
                                      {"path", name},
                                      {"ttl_seconds", nullptr},
                                      {"overwrite", overwrite}});
  }

  const fs::path root_;
  std::unique_ptr<TestBackend> api_;
  std::string session_;
};

TEST_F(CheckpointApiTest, RunGoesOnInAnotherBackendExactlyWhereItStopped) {
  std::string model = api_->model(session_);
  int seq = 0;
  train(model, seq);
  const Json saved = save(model, ++seq, "here");
  const std::string path = saved["path"];
  EXPECT_EQ(path, "tinker://" + model + "/weights/here");
  EXPECT_EQ(saved["type"], "save_weights");
  const double second = train(model, seq);
  const double third = train(model, seq);
  restart();
  const Json loaded = api_->run("load_weights", {{"session_id", session_},
                                                 {"model_seq_id", 7},
                                                 {"path", path},
                                                 {"optimizer", true},
                                                 {"type", "load_weights"}});
  model = session_ + ":train:7";
  EXPECT_EQ(loaded, Json({{"path", path}, {"model_id", model}, {"type", "load_weights"}}));
  EXPECT_EQ(api_->post("get_info", {{"model_id", model}})["lora_rank"], 4);
  seq = 0;
  EXPECT_EQ(train(model, seq), second);
  EXPECT_EQ(train(model, seq), third);
}

TEST_F(CheckpointApiTest, LoadIntoAModelThatIsThere) {
  const std::string model = api_->model(session_);
  int seq = 0;
  train(model, seq);
  const std::string path = save(model, ++seq, "a")["path"];
  const double after = train(model, seq);
  const Json body = {{"model_id", model}, {"seq_id", ++seq}, {"path", path}, {"optimizer", false}};
  EXPECT_EQ(api_->run("load_weights", body)["model_id"], model);
  EXPECT_EQ(train(model, seq), after);
}

TEST_F(CheckpointApiTest, TakenNameFailsForGoodUnlessItMayBeOverwritten) {
  const std::string model = api_->model(session_);
  const std::string path = save(model, 1, "x")["path"];
  EXPECT_EQ(save(model, 1, "x")["path"], path);  // The same request again, not a second save.
  const Json failed = save(model, 2, "x");
  EXPECT_THAT(failed["error"], HasSubstr("exists already"));
  EXPECT_EQ(failed["category"], "user");
  EXPECT_EQ(save(model, 3, "x", true)["path"], path);
  EXPECT_EQ(save(model, 4, nullptr)["path"], "tinker://" + model + "/weights/checkpoint-0001");
  EXPECT_EQ(save(model, 5, nullptr)["path"], "tinker://" + model + "/weights/checkpoint-0002");
}

TEST_F(CheckpointApiTest, NamesThatCouldLeaveTheDirectoryAreRefused) {
  const std::string model = api_->model(session_);
  int seq = 0;
  for (const char* name : {"..", "../x", "a/b", "/etc/x", ".hidden", "", "a b", "a\\b", "a:b"}) {
    for (const char* endpoint : {"save_weights", "save_weights_for_sampler"}) {
      const auto [status, detail] =
          api_->refusal(endpoint, {{"model_id", model}, {"seq_id", ++seq}, {"path", name}});
      EXPECT_EQ(status, 422) << name;
      EXPECT_THAT(detail, HasSubstr("path: checkpoint name")) << name;
    }
  }
  for (const char* path :
       {"tinker://../weights/x", "tinker://r/weights/../../x", "file:///etc/passwd", "x"}) {
    EXPECT_EQ(
        api_->refusal("load_weights", {{"model_id", model}, {"seq_id", ++seq}, {"path", path}})
            .first,
        422)
        << path;
  }
  EXPECT_EQ(save(model, ++seq, "fine")["type"], "save_weights");  // Nothing waits for the refused.
}

TEST_F(CheckpointApiTest, MissingCheckpointFailsWithWhatThereIs) {
  const std::string model = api_->model(session_);
  const std::string path = save(model, 1, "there")["path"];
  const Json failed = api_->run("load_weights", {{"session_id", session_},
                                                 {"model_seq_id", 1},
                                                 {"path", "tinker://" + model + "/weights/no"}});
  EXPECT_THAT(failed["error"], HasSubstr(path));
  EXPECT_EQ(failed["category"], "user");
}

TEST_F(CheckpointApiTest, OptimizerIsNotFoundInASamplerCheckpoint) {
  const std::string model = api_->model(session_);
  const Json saved =
      api_->run("save_weights_for_sampler", {{"model_id", model}, {"seq_id", 1}, {"path", "s"}});
  EXPECT_EQ(saved["path"], "tinker://" + model + "/sampler_weights/s");
  Json load = {{"model_id", model}, {"seq_id", 2}, {"path", saved["path"]}, {"optimizer", true}};
  EXPECT_EQ(api_->run("load_weights", load)["category"], "user");
  load["seq_id"] = 3;
  load["optimizer"] = false;
  EXPECT_EQ(api_->run("load_weights", load)["model_id"], model);
}

TEST_F(CheckpointApiTest, WeightsInfoTellsTheShape) {
  const std::string model = api_->model(session_);
  const std::string path = save(model, 1, "x")["path"];
  const Json info = api_->post("weights_info", {{"tinker_path", path}});
  EXPECT_EQ(info["base_model"], kNano);
  EXPECT_EQ(info["lora_rank"], 4);
  EXPECT_TRUE(info["is_lora"].get<bool>());
  EXPECT_TRUE(info["train_unembed"].get<bool>());
}

TEST_F(CheckpointApiTest, RunsAndCheckpointsAreListedAlsoAfterARestart) {
  const std::string model = api_->model(session_);
  save(model, 1, "a");
  api_->run("save_weights_for_sampler", {{"model_id", model}, {"seq_id", 2}, {"path", "b"}});
  for (int round = 0; round < 2; ++round) {
    const Json runs = api_->get("training_runs");
    ASSERT_EQ(runs["training_runs"].size(), 1u);
    EXPECT_EQ(runs["cursor"], Json({{"offset", 0}, {"limit", 20}, {"total_count", 1}}));
    const Json run = api_->get("training_runs/" + model);
    EXPECT_EQ(run, runs["training_runs"][0]);
    EXPECT_EQ(run["training_run_id"], model);
    EXPECT_EQ(run["base_model"], kNano);
    EXPECT_FALSE(run["corrupted"].get<bool>());
    EXPECT_EQ(run["last_checkpoint"]["checkpoint_id"], "weights/a");
    EXPECT_EQ(run["last_sampler_checkpoint"]["checkpoint_type"], "sampler");
    const Json listed = api_->get("training_runs/" + model + "/checkpoints?limit=1&offset=1");
    EXPECT_EQ(listed["checkpoints"].size(), 1u);
    EXPECT_EQ(listed["cursor"]["total_count"], 2);
    EXPECT_GT(listed["checkpoints"][0]["size_bytes"].get<int>(), 0);
    restart();
  }
  EXPECT_EQ(api_->call("GET", "training_runs?limit=-1").status, 422);
}

TEST_F(CheckpointApiTest, ADeletedCheckpointIsGoneAndTheOthersStay) {
  const std::string model = api_->model(session_);
  const std::string path = save(model, 1, "a")["path"];
  save(model, 2, "b");
  const std::string checkpoints = "training_runs/" + model + "/checkpoints/";
  const Json loaded =
      api_->run("load_weights", {{"session_id", session_}, {"model_seq_id", 1}, {"path", path}});
  const Reply reply = api_->call("DELETE", checkpoints + "weights/a");
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.body, "");
  EXPECT_FALSE(fs::exists(root_ / model / "weights/a"));
  EXPECT_TRUE(fs::exists(root_ / model / "weights/b"));
  int seq = 0;
  train(loaded["model_id"], seq);  // What was loaded from it goes on.
  for (const char* none : {"weights/a", "sampler_weights/b", "weights/..", "elsewhere/b"}) {
    EXPECT_EQ(api_->call("DELETE", checkpoints + none).status, 404) << none;
  }
  EXPECT_EQ(save(model, 3, "a")["type"], "save_weights");  // Its name is free again.
  restart();
  EXPECT_EQ(api_->get("training_runs/" + model + "/checkpoints")["checkpoints"].size(), 2u);
}

TEST_F(CheckpointApiTest, ADeletionIsAnsweredBeforeItsSpaceIsFree) {
  std::promise<void> done;
  api_.reset();
  BackendOptions options;
  options.data_dir = root_;
  options.losses["hold"] = [held = done.get_future().share()](const at::Tensor& logits,
                                                              const LossInputs&) {
    held.wait();
    return logits.sum();
  };
  api_ = std::make_unique<TestBackend>(options);
  const std::string model = api_->model(session_ = api_->session());
  save(model, 1, "a");
  Json body = backward_body(model, 2);
  body["forward_backward_input"]["loss_fn"] = "hold";
  api_->post("forward_backward", body);  // The thread that computes has no time now.
  EXPECT_EQ(api_->call("DELETE", "training_runs/" + model + "/checkpoints/weights/a").status, 204);
  const fs::path weights = root_ / model / "weights";
  EXPECT_FALSE(fs::exists(weights / "a"));
  EXPECT_FALSE(fs::is_empty(weights)) << "it was removed on the thread that replies";
  EXPECT_TRUE(api_->get("training_runs/" + model + "/checkpoints")["checkpoints"].empty());
  done.set_value();
  api_->run("optim_step", step_body(model, 3));  // What waits for that thread takes turns.
  EXPECT_TRUE(fs::is_empty(weights));
}

TEST_F(CheckpointApiTest, TheNumberOfADeletedCheckpointIsNotGivenAgain) {
  const std::string model = api_->model(session_);
  const std::string weights = "tinker://" + model + "/weights/";
  const std::string checkpoints = "training_runs/" + model + "/checkpoints/weights/";
  EXPECT_EQ(save(model, 1, nullptr)["path"], weights + "checkpoint-0001");
  EXPECT_EQ(api_->call("DELETE", checkpoints + "checkpoint-0001").status, 204);
  EXPECT_EQ(save(model, 2, nullptr)["path"], weights + "checkpoint-0002");
  save(model, 3, "checkpoint-0007");
  EXPECT_EQ(api_->call("DELETE", checkpoints + "checkpoint-0007").status, 204);
  save(model, 4, "checkpoint-9x");  // No number.
  EXPECT_EQ(save(model, 5, nullptr)["path"], weights + "checkpoint-0008");
  fs::create_directories(root_ / model / "weights/checkpoint-12345");  // Of another process.
  EXPECT_EQ(save(model, 6, nullptr)["path"], weights + "checkpoint-12346");
  fs::create_directories(root_ / model / "sampler_weights/checkpoint-12400");
  EXPECT_EQ(save(model, 7, nullptr)["path"], weights + "checkpoint-12401");
  // A second deletion, by a reply that was lost or an old list, finds nothing.
  EXPECT_EQ(api_->call("DELETE", checkpoints + "checkpoint-0001").status, 404);
}

TEST_F(CheckpointApiTest, ACheckpointThatCannotBeLookedAtIsNotSaidToBeMissing) {
  fs::create_directory_symlink("run", root_ / "run");
  const Reply reply = api_->call("DELETE", "training_runs/run/checkpoints/weights/a");
  EXPECT_EQ(reply.status, 500);
  EXPECT_THAT(reply.body, HasSubstr("cannot look at"));
  EXPECT_EQ(api_->refusal("weights_info", {{"tinker_path", "tinker://run/weights/a"}}).first, 500);
}

TEST_F(CheckpointApiTest, WhatAnInterruptedDeletionLeftGoesWithTheNextBackend) {
  const std::string model = api_->model(session_);
  save(model, 1, "a");
  fs::rename(root_ / model / "weights/a", root_ / model / "weights/.deleted-0");
  restart();
  EXPECT_TRUE(fs::is_empty(root_ / model / "weights"));
}

TEST_F(CheckpointApiTest, DamagedCheckpointIsShownAsSuchAndNotLoaded) {
  const std::string model = api_->model(session_);
  const std::string path = save(model, 1, "a")["path"];
  const fs::path file = root_ / model / "weights/a/adapter_model.safetensors";
  ASSERT_TRUE(fs::exists(file));
  std::ofstream(file, std::ios::app) << "x";
  const Json failed =
      api_->run("load_weights", {{"session_id", session_}, {"model_seq_id", 1}, {"path", path}});
  EXPECT_THAT(failed["error"], HasSubstr("adapter_model.safetensors"));
  EXPECT_EQ(failed["category"], "server");
  std::ofstream(root_ / model / "weights/a/metadata.json") << "{";
  restart();
  EXPECT_TRUE(api_->get("training_runs/" + model)["corrupted"].get<bool>());
}

TEST_F(CheckpointApiTest, SaveThatCannotBeWrittenFailsAndTheRunGoesOn) {
  const std::string model = api_->model(session_);
  std::ofstream(root_ / model) << "a file where the run's folder should be";
  const Json failed = save(model, 1, "a");
  EXPECT_THAT(failed["error"], HasSubstr(root_.string()));
  EXPECT_EQ(failed["category"], "server");
  fs::remove(root_ / model);
  EXPECT_EQ(save(model, 2, "a")["type"], "save_weights");
}

TEST_F(CheckpointApiTest, SecondBackendOnTheSameDirectoryIsRefused) {
  BackendOptions options;
  options.data_dir = root_;
  const auto second = Backend::create(options);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), HasSubstr("in use by another backend"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local
