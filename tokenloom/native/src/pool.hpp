// A small pool of threads that share the tiles of one loop at a time. Not OpenMP: as soon as two threads of a process
// use OpenMP, its barriers slow both down.
//
// Whoever is free takes the next tile, and a loop is over when its tiles are done, not when every thread has been
// there: a thread that the system keeps from running holds up no one unless it sits in the middle of a tile. Waits
// spin for some microseconds, then sleep, so that on a busy machine the core goes to whom is waited for.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
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
  explicit Pool(int n) : n_(std::max(n, 1)) {
    cores_ = (int)std::thread::hardware_concurrency();
    spins_ = cores_ > 0 && n_ > cores_ ? 20 : SPINS;  // with more threads than cores, give way at once
    start();
  }
  ~Pool() {
    if (pid_ == getpid()) stop();
    else leave();
  }
  int size() const { return n_; }

  // To be called before the loops of a step: a fork took no threads along, so it gets its own.
  void begin() {
    if (pid_ == getpid()) return;
    leave();
    start();
  }

  // Runs work(a, b, t) for [0, items) cut into tiles [a, b) of `grain`, on this thread (t = 0) and the free ones
  // (t < size). Returns when all is done. One caller at a time.
  template <class Work> void each(int items, int grain, Work&& work) {
    if (items <= 0) return;
    const int tiles = (items + grain - 1) / grain;
    if (n_ == 1 || tiles == 1) return work(0, items, 0);
    using Plain = std::remove_reference_t<Work>;
    job_ = {[](void* w, int a, int b, int t) { (*(Plain*)w)(a, b, t); }, (void*)&work, items, grain, tiles};
    done_.store(0, std::memory_order_relaxed);
    loop_++;
    ticket_.store((uint64_t)loop_ << 32 | (uint32_t)tiles);
    if (sleeping_.load() > 0) {
      wake_.fetch_add(1);
      wake_.notify_all();
    }
    uint64_t now;
    while ((uint32_t)(now = ticket_.load(std::memory_order_relaxed)) > 0) take(now, 0);
    for (int spins = 0, done; (done = done_.load(std::memory_order_acquire)) != tiles; spins++) {
      if (spins < spins_) relax();
      else done_.wait(done, std::memory_order_acquire);
    }
  }

 private:
  static constexpr int SPINS = 2000;   // some tens of microseconds, longer than a tile
  static constexpr int YIELDS = 3000;  // about a millisecond, longer than what lies between two steps
  struct Job {
    void (*run)(void* work, int a, int b, int t);
    void* work;
    int items, grain, tiles;
  };

  void start() {
    pid_ = getpid();
    ticket_ = 0;
    sleeping_ = 0;
    ending_ = false;
    try {
      for (int t = 1; t < n_; t++) threads_.emplace_back([this, t] { serve(t); });
    } catch (...) {
      stop();
      throw;
    }
  }
  void stop() {
    ending_.store(true);
    wake_.fetch_add(1);
    wake_.notify_all();
    for (auto& t : threads_) t.join();
    threads_.clear();
  }
  // In a fork: the threads are not here, so they can be neither joined nor detached.
  void leave() {
    (void)new std::vector<std::thread>(std::move(threads_));
    threads_.clear();
  }
  // The low half of the ticket is how many tiles are left to take, the high half which loop they are of. A tile taken
  // keeps its loop, and so the job, from ending.
  void take(uint64_t now, int t) {
    if (!ticket_.compare_exchange_strong(now, now - 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
    const Job job = job_;
    const int a = (job.tiles - (int)(uint32_t)now) * job.grain;
    job.run(job.work, a, std::min(a + job.grain, job.items), t);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == job.tiles && t > 0) done_.notify_one();
  }
  void serve(int t) {
    for (int spins = 0;;) {
      const uint64_t now = ticket_.load(std::memory_order_relaxed);
      if ((uint32_t)now > 0) {
        take(now, t);
        spins = 0;
      } else if (spins < spins_) {
        spins++;
        relax();
      } else if (spins < spins_ + YIELDS && n_ <= cores_) {
        spins++;  // between two steps: whoever else wants the core gets it, and nobody has to wake this thread
        std::this_thread::yield();
      } else {
        const int seen = wake_.load();
        sleeping_.fetch_add(1);
        if (!ending_.load() && (uint32_t)ticket_.load() == 0) wake_.wait(seen);
        sleeping_.fetch_sub(1);
        if (ending_.load()) return;
        spins = 0;
      }
    }
  }

  const int n_;
  int cores_;
  int spins_;
  pid_t pid_ = 0;
  std::vector<std::thread> threads_;
  Job job_{};
  uint32_t loop_ = 0;
  std::atomic<bool> ending_{false};
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int> done_{0};
  alignas(64) std::atomic<int> sleeping_{0};
  std::atomic<int> wake_{0};
};

}  // namespace loom
