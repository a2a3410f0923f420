// A small pool of threads that wait by spinning, then by sleeping. Not OpenMP: as soon as two threads of a process use
// OpenMP, its barriers slow both down.
#pragma once
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
inline void relax() { _mm_pause(); }
#elif defined(__aarch64__)
inline void relax() { asm volatile("yield"); }
#else
inline void relax() {}
#endif

namespace loom {

class Pool {
 public:
  explicit Pool(int n) : n_(n < 1 ? 1 : n) {
    const int cores = (int)std::thread::hardware_concurrency();
    patient_ = cores > 0 && n_ > cores;  // more threads than cores: give way instead of spinning
    start();
  }
  ~Pool() {
    if (pid_ != getpid()) {  // a fork has no threads to join
      for (auto& t : threads_) t.detach();
      return;
    }
    stop();
  }
  int size() const { return n_; }

  // Runs work(t) on threads t = 0 .. size-1, the caller being 0; returns when all are done.
  void run(const std::function<void(int)>& work) {
    if (pid_ != getpid()) {  // the process was forked: its threads stayed behind
      for (auto& t : threads_) t.detach();
      threads_.clear();
      start();
    }
    if (n_ == 1) return work(0);
    work_ = &work;
    left_.store(n_ - 1, std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> hold(mutex_);
      epoch_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    work(0);
    for (int spins = 0; left_.load(std::memory_order_acquire) > 0; spins++) pause(spins);
  }

  // All threads of a run meet here.
  void barrier() {
    if (n_ == 1) return;
    const int turn = turn_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == n_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_release);
    } else {
      for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; spins++) pause(spins);
    }
  }

 private:
  void pause(int spins) const {
    if (patient_ || spins > 2000) std::this_thread::yield();
    else relax();
  }
  void start() {
    pid_ = getpid();
    ending_ = false;
    sleeping_ = 0;
    arrived_ = 0;
    turn_ = 0;
    const int epoch = epoch_.load();
    for (int t = 1; t < n_; t++) threads_.emplace_back([this, t, epoch] { loop(t, epoch); });
  }
  void stop() {
    {
      std::lock_guard<std::mutex> hold(mutex_);
      ending_ = true;
      epoch_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
    threads_.clear();
  }
  void loop(int t, int seen) {
    for (;;) {
      for (int spins = 0; epoch_.load(std::memory_order_acquire) == seen; spins++) {
        if (spins < (patient_ ? 50 : 4000)) {
          relax();
          continue;
        }
        std::unique_lock<std::mutex> hold(mutex_);
        sleeping_.fetch_add(1);
        wake_.wait(hold, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = epoch_.load(std::memory_order_acquire);
      if (ending_) return;
      (*work_)(t);
      left_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  const int n_;
  bool patient_ = false;
  pid_t pid_ = 0;
  std::vector<std::thread> threads_;
  const std::function<void(int)>* work_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> epoch_{0}, left_{0}, sleeping_{0};
  std::atomic<bool> ending_{false};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> turn_{0};
};

}  // namespace loom
