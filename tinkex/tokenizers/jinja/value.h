#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tinkex::jinja {

class Run;
struct ListData;
struct DictData;
struct NamespaceData;
struct LoopData;

/// What templates may call by name.
enum class Function { kRaiseException, kStrftimeNow, kNamespace, kDict, kRange };

/// A value of Jinja, with Python's meaning. Copies are cheap: what is large is shared, and does not
/// change, but for namespaces.
class Value {
 public:
  struct Undefined {
    std::shared_ptr<const std::string> why;  ///< Null: a value that is missing.
  };
  struct None {};

  Value() = default;  ///< Undefined.
  static Value undefined(std::string why) {
    return Value(Undefined{std::make_shared<const std::string>(std::move(why))});
  }
  static Value none() { return Value(None{}); }
  static Value boolean(bool value) { return Value(value); }
  static Value integer(std::int64_t value) { return Value(value); }
  static Value real(double value) { return Value(value); }
  /// Of UTF-8.
  static Value text(std::string value) {
    return Value(std::make_shared<const std::string>(std::move(value)));
  }
  static Value function(Function value) { return Value(value); }
  static Value space(std::shared_ptr<NamespaceData> value) { return Value(std::move(value)); }
  static Value loop(std::shared_ptr<const LoopData> value) { return Value(std::move(value)); }
  /// A list, or a tuple. An error of the run, and undefined, if it is nested too deeply or has
  /// what must not be stored: a namespace could hold itself, and would live for ever.
  static Value list(Run& run, std::vector<Value> items, bool tuple = false);
  /// Of two equal keys the first has its place and the second its value. `unique`: there are none.
  static Value dict(Run& run, std::vector<std::pair<Value, Value>> items, bool unique = false);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  // Null where it is another type.
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const std::string* text() const { return shared<const std::string>(); }
  const ListData* list() const { return shared<const ListData>(); }
  const DictData* dict() const { return shared<const DictData>(); }
  NamespaceData* space() const { return shared<NamespaceData>(); }
  const LoopData* loop() const { return shared<const LoopData>(); }
  const Function* function() const { return std::get_if<Function>(&data_); }
  /// The number of an integer or a boolean, which is one in Python.
  std::optional<std::int64_t> whole() const;
  /// The number of those and of a float.
  std::optional<double> number() const;
  /// Whether it is an integer and no boolean.
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }

  bool is_true() const;
  /// As Python calls the type: `str`, `NoneType`.
  std::string type_name() const;
  /// Why it is undefined.
  std::string why_undefined() const;
  /// Levels of lists and dicts.
  int depth() const;
  bool may_be_stored() const { return space() == nullptr && loop() == nullptr; }

 private:
  template <class T>
  explicit Value(T data) : data_(std::move(data)) {}
  template <class T>
  T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  std::variant<Undefined, None, bool, std::int64_t, double, Function,
               std::shared_ptr<const std::string>, std::shared_ptr<const ListData>,
               std::shared_ptr<const DictData>, std::shared_ptr<NamespaceData>,
               std::shared_ptr<const LoopData>>
      data_;
};

struct ListData {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;
};

/// In the order of insertion; keys are texts, numbers, booleans or None, and none is there twice.
struct DictData {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;
};

struct NamespaceData {
  std::vector<std::pair<std::string, Value>> items;

  /// Undefined without that name.
  Value get(std::string_view name) const;
  void set(std::string_view name, Value value);
};

/// Where a `for` is.
struct LoopData {
  std::shared_ptr<const std::vector<Value>> items;
  std::size_t index = 0;  ///< From 0.
};

/// What one rendering may use, and the first thing that went wrong in it.
class Run {
 public:
  /// `line` is where errors are, 0 if they are in no line.
  Run(std::size_t units, int line) : left_(units), line_(line) {}

  bool ok() const noexcept { return !error_; }
  /// The first error, with its line.
  const std::string& error() const noexcept { return *error_; }
  /// The value is undefined, for `return run.fail(...)`.
  Value fail(const std::string& what);

  /// Whether the run may go on. A unit is about a nanosecond or ten.
  bool spend(std::size_t units);
  /// For work on so many bytes of text.
  bool spend_text(std::size_t bytes) { return spend(bytes / 8 + 1); }
  /// For a search, which may compare all of one with all of the other.
  bool spend_search(std::size_t bytes, std::size_t wanted);
  /// For a search among so many names.
  bool spend_names(std::size_t names, std::string_view wanted) {
    return spend(names * (wanted.size() / 64 + 1));
  }

  std::size_t left() const noexcept { return left_; }

  void enter(int line) noexcept { line_ = line; }

 private:
  std::size_t left_;
  int line_;
  std::optional<std::string> error_;
};

/// `str(value)`: empty for undefined, and after an error of the run.
std::string to_text(Run& run, const Value& value);
/// `repr(value)`.
std::string repr(Run& run, const Value& value);
/// A float as Python writes it.
std::string real_text(double value);

/// `a == b`.
bool equal(Run& run, const Value& a, const Value& b);
/// Null if the dict has no such key.
const Value* find(Run& run, const DictData& dict, const Value& key);
/// What a loop over the value sees; nullopt, and an error of the run, for what has no elements.
std::optional<std::vector<Value>> elements(Run& run, const Value& value);

}  // namespace tinkex::jinja
