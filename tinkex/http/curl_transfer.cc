#include "tinkex/http/curl_transfer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "tinkex/base/host.h"
#include "tinkex/base/text.h"

namespace tinkex::internal {
namespace {

constexpr std::size_t kMaxHeaderBytes = 1 << 20;
// Waiting for "100 Continue" would cost a second.
constexpr char kNoExpect[] = "Expect:";
// libcurl's default of 64 KiB costs 10 to 40 % of the speed of a large upload.
constexpr std::size_t kLargeBody = 64 * 1024;
// An announced length is not believed beyond this.
constexpr std::size_t kMostReserved = std::size_t{4} << 20;
constexpr long kUploadBuffer = 512 * 1024;
// So that time may be added to it; libcurl counts milliseconds in 32 bits.
constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24 * 20);

// Far below any line that could be worked with, far above what keeps a connection alive.
constexpr std::size_t kLeastBytesPerSecond = 1024;

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_loopback_server(const std::string& authority) {
  return is_loopback_host(authority.substr(0, authority.find(':', authority.find(']') + 1)));
}

/// Whether this libcurl was built with a file of trusted certificates.
bool has_ca_bundle() {
  static const bool has = curl_version_info(CURLVERSION_NOW)->cainfo != nullptr;
  return has;
}

/// Whether a user name or password in the URL of a proxy holds a character that ends the host's
/// part, so that a piece of it passes for the host.
bool is_torn(std::string_view proxy) {
  const std::size_t scheme = proxy.find("://");
  const std::size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  const std::size_t end = proxy.find_first_of("/?#", begin);
  return end != std::string_view::npos && proxy.find('@', end) != std::string_view::npos;
}

bool has_line_break(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

}  // namespace

CurlTransfer::CurlTransfer(Transport::RequestId id, CurlEasy easy, HttpRequest request,
                           Transport::Callback callback, ReplyMemory& memory)
    : id_(id),
      easy_(std::move(easy)),
      request_(std::move(request)),
      callback_(std::move(callback)),
      memory_(memory) {}

Status CurlTransfer::prepare(const CurlSettings& settings) {
  if (!easy_) return Error(ErrorCode::kInternal, "libcurl could not make a handle");
  CURL* const easy = easy_.get();
  curl_easy_setopt(easy, CURLOPT_URL, request_.url.c_str());
  // A `..` that got into a URL must not make it another resource's.
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, &CurlTransfer::on_socket);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, &settings);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
  set_trust(settings.ca_file);
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");  // whatever this libcurl can decode
  set_proxy(settings);
  // Cancelling while a name is looked up must not wait for the resolver: this thread serves all.
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout.count()));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(request_.connect_timeout.count()));
  // Refuses an announced length at once; on_body counts what comes without one.
  curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE,
                   static_cast<curl_off_t>(request_.max_response_bytes));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text_.data());
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &CurlTransfer::on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &CurlTransfer::on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  set_body();
  return set_headers();
}

void CurlTransfer::set_trust(const std::string& ca_file) {
  CURL* const easy = easy_.get();
  if (!ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file.c_str());
  // libcurl keeps the certificates of a file for the next connection, but only where there is no
  // folder of them besides; reading them costs ten times a handshake.
  if (!ca_file.empty() || has_ca_bundle()) curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
}

/// Both options, be it to nothing: what is not set libcurl asks the environment for.
void CurlTransfer::set_proxy(const CurlSettings& settings) {
  const bool direct =
      is_loopback_server(server_of(request_.url));  // A proxy is for the way to other machines.
  const bool secure = request_.url.starts_with("https:");
  const std::string& proxy = secure ? settings.https_proxy : settings.http_proxy;
  may_use_proxy_ = !direct && !proxy.empty();
  proxy_is_torn_ = may_use_proxy_ && is_torn(proxy);
  curl_easy_setopt(easy_.get(), CURLOPT_PROXY, direct ? "" : proxy.c_str());
  curl_easy_setopt(easy_.get(), CURLOPT_NOPROXY, direct ? "" : settings.no_proxy.c_str());
}

void CurlTransfer::set_body() {
  CURL* const easy = easy_.get();
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &CurlTransfer::on_send);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, this);
  if (request_.method == "GET") {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    return;
  }
  const std::size_t size = request_.body ? request_.body->size() : 0;
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(size));
  if (is_large()) {
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &CurlTransfer::on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBuffer);
  } else {
    // Leaves together with the headers, which saves half of the work in the kernel.
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, size == 0 ? "" : request_.body->data());
  }
  if (request_.method != "POST") {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }
}

Status CurlTransfer::set_headers() {
  std::size_t bytes = sizeof kNoExpect;
  for (const auto& [name, value] : request_.headers) {
    if (has_line_break(name) || has_line_break(value)) {
      return invalid_argument("header " + name.substr(0, name.find_first_of("\r\n")) +
                              ": contains a line break or a NUL");
    }
    bytes += name.size() + value.size() + 3;
  }
  // One allocation each for texts and links, which must not move: libcurl only reads its lists.
  header_lines_.reserve(bytes);
  header_links_.reserve(request_.headers.size() + 1);
  add_header_line(kNoExpect, "", "");
  for (const auto& [name, value] : request_.headers) {
    add_header_line(name, value.empty() ? ";" : ": ", value);
  }
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, header_links_.data());
  return ok_status();
}

void CurlTransfer::add_header_line(std::string_view name, std::string_view mark,
                                   std::string_view value) {
  const std::size_t begin = header_lines_.size();
  header_lines_.append(name).append(mark).append(value).push_back('\0');
  header_links_.push_back({header_lines_.data() + begin, nullptr});
  if (header_links_.size() > 1) (&header_links_.back())[-1].next = &header_links_.back();
}

std::size_t CurlTransfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<CurlTransfer*>(self);
  const std::size_t bytes = size * count;
  if (transfer.response_.body.size() + bytes > transfer.request_.max_response_bytes) {
    transfer.too_large_ = true;
    return 0;
  }
  try {
    if (transfer.response_.body.empty()) transfer.reserve_body();
    transfer.response_.body.append(data, bytes);
    // A gateway that sends blanks while its server thinks answers nothing yet.
    transfer.has_content_ = transfer.has_content_ || !trim(std::string_view(data, bytes)).empty();
    if (transfer.has_content_) transfer.extend_timeout();
  } catch (...) {  // must not pass through libcurl
    transfer.too_large_ = true;
    return 0;
  }
  return bytes;
}

void CurlTransfer::reserve_body() {
  curl_off_t announced = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
  if (announced <= 0) return;
  response_.body = memory_.take(std::min(static_cast<std::size_t>(announced), kMostReserved));
}

// libcurl's own timeout is of the whole exchange, which would cut a large body on a slow line, time
// after time: its end is moved instead, but for a body that trickles, which would never end. That
// it has come libcurl would notice only when something else happens, but for the low speed limit,
// which has it look every second. The limit itself is as far away as libcurl 8.20 takes it, for a
// slow body is not one that stands still.
void CurlTransfer::extend_timeout() {
  const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begun_);
  const auto timeout = std::min(request_.timeout, kLongestTimeout);
  const std::chrono::milliseconds of_rate(1000 * (sent_ + response_.body.size()) /
                                          kLeastBytesPerSecond);
  const auto latest = 2 * timeout + of_rate;
  is_held_to_rate_ = latest < elapsed + timeout;
  const auto end = std::min(elapsed + timeout, latest);
  curl_easy_setopt(easy_.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(end.count()));
  curl_easy_setopt(easy_.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy_.get(), CURLOPT_LOW_SPEED_TIME, 65'535L);
}

std::size_t CurlTransfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<CurlTransfer*>(self);
  const std::size_t bytes = size * count;
  transfer.header_bytes_ += bytes;
  if (transfer.header_bytes_ > kMaxHeaderBytes) {
    transfer.too_large_ = true;
    return 0;
  }
  try {
    const std::string_view line(data, bytes);
    if (line.rfind("HTTP/", 0) == 0) {  // a new response; an interim one may have come before
      transfer.response_.headers.clear();
      return bytes;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return bytes;
    transfer.response_.headers.emplace_back(lower_case(trim(line.substr(0, colon))),
                                            std::string(trim(line.substr(colon + 1))));
  } catch (...) {
    return 0;
  }
  return bytes;
}

std::size_t CurlTransfer::on_read(char* buffer, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<CurlTransfer*>(self);
  const std::string_view body = transfer.request_.body->view();
  const std::size_t bytes = std::min(size * count, body.size() - transfer.sent_);
  std::memcpy(buffer, body.data() + transfer.sent_, bytes);
  transfer.sent_ += bytes;
  transfer.extend_timeout();
  return bytes;
}

bool CurlTransfer::is_large() const noexcept {
  return request_.body && request_.body->size() > kLargeBody;
}

bool CurlTransfer::body_has_left() const {
  return is_large() ? sent_ == request_.body->size() : has_begun_to_leave();
}

int CurlTransfer::on_socket(void* settings, curl_socket_t socket, curlsocktype) {
  const auto& limit = static_cast<const CurlSettings*>(settings)->unacknowledged_timeout;
  const auto milliseconds = static_cast<unsigned>(std::min(limit, kLongestTimeout).count());
  // Without it the connection works as well, and is only given up later.
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
  return CURL_SOCKOPT_OK;
}

int CurlTransfer::on_send(void* self, char*, char*, int, int) {
  auto& transfer = *static_cast<CurlTransfer*>(self);
  if (!transfer.sent_before_) transfer.sent_before_ = transfer.bytes_sent();
  // libcurl repeats a request by itself when a reused connection dies before the reply, and must
  // not be able to once anything has left; of a GET nothing comes twice.
  transfer.repeat_refused_ = transfer.request_.method != "GET" && transfer.has_begun_to_leave();
  return transfer.repeat_refused_ ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

long CurlTransfer::bytes_sent() const {
  long bytes = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &bytes);
  return bytes;
}

// Not by the connect time, which is 0 on a reused connection too.
bool CurlTransfer::has_begun_to_leave() const {
  return sent_before_ && bytes_sent() > *sent_before_;
}

Result<HttpResponse> CurlTransfer::outcome(CURLcode code) {
  if (code != CURLE_OK) return error_of(code);
  long status = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  response_.status = static_cast<int>(status);
  return std::move(response_);
}

CurlTransfer::~CurlTransfer() {
  if (!callback_) return;
  try {
    finish(Error(ErrorCode::kInternal, "out of memory while the request was prepared"));
  } catch (...) {
    // Not even the memory for the error.
  }
}

void CurlTransfer::finish(Result<HttpResponse> result) noexcept {
  try {
    const Transport::Callback callback = std::exchange(callback_, nullptr);
    if (callback) callback(std::move(result));
  } catch (...) {
    // A callback only hands over; what it throws must not end the I/O thread.
  }
}

CurlEasy CurlTransfer::reclaim() noexcept {
  curl_easy_reset(easy_.get());
  return std::move(easy_);
}

}  // namespace tinkex::internal
