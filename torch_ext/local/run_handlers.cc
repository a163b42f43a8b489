// What there is: training runs, of this process and of earlier ones, and their checkpoints.

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "torch_ext/local/api.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/checkpoint_tree.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;
using Item = CheckpointTree::Item;

struct Page {
  std::size_t offset = 0;
  std::size_t limit = 0;
};

/// A query parameter that must be a number from 0 to a million; nullopt if it is something else.
std::optional<std::size_t> query_number(const TextMap& query, std::string_view name,
                                        std::size_t otherwise) {
  const auto found = query.find(name);
  if (found == query.end()) return otherwise;
  const std::string& text = found->second;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > 1'000'000) {
    return std::nullopt;
  }
  return number;
}

std::optional<Page> page_of(const Call& call, std::size_t limit) {
  const auto offset = query_number(call.query, "offset", 0);
  const auto count = query_number(call.query, "limit", limit);
  if (!offset || !count) return std::nullopt;
  return Page{*offset, *count};
}

Reply bad_page() { return unprocessable("offset and limit: must be numbers from 0 to 1000000"); }

json cursor(const Page& page, std::size_t total) {
  return {{"offset", page.offset}, {"limit", page.limit}, {"total_count", total}};
}

/// The part of a JSON array that a page shows.
json cut(const json& all, const Page& page) {
  json part = json::array();
  for (std::size_t i = page.offset; i < all.size() && part.size() < page.limit; ++i) {
    part.push_back(all[i]);
  }
  return part;
}

json describe(const CheckpointTree& tree, const Item& item) {
  const bool training = item.path.kind == CheckpointKind::kTraining;
  json checkpoint = {
      {"checkpoint_id", std::string(folder_of(item.path.kind)) + "/" + item.path.name},
      {"checkpoint_type", training ? "training" : "sampler"},
      {"time", iso_time(item.time)},
      {"tinker_path", item.path.text()},
      {"public", false}};
  if (const auto info = read_checkpoint_info(tree.directory(item.path))) {
    checkpoint["size_bytes"] = info->size_bytes;
  }
  return checkpoint;
}

/// A run as the API shows it, with when it was last active.
struct Run {
  std::int64_t time = 0;
  json description;
};

void add_checkpoints(const CheckpointTree& tree, const std::string& id, Run& run) {
  for (const Item& item : tree.list(id)) {
    const bool training = item.path.kind == CheckpointKind::kTraining;
    run.description[training ? "last_checkpoint" : "last_sampler_checkpoint"] =
        describe(tree, item);
    run.time = std::max(run.time, item.time);
    if (run.description.contains("base_model")) continue;
    const auto info = read_checkpoint_info(tree.directory(item.path));
    if (!info) continue;
    run.description["base_model"] = info->base_model;
    run.description["lora_rank"] = info->lora.rank;
  }
}

/// nullopt if neither this process nor the disk knows it.
std::optional<Run> find_run(Service& service, const std::string& id) {
  Run run;
  run.description = {{"training_run_id", id}, {"model_owner", "local"}, {"is_lora", true}};
  const auto model = service.registry().find_model(id);
  if (model != nullptr && model->ready.load(std::memory_order_acquire)) {
    run.description["base_model"] = model->base_model;
    run.description["lora_rank"] = model->lora.rank;
    if (!model->user_metadata.empty()) run.description["user_metadata"] = model->user_metadata;
    run.time = model->last_request.load();
  }
  add_checkpoints(service.checkpoints(), id, run);
  if (run.time == 0) return std::nullopt;
  // Checkpoints that cannot be read any more are shown as such, not hidden.
  run.description["corrupted"] = !run.description.contains("base_model");
  run.description.emplace("base_model", "unknown");
  run.description["last_request_time"] = iso_time(run.time);
  return run;
}

Reply list_runs(Service& service, const Call& call) {
  const auto page = page_of(call, 20);
  if (!page) return bad_page();
  std::map<std::string, Run> runs;
  const auto add = [&](const std::string& id) {
    if (auto run = find_run(service, id)) runs.emplace(id, *std::move(run));
  };
  for (const auto& model : service.registry().models()) add(model->id);
  for (const std::string& id : service.checkpoints().runs()) add(id);
  std::vector<Run> newest;
  newest.reserve(runs.size());
  for (auto& [id, run] : runs) newest.push_back(std::move(run));
  std::stable_sort(newest.begin(), newest.end(),
                   [](const Run& a, const Run& b) { return a.time > b.time; });
  json all = json::array();
  for (Run& run : newest) all.push_back(std::move(run.description));
  return json_reply({{"training_runs", cut(all, *page)}, {"cursor", cursor(*page, all.size())}});
}

Reply unknown_run(const std::string& id) {
  return error_reply(404, "training run '" + id +
                              "' is neither loaded nor has it a checkpoint in the data directory");
}

Reply get_run(Service& service, const Call& call) {
  const std::string& id = call.parameters.find("run_id")->second;
  const auto run = find_run(service, id);
  return run ? json_reply(run->description) : unknown_run(id);
}

Reply list_checkpoints(Service& service, const Call& call) {
  const std::string& id = call.parameters.find("run_id")->second;
  const auto page = page_of(call, 100);
  if (!page) return bad_page();
  if (!find_run(service, id)) return unknown_run(id);
  std::vector<Item> items = service.checkpoints().list(id);
  std::reverse(items.begin(), items.end());
  json all = json::array();
  for (const Item& item : items) all.push_back(describe(service.checkpoints(), item));
  return json_reply({{"checkpoints", cut(all, *page)}, {"cursor", cursor(*page, all.size())}});
}

/// Frees the space of a checkpoint that was deleted: between other tasks, because this thread may
/// be the one that carries everyone's heartbeats and polls. At a shutdown, one that has begun is
/// waited for, and those that wait go with the tree.
void discard_later(Service& service, const CheckpointPath& path,
                   const std::filesystem::path& folder) {
  service.compute().post(".deleted", [&service, text = path.text(), folder] {
    const Status discarded = CheckpointTree::discard(folder);
    if (!discarded) service.log("deleted " + text + ", but " + discarded.error().message());
  });
}

/// At once, not in its model's order. Whatever was loaded from it is in memory, and stays.
Reply delete_checkpoint(Service& service, const Call& call) {
  const auto part = [&](const char* name) { return call.parameters.find(name)->second; };
  const auto path =
      CheckpointPath::parse("tinker://" + part("run_id") + "/" + part("kind") + "/" + part("name"));
  if (!path) return error_reply(404, path.error().message());
  const auto doomed = service.checkpoints().set_aside(*path);
  if (!doomed) return lasting_error(500, doomed.error().message());
  if (!*doomed) return error_reply(404, "there is no checkpoint " + path->text());
  service.log("deleted " + path->text());
  discard_later(service, *path, **doomed);
  Reply reply;
  reply.status = 204;
  return reply;
}

}  // namespace

std::vector<Route> run_routes() {
  return {
      {"GET", "training_runs", immediate(list_runs)},
      {"GET", "training_runs/{run_id}", immediate(get_run)},
      {"GET", "training_runs/{run_id}/checkpoints", immediate(list_checkpoints)},
      {"DELETE", "training_runs/{run_id}/checkpoints/{kind}/{name}", immediate(delete_checkpoint)},
  };
}

}  // namespace tinkex::torch_ext::local
