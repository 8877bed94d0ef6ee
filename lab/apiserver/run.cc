#include "lab/apiserver/run.h"

#include <csignal>
#include <cstdio>
#include <functional>
#include <map>

#include "base/log.h"
#include "base/loop.h"
#include "base/signals.h"
#include "base/strings.h"
#include "lab/apiserver/server.h"

namespace isthmus::lab::apiserver {
namespace {

constexpr char kUsage[] =
    "isthmus-lab apiserver: the Kubernetes API server of a lab cluster\n\n"
    "  --data-dir DIR             keys, store and kubeconfigs (required)\n"
    "  --address A[,B]            addresses to listen at (127.0.0.1)\n"
    "  --port N                   0 takes a free one (6443)\n"
    "  --san NAME[,NAME]          more names and addresses for the certificate\n"
    "  --advertise-address IP     where pods reach this server (the first address)\n"
    "  --service-cidr CIDR        service addresses (10.96.0.0/16)\n"
    "  --service-node-port-range A-B   (30000-32767)\n"
    "  --cluster-name NAME        context name in the kubeconfigs (isthmus)\n"
    "  --version V                what /version claims (v1.32.0)\n";

base::Status ParsePorts(const std::string& text, ServerConfig* config) {
  const auto [low, high] = base::Cut(text, "-");
  ASSIGN_OR_RETURN(const int64_t min, base::ParseInt(low), "--service-node-port-range");
  ASSIGN_OR_RETURN(const int64_t max, base::ParseInt(high), "--service-node-port-range");
  config->node_port_min = static_cast<int>(min);
  config->node_port_max = static_cast<int>(max);
  return {};
}

base::Status Parse(int argc, char** argv, ServerConfig* config) {
  const std::map<std::string, std::function<base::Status(const std::string&)>> options = {
      {"--data-dir",
       [&](const std::string& v) {
         config->data_dir = v;
         return base::Status();
       }},
      {"--address",
       [&](const std::string& v) {
         config->addresses = base::SplitList(v);
         return base::Status();
       }},
      {"--port",
       [&](const std::string& v) {
         auto port = base::ParseInt(v);
         if (!port.ok() || *port < 0 || *port > 65535)
           return base::Error(base::Code::kInvalidArgument, "--port {}: not a port", v);
         config->port = static_cast<uint16_t>(*port);
         return base::Status();
       }},
      {"--san",
       [&](const std::string& v) {
         config->sans = base::SplitList(v);
         return base::Status();
       }},
      {"--advertise-address",
       [&](const std::string& v) {
         config->advertise_address = v;
         return base::Status();
       }},
      {"--service-cidr",
       [&](const std::string& v) {
         config->service_cidr = v;
         return base::Status();
       }},
      {"--service-node-port-range", [&](const std::string& v) { return ParsePorts(v, config); }},
      {"--cluster-name",
       [&](const std::string& v) {
         config->cluster_name = v;
         return base::Status();
       }},
      {"--version",
       [&](const std::string& v) {
         config->git_version = v;
         return base::Status();
       }},
  };
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i], value;
    if (const size_t equal = name.find('='); equal != name.npos) {
      value = name.substr(equal + 1);
      name.resize(equal);
    } else if (i + 1 < argc) {
      value = argv[++i];
    }
    auto it = options.find(name);
    if (it == options.end())
      return base::Error(base::Code::kInvalidArgument, "unknown option {}", name);
    RETURN_IF_ERROR(it->second(value), name);
  }
  return {};
}

}  // namespace

int Run(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--help" || std::string_view(argv[i]) == "-h")
      return std::fputs(kUsage, stdout), 0;
  ServerConfig config;
  if (base::Status status = Parse(argc, argv, &config); !status.ok()) {
    std::fprintf(stderr, "isthmus-lab apiserver: %s\n\n%s", status.message().c_str(), kUsage);
    return 2;
  }
  base::Loop loop;
  auto server = ApiServer::Start(loop, config);
  if (!server.ok()) {
    std::fprintf(stderr, "isthmus-lab apiserver: %s\n", server.status().message().c_str());
    return 1;
  }
  LOG_INFO("apiserver", "serving {} at port {}; kubeconfig {}", config.cluster_name,
           (*server)->port(), (*server)->admin_kubeconfig());
  base::Signals signals(loop, {SIGTERM, SIGINT}, [&loop](int) { loop.Stop(); });
  loop.Run();
  return 0;
}

}  // namespace isthmus::lab::apiserver
