#include "tinkex/connection/saved_names.h"

#include <nlohmann/json.hpp>

namespace tinkex::internal {

DoneBefore SavedNames::add(const std::string& model_id, std::string_view kind,
                           const std::string& name, bool overwrite) {
  const std::string path = "tinker://" + model_id + "/" + std::string(kind) + "/" + name;
  const MutexLock lock(mutex_);
  if (paths_.insert(path).second && !overwrite) {
    return {.reply = nlohmann::json{{"path", path}}.dump()};
  }
  return {.doubt = "an attempt of this save got no answer, so that either it was carried out or '" +
                   name + "' is an older checkpoint; save under a name of its own"};
}

}  // namespace tinkex::internal
