#include "tests/attention/cuda_emulator/fiber.h"

#include <utility>

#if defined(__x86_64__)
// Saves the callee-saved registers and the stack pointer, and takes up another's: a few
// nanoseconds, where swapcontext() asks the kernel for the signal mask each time.
extern "C" void monarch_switch_stack(void** save, void* load);
asm(R"(
.text
.globl monarch_switch_stack
.type monarch_switch_stack, @function
monarch_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size monarch_switch_stack, .-monarch_switch_stack
)");
#else
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace monarch::attention::test {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 512 << 10;  // red zones around every array
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif
thread_local void* entering = nullptr;  // the state of the fiber that starts

}  // namespace

struct Fiber::State {
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  std::function<void()> body;
  bool finished = true;
#if defined(__x86_64__)
  void* inside = nullptr;
  void* outside = nullptr;
#else
  ucontext_t inside;
  ucontext_t outside;
#endif
  void* outside_fake_stack = nullptr;  // AddressSanitizer's
  void* inside_fake_stack = nullptr;
  const void* outside_stack = nullptr;
  std::size_t outside_stack_bytes = 0;

  void switch_in() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&outside_fake_stack, stack.get(), kStackBytes);
#endif
    entering = this;
#if defined(__x86_64__)
    monarch_switch_stack(&outside, inside);
#else
    swapcontext(&outside, &inside);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(outside_fake_stack, nullptr, nullptr);
#endif
  }
  void switch_out() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(finished ? nullptr : &inside_fake_stack, outside_stack,
                                   outside_stack_bytes);
#endif
#if defined(__x86_64__)
    monarch_switch_stack(&inside, outside);
#else
    swapcontext(&inside, &outside);
#endif
    arrived_inside();
  }
  void arrived_inside() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(inside_fake_stack, &outside_stack, &outside_stack_bytes);
#endif
  }
};

Fiber::Fiber() : state_(std::make_unique<State>()) {}
Fiber::~Fiber() = default;

void Fiber::enter() {
  auto* state = static_cast<State*>(entering);
  state->arrived_inside();
  state->body();
  state->finished = true;
  state->switch_out();
}

void Fiber::start(std::function<void()> body) {
  state_->body = std::move(body);
  state_->finished = false;
  state_->inside_fake_stack = nullptr;
#if defined(__x86_64__)
  // As if enter() had been called and had switched away at once: six registers, a return address,
  // and the alignment that a function finds at its start.
  auto* top = reinterpret_cast<void**>(state_->stack.get() + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fiber::enter);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  state_->inside = top;
#else
  getcontext(&state_->inside);
  state_->inside.uc_stack.ss_sp = state_->stack.get();
  state_->inside.uc_stack.ss_size = kStackBytes;
  state_->inside.uc_link = nullptr;
  makecontext(&state_->inside, &Fiber::enter, 0);
#endif
}

void Fiber::resume() { state_->switch_in(); }
void Fiber::pause() { state_->switch_out(); }
bool Fiber::finished() const { return state_->finished; }

}  // namespace monarch::attention::test
