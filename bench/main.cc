#include <cstdio>
#include <string>
#include <vector>

#include "base/strings.h"
#include "bench/ads_load.h"
#include "bench/world.h"

namespace {

constexpr const char* kUsage =
    "Usage:\n"
    "  isthmus-bench world --kubeconfig FILE [--services 1000] [--pods 5] [--namespaces 10]\n"
    "      Writes the world that the budgets are measured in into an API server.\n"
    "  isthmus-bench load --url http://127.0.0.1:15010 [--pid PID] [--proxies 200] [--kubeconfig "
    "FILE] [--changes 20]\n"
    "      [--cluster Kubernetes] [--namespaces 10]\n"
    "      Opens delta ADS streams to any istiod-compatible server, changes endpoints and routes, "
    "prints times,\n"
    "      CPU and memory of the server process.\n";

int Wrong(const std::string& what) {
  std::fprintf(stderr, "isthmus-bench: %s\n%s", what.c_str(), kUsage);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments[0] == "--help") return Wrong("say what to do");
  isthmus::bench::WorldOptions world;
  isthmus::bench::LoadOptions load;
  for (size_t i = 1; i + 1 < arguments.size() + 1; i += 2) {
    if (i + 1 >= arguments.size()) return Wrong(arguments[i] + " needs a value");
    const std::string& name = arguments[i];
    const std::string& value = arguments[i + 1];
    const auto number = isthmus::base::ParseInt(value);
    const auto set = [&](int* out) {
      return number.ok() ? (*out = static_cast<int>(*number), true) : false;
    };
    bool ok = true;
    if (name == "--kubeconfig")
      load.kubeconfig = value;
    else if (name == "--url")
      load.url = value;
    else if (name == "--cluster")
      load.cluster_id = value;
    else if (name == "--services")
      ok = set(&world.services);
    else if (name == "--pods")
      ok = set(&world.pods);
    else if (name == "--namespaces")
      ok = set(&world.namespaces) && set(&load.namespaces);
    else if (name == "--proxies")
      ok = set(&load.proxies);
    else if (name == "--changes")
      ok = set(&load.changes);
    else if (name == "--hold")
      ok = set(&load.hold_seconds);
    else if (name == "--pid")
      ok = set(&load.pid);
    else
      return Wrong("unknown flag " + name);
    if (!ok) return Wrong(name + " needs a number");
  }
  if (arguments[0] == "world") return isthmus::bench::WriteWorld(load.kubeconfig, world);
  if (arguments[0] == "load") return isthmus::bench::RunLoad(load);
  return Wrong("unknown command " + arguments[0]);
}
