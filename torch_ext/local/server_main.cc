// The embedded backend as a program of its own: `bazel run //torch_ext:local_server -- --help`.

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigset_t is of POSIX

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <semaphore>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/local_server.h"
#include "torch_ext/programs/callers_directory.h"
#include "torch_ext/programs/dtypes.h"
#include "torch_ext/programs/option_checks.h"
#include "torch_ext/programs/stop_signal.h"
#include "torch_ext/programs/streams.h"
#include "torch_ext/programs/unknown_options.h"

namespace {

using tinkex::torch_ext::local::BackendOptions;
using tinkex::torch_ext::local::LocalServer;
using tinkex::torch_ext::local::LocalServerOptions;
using tinkex::torch_ext::local::WeightType;
using namespace tinkex::torch_ext::programs;  // NOLINT(google-build-using-namespace): this is one.

constexpr int kFailure = 1;
constexpr int kUsage = 2;

/// A semaphore of POSIX, because a signal handler may post it.
sem_t stop_requested;

void on_stop(int signal) {
  const int saved = errno;
  if (is_first_stop(signal)) sem_post(&stop_requested);
  errno = saved;
}

/// The first of Ctrl-C and SIGTERM; a later Ctrl-C ends the program at once. A thread of its own
/// waits for it, while models load too, and stays to take the next one. In every other thread that
/// is started later the two are blocked; those that a library of LibTorch's has started before
/// main, as OpenBLAS does, run the handler like any.
class StopSignal {
 public:
  StopSignal() {
    sem_init(&stop_requested, /*pshared=*/0, 0);
    struct sigaction action = {};
    action.sa_handler = on_stop;
    action.sa_flags = SA_RESTART;
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM}) {
      sigaddset(&signals, signal);
      sigaction(signal, &action, nullptr);
    }
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    thread_ = std::thread([this, signals] {
      pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
      while (sem_wait(&stop_requested) != 0) {  // interrupted by the handler itself
      }
      stop_source_.request_stop();
      arrival_.release();
      end_.acquire();
    });
  }
  ~StopSignal() {
    sem_post(&stop_requested);
    end_.release();
    thread_.join();
  }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Stopped when it has come.
  std::stop_token token() const { return stop_source_.get_token(); }
  void wait() { arrival_.acquire(); }

 private:
  std::stop_source stop_source_;
  std::binary_semaphore arrival_{0};
  std::binary_semaphore end_{0};
  std::thread thread_;
};

/// CLI11 shows the text that it returns after the option's name.
CLI::Validator host_alone() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        if (text.empty()) return "is empty; give an address such as 127.0.0.1";
        const std::size_t colon = text.find(':');  // An IPv6 address has more than one.
        const bool has_port = colon != std::string::npos && text.rfind(':') == colon;
        if (!has_port && text.find_first_of("/[") == std::string::npos) return "";
        return "'" + text +
               "' is not an address alone; give one such as 127.0.0.1, and the port by --port";
      },
      "");
}

/// What a client would refuse to send.
CLI::Validator visible_ascii() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        if (std::ranges::all_of(text, tinkex::internal::is_visible_ascii)) return "";
        return "holds a blank, a line break or another character that HTTP does not allow in a key";
      },
      "");
}

/// The command line. Paths are taken over when the caller's directory has been entered.
struct Arguments {
  LocalServerOptions options;
  std::string data_dir;
  std::vector<std::string> base_models;
};

void add_options(CLI::App& app, Arguments& arguments) {
  LocalServerOptions& options = arguments.options;
  options.port = 8080;
  app.add_option("--port", options.port, "TCP port; 0 takes a free one")
      ->transform(CLI::Validator(whole_number(0, "0 takes a free port", 65535), ""))
      ->capture_default_str();
  app.add_option("--host", options.host,
                 "address to listen on; one that other machines can reach needs --api-key tml-...")
      ->check(host_alone())
      ->capture_default_str();
  app.add_option("--base-model", arguments.base_models,
                 "model to serve beside the built-in ones, may be repeated: a GGUF file, or a "
                 "folder of Hugging Face's");
  app.add_option_function<std::string>(
         "--dtype",
         [&options](const std::string& name) {
           options.backend.weight_type =
               name == kBfloat16 ? WeightType::kBfloat16 : WeightType::kFloat32;
         },
         "how the weights of such models are held: float32, or bfloat16 in half the memory")
      ->check(CLI::IsMember(std::vector<std::string>(kDtypes.begin(), kDtypes.end())))
      ->default_str(kFloat32);
  app.add_option("--data-dir", arguments.data_dir,
                 "where checkpoints are kept (default: a temporary directory, removed at the end)");
  app.add_option_function<std::string>(
         "--api-key", [&options](const std::string& key) { options.backend.api_key = key; },
         "key that requests must carry in X-API-Key (default: none is asked for)")
      ->check(visible_ascii())
      ->envname("TINKEX_LOCAL_API_KEY");
  app.add_option("--threads", options.backend.threads,
                 "threads of the model's arithmetic; 0 leaves LibTorch's choice")
      ->transform(CLI::Validator(whole_number(0, "0 leaves the choice to LibTorch", 1024), ""))
      ->capture_default_str();
  app.add_flag("--verbose", options.backend.verbose,
               "print a line for every model and every operation");
}

void greet(const LocalServer& server, const LocalServerOptions& options) {
  std::string models;
  for (const std::filesystem::path& path : options.backend.base_models) {
    models += path.string() + ", ";
  }
  const std::size_t given = models.size();
  for (const std::string& name : tinkex::torch_ext::local::built_in_model_names()) {
    models += (models.size() == given ? "" : ", ") + name;
  }
  std::printf(
      "Serving the Tinker API on %s\n"
      "  models:      %s\n"
      "  checkpoints: %s\n"
      "  clients:     TINKER_BASE_URL=%s%s\n"
      "Press Ctrl-C to stop.\n",
      server.base_url().c_str(), models.c_str(),
      options.backend.data_dir.empty() ? "temporary, removed at the end; --data-dir keeps them"
                                       : options.backend.data_dir.c_str(),
      server.base_url().c_str(),
      options.backend.api_key.empty() ? "" : " and TINKER_API_KEY=<the key>");
  std::fflush(stdout);
}

int serve(LocalServerOptions options) {
  StopSignal stop;
  options.backend.stop_loading = stop.token();
  for (const std::filesystem::path& path : options.backend.base_models) {
    std::printf("Loading %s ...\n", path.c_str());
  }
  std::fflush(stdout);
  const auto server = LocalServer::start(options);
  if (!server && server.error().code() == tinkex::ErrorCode::kCancelled) {
    std::printf("Stopped while loading.\n");
    return 0;
  }
  if (!server) {
    std::fprintf(stderr, "local_server: %s\n", server.error().message().c_str());
    const bool usage = server.error().code() == tinkex::ErrorCode::kInvalidArgument;
    return usage ? kUsage : kFailure;
  }
  greet(**server, options);
  stop.wait();
  std::printf("Stopping: what is running is cut short; Ctrl-C again ends at once.\n");
  std::fflush(stdout);
  (*server)->stop();
  return 0;
}

/// What CLI11 would say of options that there are not, in the order in which they were typed.
int refuse_unknown(const CLI::App& app, int argc, char** argv) {
  for (const std::string& what : about_unknown(app, argc, argv)) {
    std::fprintf(stderr, "local_server: %s (--help lists the options)\n", what.c_str());
  }
  return kUsage;
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Trains and samples small language models behind the Tinker API, on this machine."};
  add_options(app, arguments);
  try {
    app.parse(argc, argv);
    enter_callers_directory("local_server");
    BackendOptions& backend = arguments.options.backend;
    backend.data_dir = arguments.data_dir;
    backend.base_models.assign(arguments.base_models.begin(), arguments.base_models.end());
    return serve(std::move(arguments.options));
  } catch (const CLI::ExtrasError&) {
    return refuse_unknown(app, argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "local_server: %s\n", error.what());
    return kFailure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  ignore_write_signals();
  const int code = run(argc, argv);
  return output_arrived("local_server") || code != 0 ? code : kFailure;
}
