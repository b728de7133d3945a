// Something that is done once, by whoever comes first, while others wait; where it throws, by the next one again.
// std::call_once promises that too, but where pthread_once cannot be left by an exception, all wait for ever.
#pragma once
#include <atomic>
#include <mutex>

namespace nearfield {

class Once {
 public:
  template <class Job>
  void run(Job job) {
    if (done_.load(std::memory_order_acquire)) return;
    const std::lock_guard<std::mutex> held(lock_);
    if (done_.load(std::memory_order_relaxed)) return;
    job();
    done_.store(true, std::memory_order_release);
  }

 private:
  std::mutex lock_;
  std::atomic<bool> done_{false};
};

}  // namespace nearfield
