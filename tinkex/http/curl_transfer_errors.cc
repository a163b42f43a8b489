// What an exchange that failed is told as.

#include <algorithm>
#include <string>
#include <utility>

#include "tinkex/http/curl_transfer.h"

namespace tinkex::internal {

std::string CurlTransfer::server_of(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  const std::string authority = url.substr(host, url.find_first_of("/?#", host) - host);
  return authority.substr(authority.rfind('@') + 1);
}

Error CurlTransfer::error_of(CURLcode code) const {
  const std::string server = server_of(request_.url);
  if (too_large_ || code == CURLE_FILESIZE_EXCEEDED) {
    return Error(ErrorCode::kDecode, "the reply of " + server + " is longer than the " +
                                         std::to_string(request_.max_response_bytes) +
                                         " bytes allowed");
  }
  std::string cause =
      error_text_.front() != '\0' ? std::string(error_text_.data()) : curl_easy_strerror(code);
  if (repeat_refused_) cause = "the server closed it before it replied";
  if (has_begun_to_leave()) return error_after_sending(code, server, cause);
  // Whose text would show it, password and all.
  if (proxy_is_torn_ || cause.starts_with("Unsupported proxy")) {
    return invalid_argument("the proxy for " + server +
                            " is no URL that libcurl can use; http_proxy, https_proxy or all_proxy "
                            "names it, where '@', ':', '/', '?', '#' and '%' in a password are "
                            "written %40, %3A, %2F, %3F, %23 and %25")
        .with_not_accepted(true);
  }
  return error_before_sending(code, server, cause);
}

/// Of the server or, if the request goes by one, its proxy.
Error CurlTransfer::error_without_connection(const std::string& server,
                                             const std::string& cause) const {
  long proxy_status = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_HTTP_CONNECTCODE, &proxy_status);
  const bool refused = proxy_status / 100 == 4 && proxy_status != 408 && proxy_status != 429;
  const char* remedy =
      proxy_status / 100 == 4 ? "; is the proxy right that https_proxy or all_proxy names, and may "
                                "it be used for that server?"
      : may_use_proxy_ ? "; is the server running, and are the base URL and the proxy right that "
                         "http_proxy, https_proxy or all_proxy names?"
                       : "; is the server running, and is the base URL right?";
  return Error(ErrorCode::kConnection, "could not connect to " + server + ": " + cause + remedy)
      .with_not_accepted(true)
      .with_retryable(!refused);
}

Error CurlTransfer::error_before_sending(CURLcode code, const std::string& server,
                                         const std::string& cause) const {
  const auto failed = [](ErrorCode kind, std::string message) {
    return Error(kind, std::move(message)).with_not_accepted(true);
  };
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return failed(ErrorCode::kInvalidArgument,
                    "the URL of " + server + " is not usable: " + cause);
    case CURLE_SSL_CACERT_BADFILE:
      return failed(ErrorCode::kInvalidArgument,
                    "the file of trusted certificates cannot be used: " + cause +
                        "; SSL_CERT_FILE and ClientOptions::ca_file name a PEM file");
    case CURLE_PEER_FAILED_VERIFICATION:
      return failed(ErrorCode::kConnection,
                    "the certificate of " + server + " is not valid: " + cause +
                        "; to trust an authority of your own, name its PEM file in SSL_CERT_FILE "
                        "or ClientOptions::ca_file");
    case CURLE_OPERATION_TIMEDOUT: {
      const auto allowed = std::min(request_.connect_timeout, request_.timeout);
      return failed(ErrorCode::kTimeout, "no connection to " + server + " within " +
                                             std::to_string(allowed.count()) + " ms")
          .with_retryable(true);
    }
    default: return error_without_connection(server, cause);
  }
}

Error CurlTransfer::error_after_sending(CURLcode code, const std::string& server,
                                        const std::string& cause) const {
  const auto failed = [](ErrorCode kind, std::string message) {
    return Error(kind, std::move(message)).with_retryable(true);
  };
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
      return failed(ErrorCode::kConnection,
                    server + " answered something that is not HTTP: " + cause);
    case CURLE_OPERATION_TIMEDOUT:
      // Not the silence of a server that holds a poll: that answers, if at all, in one piece.
      if (has_content_) {
        return failed(
            ErrorCode::kConnection,
            "the reply of " + server + " came to a standstill after " +
                std::to_string(response_.body.size()) + " bytes; " +
                (is_held_to_rate_
                     ? "they were too few to be worth waiting for more"
                     : "none came for " + std::to_string(request_.timeout.count()) + " ms"));
      }
      return failed(ErrorCode::kTimeout, "no complete reply from " + server + " within " +
                                             std::to_string(request_.timeout.count()) + " ms");
    default:
      return failed(ErrorCode::kConnection, "the connection to " + server + " broke: " + cause);
  }
}

}  // namespace tinkex::internal
