#pragma once

#include <string>

#include "examples/support/run_folder.h"
#include "tinkex/service_client.h"

namespace sft {

/// Deletes, on the run's server or in its folder, the checkpoints that later ones have superseded.
/// The run's record must name the later one by now, which is never deleted. Says nothing: a server
/// that does not offer it keeps them. One that refuses to delete a checkpoint is asked again for it
/// after the next save, and one that does not answer by a process that resumes the run.
class SupersededCheckpoints {
 public:
  SupersededCheckpoints(tinkex::ServiceClient& service, RunFolder& run)
      : service_(service), run_(run) {}

  /// Deletes all but one that may still be recorded.
  void remove();
  /// Deletes that one, of a model that is ruined: nobody will ask for it. The others stay, as what
  /// is recorded may be worth less than they are.
  void remove_unrecorded();
  /// From now on all stay: the later one may be worth less than those.
  void keep() { deletes_ = false; }

 private:
  void remove(const std::string& path);

  tinkex::ServiceClient& service_;
  RunFolder& run_;
  bool deletes_ = true;
};

}  // namespace sft
