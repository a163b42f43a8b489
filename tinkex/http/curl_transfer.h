#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/http/curl_settings.h"
#include "tinkex/http/reply_memory.h"
#include "tinkex/transport.h"

namespace tinkex::internal {

struct CurlEasyDeleter {
  void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
};
struct CurlMultiDeleter {
  void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
};
using CurlEasy = std::unique_ptr<CURL, CurlEasyDeleter>;
using CurlMulti = std::unique_ptr<CURLM, CurlMultiDeleter>;

/// One HTTP exchange on one easy handle, from request to response. Lives on the I/O thread and
/// stays at its address while the handle knows it.
class CurlTransfer {
 public:
  CurlTransfer(Transport::RequestId id, CurlEasy easy, HttpRequest request,
               Transport::Callback callback, ReplyMemory& memory);
  CurlTransfer(const CurlTransfer&) = delete;
  CurlTransfer& operator=(const CurlTransfer&) = delete;
  /// Calls back with kInternal if nothing did so before.
  ~CurlTransfer();

  Transport::RequestId id() const noexcept { return id_; }
  CURL* handle() const noexcept { return easy_.get(); }

  /// Sets every option of the handle for this request. `settings` must outlive the transfer.
  Status prepare(const CurlSettings& settings);

  /// Whether libcurl was handed the whole body; before that the server cannot have all of it.
  bool body_has_left() const;

  /// What came of it, once libcurl says so.
  Result<HttpResponse> outcome(CURLcode code);

  /// Calls back, once; what the callback throws goes nowhere.
  void finish(Result<HttpResponse> result) noexcept;

  /// The handle, wiped for the next transfer; its connection stays with the multi handle.
  CurlEasy reclaim() noexcept;

 private:
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_read(char* buffer, std::size_t size, std::size_t count, void* self);
  /// A socket for this request was made.
  static int on_socket(void* settings, curl_socket_t socket, curlsocktype purpose);
  /// libcurl is about to send the request on a connection.
  static int on_send(void* self, char*, char*, int, int);

  bool is_large() const noexcept;
  /// Memory for the reply's body, so that a large one is not moved while it grows.
  void reserve_body();
  /// More of either body has passed: the timeout begins anew.
  void extend_timeout();
  void set_trust(const std::string& ca_file);
  void set_proxy(const CurlSettings& settings);
  Status set_headers();
  void add_header_line(std::string_view name, std::string_view mark, std::string_view value);
  /// Of the request, headers included, and of what opened a tunnel for it.
  long bytes_sent() const;
  /// Whether the server may have seen any of the request.
  bool has_begun_to_leave() const;
  void set_body();
  /// Host and port, for an error; the path may hold ids, and the rest could hold secrets.
  static std::string server_of(const std::string& url);
  Error error_of(CURLcode code) const;
  /// It is certain that the server has seen nothing of the request.
  Error error_before_sending(CURLcode code, const std::string& server,
                             const std::string& cause) const;
  Error error_without_connection(const std::string& server, const std::string& cause) const;
  Error error_after_sending(CURLcode code, const std::string& server,
                            const std::string& cause) const;

  const Transport::RequestId id_;
  CurlEasy easy_;
  const HttpRequest request_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  Transport::Callback callback_;
  ReplyMemory& memory_;
  std::string header_lines_;  // each with its NUL
  std::vector<curl_slist> header_links_;
  HttpResponse response_;
  std::size_t sent_ = 0;      // of a large body
  bool has_content_ = false;  // whether anything but blanks came
  bool is_held_to_rate_ = false;
  std::optional<long>
      sent_before_;  // bytes, when the request was about to leave for the first time
  bool repeat_refused_ = false;
  bool may_use_proxy_ = false;
  bool proxy_is_torn_ = false;
  std::size_t header_bytes_ = 0;
  bool too_large_ = false;
  std::array<char, CURL_ERROR_SIZE> error_text_{};
};

}  // namespace tinkex::internal
