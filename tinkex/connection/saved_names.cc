#include "tinkex/connection/saved_names.h"

#include <nlohmann/json.hpp>
#include <optional>

namespace tinkex::internal {

DoneBefore SavedNames::add(const std::string& model_id, std::string_view kind,
                           const std::string& name) {
  const std::string path = "tinker://" + model_id + "/" + std::string(kind) + "/" + name;
  DoneBefore done;
  done.name = name;
  done.doubt =
      "an attempt of this save got no answer, and nobody can tell whether it was carried "
      "out: '" +
      name + "' may as well be an older checkpoint; save under another name";
  const MutexLock lock(mutex_);
  if (paths_.insert(path).second) done.reply = nlohmann::json{{"path", path}}.dump();
  return done;
}

}  // namespace tinkex::internal
