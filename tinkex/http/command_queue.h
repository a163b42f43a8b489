#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace tinkex::internal {

/// Hands commands from any thread to one consumer, first in first out, without a lock.
///
/// Races. The queue is a linked stack whose head is one atomic pointer. A push links the old head
/// behind the new node in one compare-exchange; the consumer takes the whole stack in one exchange
/// and turns it round, so no node is ever seen by two threads and there is no ABA. push() says
/// whether the queue was empty: only then must the consumer be woken, because a queue that was not
/// empty has a wake-up under way that the consumer answers with another take. close() leaves a mark
/// in place of the head, after which no push can succeed: each command is either taken by the last
/// take or refused.
template <class Command>
class CommandQueue {
 public:
  enum class Pushed { kFirst, kBehindOthers, kClosed };

  CommandQueue() = default;
  CommandQueue(const CommandQueue&) = delete;
  CommandQueue& operator=(const CommandQueue&) = delete;
  ~CommandQueue() { close(); }

  /// Takes `command` over, unless the queue is closed; then it is left as it was.
  Pushed push(Command& command) {
    auto node = std::make_unique<Node>();
    Node* head = head_.load(std::memory_order_relaxed);
    if (head == closed_mark()) return Pushed::kClosed;
    node->command = std::move(command);
    do {
      if (head == closed_mark()) {
        command = std::move(node->command);
        return Pushed::kClosed;
      }
      node->next = head;
    } while (!head_.compare_exchange_weak(head, node.get(), std::memory_order_release,
                                          std::memory_order_relaxed));
    (void)node.release();  // the queue owns it now
    return head == nullptr ? Pushed::kFirst : Pushed::kBehindOthers;
  }

  /// Everything pushed so far, oldest first. Consumer only.
  std::vector<Command> take() { return unlink(head_.exchange(nullptr, std::memory_order_acquire)); }

  /// Refuses every later push and gives what was there. Consumer only; idempotent.
  std::vector<Command> close() {
    Node* head = head_.exchange(closed_mark(), std::memory_order_acq_rel);
    return head == closed_mark() ? std::vector<Command>() : unlink(head);
  }

 private:
  struct Node {
    Node* next = nullptr;
    Command command{};
  };

  Node* closed_mark() noexcept { return &closed_; }

  static std::vector<Command> unlink(Node* newest) {
    Node* oldest = nullptr;
    while (newest != nullptr) {
      Node* next = std::exchange(newest->next, oldest);
      oldest = std::exchange(newest, next);
    }
    std::vector<Command> commands;
    while (oldest != nullptr) {
      std::unique_ptr<Node> node(oldest);
      oldest = node->next;
      commands.push_back(std::move(node->command));
    }
    return commands;
  }

  Node closed_;  // only its address is used
  std::atomic<Node*> head_{nullptr};
};

}  // namespace tinkex::internal
