#include "tests/bench/raw_curl.h"

#include <stdexcept>

namespace tinkex::bench {

RawEndpoint::RawEndpoint(const HttpRequest& request) : url(request.url) {
  headers = curl_slist_append(headers, "Expect:");
  for (const auto& [name, value] : request.headers) {
    headers = curl_slist_append(headers, (name + ": " + value).c_str());
  }
}

RawCurl::RawCurl(std::size_t connections) : multi_(curl_multi_init()) {
  curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(connections));
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(connections));
  for (std::size_t i = 0; i < connections; ++i) {
    auto slot = std::make_unique<Slot>();
    slot->easy = curl_easy_init();
    curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot.get());
    curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, &RawCurl::on_body);
    curl_easy_setopt(slot->easy, CURLOPT_WRITEDATA, slot.get());
    curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(slot->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(slot->easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(slot->easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    idle_.push_back(slot.get());
    slots_.push_back(std::move(slot));
  }
}

RawCurl::~RawCurl() {
  for (const auto& slot : slots_) {
    curl_multi_remove_handle(multi_, slot->easy);
    curl_easy_cleanup(slot->easy);
  }
  curl_multi_cleanup(multi_);
}

std::size_t RawCurl::on_body(char* data, std::size_t size, std::size_t count, void* slot) {
  static_cast<Slot*>(slot)->reply.append(data, size * count);
  return size * count;
}

bool RawCurl::start_waiting() {
  bool started = false;
  while (!idle_.empty() && !queue_.empty()) {
    Slot* const slot = idle_.back();
    idle_.pop_back();
    slot->request = queue_.front();
    queue_.pop_front();
    slot->reply.clear();
    curl_easy_setopt(slot->easy, CURLOPT_URL, slot->request.endpoint->url.c_str());
    curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->request.endpoint->headers);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, slot->request.body.data());
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(slot->request.body.size()));
    curl_multi_add_handle(multi_, slot->easy);
    started = true;
  }
  return started;
}

void RawCurl::finish(CURL* easy, CURLcode code, const OnReply& on_reply) {
  Slot* slot = nullptr;
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &slot);
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_multi_remove_handle(multi_, easy);
  if (code != CURLE_OK || status != 200) {
    throw std::runtime_error("libcurl: " + slot->request.endpoint->url + ": status " +
                             std::to_string(status) + ", " + curl_easy_strerror(code));
  }
  const RawRequest request = slot->request;
  on_reply(request, slot->reply);
  idle_.push_back(slot);
}

void RawCurl::run(const OnReply& on_reply) {
  start_waiting();
  while (idle_.size() < slots_.size()) {
    int running = 0;
    curl_multi_perform(multi_, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg == CURLMSG_DONE)
        finish(message->easy_handle, message->data.result, on_reply);
    }
    if (start_waiting() || idle_.size() == slots_.size()) continue;
    curl_multi_poll(multi_, nullptr, 0, 1'000, nullptr);
  }
}

}  // namespace tinkex::bench
