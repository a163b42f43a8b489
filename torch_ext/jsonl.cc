#include "torch_ext/jsonl.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace tinkex::torch_ext {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// Of a file, one line after another.
class LineReader {
 public:
  static Result<LineReader> open(const std::filesystem::path& file, std::size_t longest_line) {
    std::error_code ignored;  // fopen() tells what is wrong.
    const auto refuse = [&](const std::string& why) {
      // The whole path: a relative one may be meant for another directory.
      return Error(ErrorCode::kIo, std::filesystem::absolute(file, ignored).string() + ": " + why)
          .with_not_accepted(true);
    };
    if (std::filesystem::is_directory(file, ignored)) {
      return refuse("is a directory; name a file of JSON lines");
    }
    LineReader reader(file.string(), longest_line);
    reader.file_.reset(std::fopen(file.c_str(), "rb"));
    if (reader.file_ == nullptr) {
      return refuse(std::generic_category().message(errno) + "; check the name");
    }
    return reader;
  }

  /// The next line without its end, valid until the next call; nullopt after the last.
  Result<std::optional<std::string_view>> next() {
    line_.clear();
    for (bool ended = false; !ended;) {
      if (begin_ == end_) {
        const Status filled = fill();
        if (!filled) return filled.error();
        if (end_ == 0) break;
      }
      const auto from = buffer_.begin() + static_cast<std::ptrdiff_t>(begin_);
      const auto stop = std::find(from, buffer_.begin() + static_cast<std::ptrdiff_t>(end_), '\n');
      const auto length = static_cast<std::size_t>(stop - from);
      if (length > longest_line_ - line_.size()) return too_long();
      line_.append(from, stop);
      begin_ += length;
      ended = begin_ < end_;
      if (ended) ++begin_;
      if (ended) ++progress_.lines;
    }
    if (line_.empty() && end_ == 0) return std::optional<std::string_view>();
    if (end_ == 0) ++progress_.lines;  // The last one has no end.
    std::string_view line = line_;
    if (progress_.lines == 1 && line.starts_with(kByteOrderMark)) {
      line.remove_prefix(kByteOrderMark.size());
    }
    return std::optional(line);
  }

  const JsonlProgress& progress() const { return progress_; }
  std::string place() const { return name_ + ":" + std::to_string(progress_.lines); }

 private:
  LineReader(std::string name, std::size_t longest_line)
      : name_(std::move(name)), longest_line_(longest_line) {}

  Status fill() {
    buffer_.resize(std::size_t{64} << 10);
    begin_ = 0;
    end_ = std::fread(buffer_.data(), 1, buffer_.size(), file_.get());
    progress_.bytes += end_;
    if (end_ == 0 && std::ferror(file_.get()) != 0) {
      return Error(ErrorCode::kIo, name_ + ": " + std::generic_category().message(errno))
          .with_not_accepted(true);
    }
    return ok_status();
  }

  Error too_long() const {
    return invalid_argument(name_ + ":" + std::to_string(progress_.lines + 1) +
                            ": the line has more than " + std::to_string(longest_line_) +
                            " bytes, the most that are read of one; split the example");
  }

  std::string name_;
  std::size_t longest_line_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, &std::fclose};
  std::string buffer_;
  std::size_t begin_ = 0;  ///< What is left of the buffer.
  std::size_t end_ = 0;
  std::string line_;
  JsonlProgress progress_;
};

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

Status take_line(std::string_view line, std::size_t number, const ExampleSink& take) {
  Result<TextExample> example = parse_example(line);
  if (!example) return std::move(example).error();
  example->line = number;
  return take(*std::move(example));
}

}  // namespace

Status for_each_example(const std::filesystem::path& file, const ExampleSink& take,
                        const JsonlOptions& options) {
  Result<LineReader> reader = LineReader::open(file, options.longest_line);
  if (!reader) return std::move(reader).error();
  constexpr std::uint64_t kReportEvery = std::uint64_t{1} << 20;
  std::uint64_t reported = 0;
  bool any = false;
  while (true) {
    Result<std::optional<std::string_view>> line = reader->next();
    if (!line) return std::move(line).error();
    if (!line->has_value()) break;
    if (is_blank(**line)) continue;
    any = true;
    if (Status taken = take_line(**line, reader->progress().lines, take); !taken) {
      return std::move(taken).error().with_context(reader->place());
    }
    if (options.progress && reader->progress().bytes >= reported + kReportEvery) {
      reported = reader->progress().bytes;
      options.progress(reader->progress());
    }
  }
  if (!any) {
    return invalid_argument(file.string() + ": has no examples; give it at least one line");
  }
  if (options.progress) options.progress(reader->progress());
  return ok_status();
}

Result<std::vector<TextExample>> read_jsonl(const std::filesystem::path& file,
                                            const JsonlOptions& options) {
  std::vector<TextExample> examples;
  const auto take = [&](TextExample example) {
    examples.push_back(std::move(example));
    return ok_status();
  };
  if (Status read = for_each_example(file, take, options); !read) return std::move(read).error();
  return examples;
}

}  // namespace tinkex::torch_ext
