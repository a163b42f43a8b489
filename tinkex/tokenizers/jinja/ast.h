#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class Op {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kUnequal,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr {
  enum class Kind {
    kConstant,     ///< value
    kName,         ///< name
    kList,         ///< parts
    kTuple,        ///< parts
    kDict,         ///< parts: key, value, key, value, ...
    kAttribute,    ///< parts[0] . name
    kItem,         ///< parts[0] [ parts[1] ]
    kSlice,        ///< parts[0] [ parts[1] : parts[2] : parts[3] ], each of which may be null
    kCall,         ///< parts[0] ( the others, named )
    kFilter,       ///< parts[0] | name ( the others, named )
    kTest,         ///< parts[0] is name ( the others, named )
    kNot,          ///< not parts[0]
    kNegative,     ///< - parts[0]
    kPositive,     ///< + parts[0]
    kArithmetic,   ///< parts[0] ops[0] parts[1]
    kConcatenate,  ///< all parts as one text
    kAnd,          ///< parts[0], parts[1]
    kOr,           ///< the same
    kCompare,      ///< parts[0] ops[0] parts[1] ops[1] parts[2] ...
    kConditional,  ///< parts[0] if parts[1] else parts[2], which may be null
  };
  Kind kind = Kind::kConstant;
  int line = 1;
  int depth = 1;  ///< Levels of expressions.
  std::string name;
  Value value;
  std::vector<ExprPtr> parts;
  std::vector<std::pair<std::string, ExprPtr>> named;
  std::vector<Op> ops;
};

struct Node;
using Body = std::vector<Node>;

/// Where a value goes: one name, several names that share its elements, or a namespace's.
struct Target {
  std::vector<std::string> names;
  bool unpacks = false;
  std::string attribute;  ///< Of the namespace names[0]; empty: none.
};

struct Node {
  enum class Kind {
    kText,     ///< text
    kOutput,   ///< {{ expr }}
    kIf,       ///< the first body whose condition holds; a null one always does
    kFor,      ///< bodies[0] for target in expr, if conditions[0]; else bodies[1]
    kSet,      ///< target = expr
    kCapture,  ///< target = what bodies[0] puts out
    kScope,    ///< bodies[0], with names of its own
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  int line = 1;
  std::string text;
  Target target;
  ExprPtr expr;
  std::vector<ExprPtr> conditions;
  std::vector<Body> bodies;
};

}  // namespace tinkex::jinja
