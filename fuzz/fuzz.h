#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace isthmus::fuzz {

/// A seeded generator (splitmix64): the same seed gives the same rounds on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// A number below `limit`, which must not be 0.
  size_t Below(size_t limit) { return static_cast<size_t>(Next() % limit); }
  bool OneIn(size_t times) { return Below(times) == 0; }

 private:
  uint64_t state_;
};

/// A parser of ours that is fed with bytes from strangers. Made once, run for many inputs; what it
/// asserts must hold for every input. Runs on the main thread of a process of its own.
class Target {
 public:
  virtual ~Target() = default;
  /// `random` is for what is no part of the input: how it is cut into pieces, above all.
  virtual void Run(std::string_view input, Random& random) = 0;
};

/// A row of the table of targets; `name` is also the folder below corpus/.
struct TargetKind {
  std::string_view name;
  std::string_view about;
  std::unique_ptr<Target> (*make)();
  /// Rounds of the short run that belongs to the tests, about a second's.
  int short_rounds;
};

/// Ends the process with a message when `holds` is false.
void Require(bool holds, std::string_view what);

/// Cuts `input` into one to four pieces.
std::vector<std::string_view> Cut(std::string_view input, Random& random);

// One a file of targets.
std::unique_ptr<Target> NewHttp1Target();
std::unique_ptr<Target> NewHttp2Target();
std::unique_ptr<Target> NewWebSocketTarget();
std::unique_ptr<Target> NewSpdyTarget();
std::unique_ptr<Target> NewGrpcTarget();
std::unique_ptr<Target> NewDnsTarget();
std::unique_ptr<Target> NewXdsTarget();
std::unique_ptr<Target> NewKubeProtobufTarget();
std::unique_ptr<Target> NewTokenTarget();
std::unique_ptr<Target> NewCertificateTarget();
std::unique_ptr<Target> NewDocumentTarget();
std::unique_ptr<Target> NewKubeconfigTarget();
std::unique_ptr<Target> NewReviewTarget();
std::unique_ptr<Target> NewTextTarget();

}  // namespace isthmus::fuzz
