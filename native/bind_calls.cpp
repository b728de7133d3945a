// Calls that go on without the interpreter's lock, and the end of the interpreter.
//
// A thread that asks for the lock once the interpreter has ended is ended by Python on the spot: it is unwound, and
// where destructors that must not throw lie on its stack, as under a native call, the whole process dies of that. So
// the interpreter waits for the calls that go on before it ends, and from then on calls keep the lock: they have none
// to ask for. Python's layers call in pieces of a twentieth of a second, so that nothing is waited for long.
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

#include "bind.h"

namespace nearfield {
namespace {

std::atomic<int> going{0};  // calls without the lock
bool ending = false;        // read and written under the lock

// What daemon threads, or in a child its parent's other threads, still hold when the interpreter ends is no leak.
void accept_leaks() { nb::set_leak_warnings(false); }

// A thread may also stand in Python code that native code called. Python unwinds it all the same, which must not end the
// process either: such a thread sleeps until the process has ended, as under Python 3.14.
std::terminate_handler usual = nullptr;
std::thread::id first_thread;

[[noreturn]] void sleep_or_abort() {
  if (std::this_thread::get_id() == first_thread && usual) usual();
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

bool has_other_threads() {
  PyThreadState* first = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
  return first && PyThreadState_Next(first);
}

void end_calls() {
  ending = true;
  if (has_other_threads()) {
    accept_leaks();
    first_thread = std::this_thread::get_id();
    usual = std::set_terminate(sleep_or_abort);
  }
  nb::gil_scoped_release release;
  while (going.load() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// The calls of the parent's other threads do not go on in a child.
void begin_child() {
  going = 0;
  accept_leaks();
}

}  // namespace

Unlocked::Unlocked() {
  if (ending) return;
  ++going;
  state_ = PyEval_SaveThread();
}

Unlocked::~Unlocked() {
  if (!state_) return;
  PyEval_RestoreThread(state_);
  --going;
}

void bind_calls() {
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(end_calls));
  const nb::module_ os = nb::module_::import_("os");
  if (nb::hasattr(os, "register_at_fork"))
    os.attr("register_at_fork")(nb::arg("after_in_child") = nb::cpp_function(begin_child));
}

}  // namespace nearfield
