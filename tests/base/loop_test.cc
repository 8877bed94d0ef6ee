#include "base/loop.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace isthmus::base {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(LoopTest, PostRunsInOrderAndNeverInsideTheCall) {
  Loop loop;
  std::vector<int> order;
  loop.Post([&] {
    order.push_back(1);
    loop.Post([&] { order.push_back(3); });
    order.push_back(2);
  });
  EXPECT_TRUE(order.empty());
  EXPECT_TRUE(loop.RunUntil([&] { return order.size() == 3; }, seconds(5)));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(LoopTest, PostAndStopFromAnotherThread) {
  Loop loop;
  int ran = 0;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) loop.Post([&] { ++ran; });
    loop.Post([&] { loop.Stop(); });
  });
  loop.Run();
  other.join();
  EXPECT_EQ(ran, 1000);
}

TEST(LoopTest, StopBeforeRunMakesRunReturnOnceOnly) {
  Loop loop;
  loop.Stop();
  loop.Run();
  bool ran = false;
  loop.Post([&] {
    ran = true;
    loop.Stop();
  });
  loop.Run();
  EXPECT_TRUE(ran);
}

TEST(LoopTest, RunUntilGivesUpAfterItsTimeout) {
  Loop loop;
  EXPECT_FALSE(loop.RunUntil([] { return false; }, milliseconds(5)));
  EXPECT_TRUE(loop.RunUntil([] { return true; }, milliseconds(0)));
}

// What is due before the loop waits for the first time ends it as well.
TEST(LoopTest, RunUntilDoesNotWaitForMoreThanItWants) {
  Loop loop;
  EXPECT_FALSE(loop.RunUntil([] { return false; }, milliseconds(0)));
  const auto begin = std::chrono::steady_clock::now();
  bool fired = false;
  const Timer timer = Timer::After(loop, milliseconds(0), [&] { fired = true; });
  EXPECT_TRUE(loop.RunUntil([&] { return fired; }, std::chrono::seconds(60)));
  bool posted = false;
  const Timer poster =
      Timer::After(loop, milliseconds(0), [&] { loop.Post([&] { posted = true; }); });
  EXPECT_TRUE(loop.RunUntil([&] { return posted; }, std::chrono::seconds(60)));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(LoopTest, DestroysTasksThatNeverRan) {
  auto held = std::make_shared<int>(1);
  {
    Loop loop;
    loop.Post([held] {});
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(LoopTest, TaskThatPostsWhenDestroyedDoesNotOutliveTheLoop) {
  struct Poster {
    Loop& loop;
    std::shared_ptr<int> held;
    ~Poster() {
      loop.Post([held = held] {});
    }
  };
  auto held = std::make_shared<int>(1);
  {
    Loop loop;
    loop.Post([poster = std::make_shared<Poster>(loop, held)] {});
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(TimerTest, FiresOnceAndNotEarly) {
  Loop loop;
  const auto start = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration after{};
  int fired = 0;
  Timer timer = Timer::After(loop, milliseconds(10), [&] {
    ++fired;
    after = std::chrono::steady_clock::now() - start;
  });
  EXPECT_TRUE(loop.RunUntil([&] { return fired > 0; }, seconds(5)));
  EXPECT_GE(after, milliseconds(9));
  EXPECT_FALSE(loop.RunUntil([&] { return fired > 1; }, milliseconds(20)));
}

TEST(TimerTest, RepeatsUntilCancelledInsideItsCallback) {
  Loop loop;
  int fired = 0;
  Timer timer;
  timer = Timer::Every(loop, milliseconds(1), [&] {
    if (++fired == 3) timer.Cancel();
  });
  EXPECT_TRUE(timer.active());
  EXPECT_TRUE(loop.RunUntil([&] { return fired == 3; }, seconds(5)));
  EXPECT_FALSE(timer.active());
  EXPECT_FALSE(loop.RunUntil([&] { return fired > 3; }, milliseconds(10)));
}

TEST(TimerTest, CallbackMayReplaceItsTimer) {
  Loop loop;
  std::vector<int> order;
  Timer timer;
  timer = Timer::After(loop, milliseconds(1), [&, held = std::make_shared<int>(7)] {
    timer = Timer::After(loop, milliseconds(1), [&] { order.push_back(2); });
    order.push_back(*held);  // The captures live until the callback is over.
  });
  EXPECT_TRUE(loop.RunUntil([&] { return order.size() == 2; }, seconds(5)));
  EXPECT_EQ(order, (std::vector<int>{7, 2}));
}

TEST(TimerTest, CancelReleasesWhatTheTaskHolds) {
  Loop loop;
  auto held = std::make_shared<int>(1);
  Timer timer = Timer::After(loop, seconds(100), [held] {});
  Timer repeating = Timer::Every(loop, seconds(100), [held] {});
  EXPECT_EQ(held.use_count(), 3);
  timer.Cancel();
  repeating.Cancel();
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace isthmus::base
