#include "agent/main.h"

#include <cstdio>

#include "agent/capture_command.h"
#include "agent/commands.h"
#include "agent/envoy.h"
#include "base/version.h"

namespace isthmus::agent {
namespace {

constexpr char kUsage[] =
    "isthmus-agent runs beside Envoy in a pod.\n\n"
    "Usage: isthmus-agent <command> [flags]\n\n"
    "  proxy [sidecar|router]     make Envoy's configuration, run it, and serve it certificates "
    "and xDS\n"
    "  istio-iptables             lead the pod's traffic through Envoy\n"
    "  request METHOD PATH [BODY] ask the agent or Envoy's admin port\n"
    "  wait                       wait until Envoy is ready\n"
    "  version                    print the version\n";

}  // namespace

int Main(const std::vector<std::string>& args) {
  const std::string command = args.empty() ? "help" : args.front();
  const std::vector<std::string> rest(args.begin() + (args.empty() ? 0 : 1), args.end());
  if (command == "istio-iptables") return RunCapture(rest, Environment::OfProcess());
  if (command == "proxy") return RunProxy(rest);
  if (command == "request") return RunRequest(rest);
  if (command == "wait") return RunWait(rest);
  if (command == "run-envoy") return RunBound(rest);
  if (command == "version") {
    std::printf("%s\n", std::string(base::kVersion).c_str());
    return 0;
  }
  const bool help = command == "help" || command == "--help" || command == "-h";
  std::fputs(kUsage, help ? stdout : stderr);
  if (!help) std::fprintf(stderr, "\nError: unknown command \"%s\"\n", command.c_str());
  return help ? 0 : 1;
}

}  // namespace isthmus::agent
