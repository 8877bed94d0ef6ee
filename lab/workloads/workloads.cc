#include "lab/workloads/workloads.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>

#include "base/loop.h"
#include "base/signals.h"
#include "lab/workloads/app.h"

namespace isthmus::lab::workloads {
namespace {

// Clients go on asking a pod that ends until they have heard of it; a good server waits for that.
constexpr std::chrono::seconds kFarewell{3};

struct Entry {
  uint16_t port;
  Application (*make)(base::Loop&);
};

const std::map<std::string, Entry>& Entries() {
  static const std::map<std::string, Entry> entries = {
      {"helloworld", {5000, [](base::Loop&) { return HelloWorld(); }}},
      {"details", {9080, [](base::Loop&) { return Details(); }}},
      {"ratings", {9080, [](base::Loop&) { return Ratings(); }}},
      {"reviews", {9080, [](base::Loop& loop) { return Reviews(loop); }}},
      {"productpage", {9080, [](base::Loop& loop) { return ProductPage(loop); }}},
      {"httpbin", {80, [](base::Loop& loop) { return HttpBin(loop); }}},
      {"web", {80, [](base::Loop&) { return Web(); }}},
      {"zipkin", {9411, [](base::Loop&) { return Zipkin(); }}}};
  return entries;
}

}  // namespace

int WorkloadMain(int argc, char** argv) {
  CLI::App app("A sample application of the lab", "workload");
  std::string name, address = "0.0.0.0";
  uint16_t port = 0;
  app.add_option(
         "name", name,
         "helloworld, productpage, details, ratings, reviews, httpbin, web, zipkin or sleep")
      ->required();
  app.add_option("--port", port, "port to listen at");
  app.add_option("--address", address, "address to listen at");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  base::Loop loop;
  base::Timer farewell;
  base::Signals signals(loop, {SIGTERM, SIGINT}, [&](int signal) {
    if (signal == SIGINT || name == "sleep") return loop.Stop();
    farewell = base::Timer::After(loop, kFarewell, [&loop] { loop.Stop(); });
  });
  if (name == "sleep") {
    loop.Run();
    return 0;
  }
  const auto entry = Entries().find(name);
  if (entry == Entries().end()) {
    fprintf(stderr, "there is no sample application \"%s\"\n", name.c_str());
    return 2;
  }
  AppServer server(loop, address, port != 0 ? port : entry->second.port, entry->second.make(loop));
  if (base::Status status = server.Start(); !status.ok()) {
    fprintf(stderr, "%s: %s\n", name.c_str(), status.message().c_str());
    return 1;
  }
  printf("%s serves on %s:%d\n", name.c_str(), address.c_str(), server.port());
  fflush(stdout);
  loop.Run();
  return 0;
}

}  // namespace isthmus::lab::workloads
