// isthmus_fuzz: feeds parsers with mutations of a corpus, by a seeded generator, for a bounded
// number of rounds. Build it with the asan preset: what it looks for is what the sanitizers find,
// and hangs.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "corpus.h"
#include "fuzz.h"
#include "mutator.h"

namespace isthmus::fuzz {
namespace {

constexpr std::string_view kUsage =
    R"(isthmus_fuzz [--rounds N] [--seed S] [--corpus FOLDER] [--keep FOLDER] [TARGET...]
isthmus_fuzz TARGET --input FILE

Without a target all run. Without --rounds the short run is done, which belongs to the tests. The same seed gives
the same inputs. An input that breaks a target is written to the --keep folder (default: the working folder);
--input runs one file once.
)";

constexpr TargetKind kTargets[] = {
    {"http1", "HTTP/1.1 requests at http::Server", &NewHttp1Target, 600},
    {"http2", "HTTP/2 frames at http::Server, gRPC calls among them", &NewHttp2Target, 600},
    {"websocket", "frames of either side of http::WebSocket", &NewWebSocketTarget, 20000},
    {"spdy", "frames and header blocks of the lab's SPDY/3.1", &NewSpdyTarget, 4000},
    {"grpc", "rpc::MessageReader and grpc-message", &NewGrpcTarget, 20000},
    {"dns", "queries to the DNS of the agent and of the lab", &NewDnsTarget, 20000},
    {"xds", "discovery requests and responses, nodes, name tables", &NewXdsTarget, 10000},
    {"kube_protobuf", "objects in Kubernetes' protobuf form at the lab's API server",
     &NewKubeProtobufTarget, 10000},
    {"token", "service-account tokens", &NewTokenTarget, 4000},
    {"certificate", "certificates, requests and keys", &NewCertificateTarget, 2000},
    {"document", "JSON and YAML, there and back", &NewDocumentTarget, 1500},
    {"kubeconfig", "kubeconfigs of remote secrets", &NewKubeconfigTarget, 1000},
    {"review", "admission reviews, and what validation makes of their objects", &NewReviewTarget,
     1000},
    {"text", "addresses, times, durations, quantities, selectors, identities", &NewTextTarget,
     20000},
};

// What the child is at, where the parent can still read it when the child has died.
struct Progress {
  std::atomic<uint64_t> round{0};
  std::atomic<size_t> size{0};
  char input[1 << 17];
};

struct Options {
  uint64_t rounds = 0, seed = 1;
  std::string corpus = ISTHMUS_FUZZ_CORPUS, keep = ".", input;
  std::vector<const TargetKind*> targets;
};

int RunChild(const TargetKind& kind, const Options& options, const std::vector<std::string>& corpus,
             Progress& progress) {
  base::SetLogLevel(base::LogLevel::kNone);
  Random random(options.seed);
  const Mutator mutator(corpus);
  const auto target = kind.make();
  const uint64_t rounds =
      options.rounds != 0 ? options.rounds : static_cast<uint64_t>(kind.short_rounds);
  for (uint64_t round = 0; round < rounds; ++round) {
    const std::string input = options.input.empty() ? mutator.Make(round, random) : corpus.front();
    const size_t size = std::min(input.size(), sizeof progress.input);
    memcpy(progress.input, input.data(), size);
    progress.size = size;
    progress.round = round + 1;
    // A copy of just that size, so that the address sanitizer sees a read behind its end.
    const std::unique_ptr<char[]> exact(new char[input.size()]);
    memcpy(exact.get(), input.data(), input.size());
    target->Run({exact.get(), input.size()}, random);
    if (!options.input.empty()) break;
  }
  return 0;
}

// Waits for the child; a round that takes over a minute is a hang.
std::string WaitFor(pid_t child, const Progress& progress) {
  uint64_t round = 0;
  auto since = std::chrono::steady_clock::now();
  while (true) {
    int state = 0;
    if (waitpid(child, &state, WNOHANG) == child) {
      if (WIFSIGNALED(state)) return fmt::format("ended by signal {}", WTERMSIG(state));
      if (WEXITSTATUS(state) != 0) return fmt::format("exit code {}", WEXITSTATUS(state));
      return "";
    }
    const auto now = std::chrono::steady_clock::now();
    if (progress.round != round) {
      round = progress.round;
      since = now;
    } else if (now - since > std::chrono::minutes(1)) {
      kill(child, SIGKILL);
      waitpid(child, &state, 0);
      return "hangs";
    }
    usleep(10000);
  }
}

base::Result<std::vector<std::string>> Inputs(const TargetKind& kind, const Options& options) {
  if (options.input.empty()) return ReadCorpus(options.corpus + "/" + std::string(kind.name));
  ASSIGN_OR_RETURN(std::string input, ReadInput(options.input), "");
  return std::vector<std::string>{std::move(input)};
}

bool RunTarget(const TargetKind& kind, const Options& options) {
  const auto corpus = Inputs(kind, options);
  if (!corpus.ok()) {
    fmt::print(stderr, "{}: {}\n", kind.name, corpus.status().message());
    return false;
  }
  void* memory =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    return false;
  }
  auto* progress = new (memory) Progress;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) exit(RunChild(kind, options, *corpus, *progress));
  const std::string broken = child < 0 ? "cannot fork" : WaitFor(child, *progress);
  if (broken.empty()) {
    fmt::print("{}: {} rounds, seed {}\n", kind.name, progress->round.load(), options.seed);
  } else {
    const std::string file = fmt::format("{}/fuzz-{}-{}-{}", options.keep, kind.name, options.seed,
                                         progress->round.load());
    const base::Status written =
        base::WriteFile(file, std::string_view(progress->input, progress->size));
    fmt::print("{}: {} in round {} of seed {}; {}\n", kind.name, broken, progress->round.load(),
               options.seed, written.ok() ? "its input is in " + file : written.message());
  }
  munmap(memory, sizeof(Progress));
  return broken.empty();
}

const TargetKind* Find(std::string_view name) {
  for (const TargetKind& kind : kTargets)
    if (kind.name == name) return &kind;
  return nullptr;
}

bool ParseNumber(std::string_view text, uint64_t* number) {
  const auto parsed = base::ParseInt(text);
  if (!parsed.ok() || *parsed < 0) return false;
  *number = static_cast<uint64_t>(*parsed);
  return true;
}

bool ParseArguments(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    const bool takes_value = arg == "--rounds" || arg == "--seed" || arg == "--corpus" ||
                             arg == "--keep" || arg == "--input";
    if (takes_value && ++i == argc) return false;
    const std::string value = takes_value ? argv[i] : "";
    if (arg == "--rounds") {
      if (!ParseNumber(value, &options.rounds)) return false;
    } else if (arg == "--seed") {
      if (!ParseNumber(value, &options.seed)) return false;
    } else if (arg == "--corpus") {
      options.corpus = value;
    } else if (arg == "--keep") {
      options.keep = value;
    } else if (arg == "--input") {
      options.input = value;
    } else if (const TargetKind* kind = Find(arg)) {
      options.targets.push_back(kind);
    } else {
      return false;
    }
  }
  if (options.targets.empty())
    for (const TargetKind& kind : kTargets) options.targets.push_back(&kind);
  return options.input.empty() || options.targets.size() == 1;
}

int Main(int argc, char** argv) {
  Options options;
  if (!ParseArguments(argc, argv, options)) {
    fmt::print(stderr, "{}\nTargets:\n", kUsage);
    for (const TargetKind& kind : kTargets)
      fmt::print(stderr, "  {:<14} {}\n", kind.name, kind.about);
    return 2;
  }
  bool good = true;
  for (const TargetKind* kind : options.targets) good = RunTarget(*kind, options) && good;
  return good ? 0 : 1;
}

}  // namespace

void Require(bool holds, std::string_view what) {
  if (holds) return;
  fmt::print(stderr, "does not hold: {}\n", what);
  std::abort();
}

std::vector<std::string_view> Cut(std::string_view input, Random& random) {
  std::vector<std::string_view> pieces;
  for (size_t left = random.Below(4); left > 0 && input.size() > 1; --left) {
    const size_t size = 1 + random.Below(input.size() - 1);
    pieces.push_back(input.substr(0, size));
    input.remove_prefix(size);
  }
  pieces.push_back(input);
  return pieces;
}

}  // namespace isthmus::fuzz

int main(int argc, char** argv) { return isthmus::fuzz::Main(argc, argv); }
