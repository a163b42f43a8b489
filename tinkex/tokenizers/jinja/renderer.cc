// Statements.

#include <memory>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/evaluator.h"

namespace tinkex::jinja {
namespace {

using Kind = Node::Kind;

enum class Flow { kOn, kBreak, kContinue };

class Renderer {
 public:
  Renderer(Run& run, Scope& scope, std::chrono::local_seconds now, std::string& out)
      : run_(run), scope_(scope), evaluator_(run, scope, now), out_(&out) {}

  Flow put_out(const Body& body) {
    for (const Node& node : body) {
      run_.enter(node.line);
      const Flow flow = run_.spend(1) ? put_out(node) : Flow::kBreak;
      if (flow != Flow::kOn || !run_.ok()) return flow;
    }
    return Flow::kOn;
  }

 private:
  Flow put_out(const Node& node) {
    switch (node.kind) {
      case Kind::kText: add(node.text); return Flow::kOn;
      case Kind::kOutput: add(to_text(run_, evaluator_.value_of(*node.expr))); return Flow::kOn;
      case Kind::kIf: return choose(node);
      case Kind::kFor: return loop(node);
      case Kind::kSet: assign(node, evaluator_.value_of(*node.expr)); return Flow::kOn;
      case Kind::kCapture: return capture(node);
      case Kind::kScope: return in_scope(node.bodies[0]);
      case Kind::kBreak: return Flow::kBreak;
      case Kind::kContinue: return Flow::kContinue;
    }
    return Flow::kOn;
  }

  void add(const std::string& text) {
    if (run_.spend_text(text.size())) *out_ += text;
  }

  Flow choose(const Node& node) {
    for (std::size_t i = 0; i < node.bodies.size(); ++i) {
      const bool holds = !node.conditions[i] || evaluator_.value_of(*node.conditions[i]).is_true();
      if (!run_.ok()) return Flow::kOn;
      if (holds) return put_out(node.bodies[i]);
    }
    return Flow::kOn;
  }

  Flow in_scope(const Body& body) {
    scope_.push();
    const Flow flow = put_out(body);
    scope_.pop();
    return flow;
  }

  Flow capture(const Node& node) {
    std::string text;
    std::string* const outside = std::exchange(out_, &text);
    const Flow flow = in_scope(node.bodies[0]);
    out_ = outside;
    if (flow == Flow::kOn) assign(node, Value::text(std::move(text)));
    return flow;
  }

  /// The elements of the loop that its condition lets in.
  std::shared_ptr<const std::vector<Value>> items_of(const Node& node) {
    const Value value = evaluator_.value_of(*node.expr);
    auto all = run_.ok() ? elements(run_, value) : std::nullopt;
    if (!all) return nullptr;
    if (!node.conditions[0]) return std::make_shared<const std::vector<Value>>(*std::move(all));
    auto chosen = std::make_shared<std::vector<Value>>();
    scope_.push();
    for (Value& item : *all) {
      if (!run_.spend(1)) break;
      assign(node, item);
      if (evaluator_.value_of(*node.conditions[0]).is_true()) chosen->push_back(std::move(item));
    }
    scope_.pop();
    return chosen;
  }

  Flow loop(const Node& node) {
    const auto items = items_of(node);
    if (!items || !run_.ok()) return Flow::kOn;
    if (items->empty()) return in_scope(node.bodies[1]);
    for (std::size_t i = 0; i < items->size() && run_.spend(1); ++i) {
      scope_.push();
      assign(node, (*items)[i]);
      scope_.set("loop", Value::loop(std::make_shared<const LoopData>(LoopData{items, i})));
      const Flow flow = run_.ok() ? put_out(node.bodies[0]) : Flow::kBreak;
      scope_.pop();
      if (flow == Flow::kBreak) break;
    }
    return Flow::kOn;
  }

  void assign(const Node& node, const Value& value) {
    const Target& target = node.target;
    if (!run_.ok()) return;
    if (!target.attribute.empty()) return assign_member(target, value);
    if (!target.unpacks) return scope_.set(target.names[0], value);
    if (value.is_undefined()) {
      run_.fail(value.why_undefined());
      return;
    }
    const auto items = elements(run_, value);
    if (!items) return;
    if (items->size() != target.names.size()) {
      run_.fail(std::to_string(items->size()) + " values for " +
                std::to_string(target.names.size()) + " names");
      return;
    }
    for (std::size_t i = 0; i < items->size(); ++i) scope_.set(target.names[i], (*items)[i]);
  }

  void assign_member(const Target& target, const Value& value) {
    const Value space = scope_.get(target.names[0]);
    if (space.space() == nullptr) {
      run_.fail(internal::quoted(target.names[0], 40) +
                " is no namespace, so that nothing in it can be set");
    } else if (target.attribute.starts_with('_') || !value.may_be_stored()) {
      run_.fail("a namespace has names without an underscore before them, and no namespaces");
    } else if (run_.spend_names(space.space()->items.size(), target.attribute)) {
      space.space()->set(target.attribute, value);
    }
  }

  Run& run_;
  Scope& scope_;
  Evaluator evaluator_;
  std::string* out_;
};

}  // namespace

void render(Run& run, const Body& body, Scope& scope, std::chrono::local_seconds now,
            std::string& out) {
  Renderer(run, scope, now, out).put_out(body);
}

}  // namespace tinkex::jinja
