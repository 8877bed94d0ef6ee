#include "lab/world/world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "base/log.h"
#include "base/process.h"
#include "base/strings.h"
#include "http/client.h"
#include "kubeapi/json.h"
#include "kubeclient/sync.h"
#include "lab/network/fd.h"
#include "lab/network/netns.h"
#include "lab/world/daemon.h"
#include "lab/world/lab_dirs.h"
#include "lab/world/lab_spec.h"
#include "lab/world/programs.h"

namespace isthmus::lab::world {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;
namespace fs = std::filesystem;

// What a cluster may take until it is ready, and a little more.
constexpr base::Duration kClusterStart = 200s;

int Fail(const base::Status& status) {
  fprintf(stderr, "isthmus-lab: %s\n", status.message().c_str());
  return 1;
}

bool InPath(const std::string& program) {
  const char* path = getenv("PATH");
  for (const std::string_view dir : base::Split(path == nullptr ? "" : path, ':'))
    if (access((std::string(dir) + "/" + program).c_str(), X_OK) == 0) return true;
  return access(("/usr/sbin/" + program).c_str(), X_OK) == 0;
}

base::Status CheckMachine() {
  if (geteuid() != 0)
    return base::Error(base::Code::kPermissionDenied,
                       "a lab needs root, for namespaces and networks; run it with sudo");
  for (const auto& [program, package] :
       {std::pair("nft", "nftables"), std::pair("iptables", "iptables"), std::pair("curl", "curl")})
    if (!InPath(program))
      return base::Error(base::Code::kFailedPrecondition,
                         "the program {} is missing; install Debian's package {}", program,
                         package);
  return {};
}

// Whether the loopback ports that lead to ingress gateways are free; before anything is started.
base::Status CheckPorts(const LabSpec& spec) {
  for (const ClusterSpec& cluster : spec.clusters) {
    if (cluster.ingress_port <= 0) continue;
    network::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(cluster.ingress_port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      return base::Error(base::Code::kFailedPrecondition,
                         "cluster {}: lab.ingressPort {}: {}; end the program that uses the port, "
                         "or give another one (0 takes a free one)",
                         cluster.name, cluster.ingress_port, strerror(errno));
  }
  return {};
}

// One request to the running lab.
base::Result<std::string> Ask(const LabDirs& dirs, const std::string& target,
                              const std::string& body = "", base::Duration patience = 10s) {
  if (RunningLab(dirs) == 0)
    return base::Error(base::Code::kNotFound,
                       "no lab runs in {}; start one with: isthmus-lab up -f FILE", dirs.state);
  base::Loop loop;
  http::Client client(loop, {.url = "unix:" + dirs.control()});
  http::Request request;
  request.target = target;
  request.authority = "lab";
  if (!body.empty()) request.method = "POST";
  request.body = body;
  auto response = kubeclient::Await<http::Response>(
      loop, patience + 5s, [&](auto done) { client.Fetch(request, patience, done); });
  if (!response.ok()) return response.status().In("asking the lab");
  if (response->status != 200) return base::Status(base::Code::kInvalidArgument, response->body);
  return response->body;
}

base::Result<Json> AskStatus(const LabDirs& dirs) {
  ASSIGN_OR_RETURN(const std::string text, Ask(dirs, "/status"), "status");
  return kubeapi::ParseJson(text);
}

// A lab runs: it is the one that is wanted, or it gets the clusters that it lacks.
int UpWhileRunning(const LabDirs& dirs, const LabSpec& wanted, const std::string& text) {
  auto running = base::ReadFile(dirs.topology());
  auto other = running.ok() ? LabSpec::Parse(*running) : base::Result<LabSpec>(running.status());
  if (other.ok() && other->Lacks(wanted).empty()) {
    fprintf(stderr, "lab: it runs already\n");
    return 0;
  }
  auto grown = other.ok() && other->name == wanted.name
                   ? GrownTopology(*running, text)
                   : base::Result<std::string>(
                         base::Status(base::Code::kAlreadyExists,
                                      other.ok() ? other->Lacks(wanted) : "it cannot be read"));
  if (!grown.ok())
    return Fail(base::Error(base::Code::kAlreadyExists,
                            "another lab ({}) runs in {}: {}; end it with: isthmus-lab down, or "
                            "set ISTHMUS_LAB_DIR to another folder",
                            other.ok() ? other->name : "unknown", dirs.state,
                            grown.status().message()));
  LabSpec added = wanted;
  std::erase_if(added.clusters,
                [&](const ClusterSpec& one) { return other->Find(one.name) != nullptr; });
  if (base::Status status = CheckPorts(added); !status.ok()) return Fail(status);
  for (const ClusterSpec& cluster : added.clusters)
    fprintf(stderr, "lab: it runs already; %s is started besides\n", cluster.name.c_str());
  if (auto answer = Ask(dirs, "/grow", *grown, kClusterStart); !answer.ok())
    return Fail(answer.status());
  fprintf(stderr, "lab: ready\n");
  return 0;
}

int Up(const std::string& file, bool mesh) {
  if (base::Status status = CheckMachine(); !status.ok()) return Fail(status);
  if (base::Status status = mesh ? CheckMeshPrograms(base::ProgramFile()) : base::Status();
      !status.ok())
    return Fail(status);
  auto text = base::ReadFile(file);
  auto spec = text.ok() ? LabSpec::Parse(*text) : base::Result<LabSpec>(text.status());
  if (!spec.ok()) return Fail(spec.status().In(file));
  // Image tables are named from where the file is.
  for (std::string& table : spec->image_tables)
    table = fs::absolute(fs::path(file).parent_path() / table).string();
  const LabDirs dirs = LabDirs::FromEnvironment();
  if (RunningLab(dirs) != 0) return UpWhileRunning(dirs, *LabSpec::Parse(*text), *text);
  const auto began = std::chrono::steady_clock::now();
  (void)StopLab(dirs);  // What a lab that was killed has left.
  if (base::Status status = CheckPorts(*spec); !status.ok()) return Fail(status.In(file));
  if (base::Status status = StartLab(dirs, *spec, *text); !status.ok()) return Fail(status);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  fprintf(stderr, "lab: up in %.1f s; use it with: export KUBECONFIG=%s\n", took.count(),
          dirs.kubeconfig().c_str());
  return 0;
}

int Down() {
  const LabDirs dirs = LabDirs::FromEnvironment();
  if (geteuid() != 0)
    return Fail(base::Error(base::Code::kPermissionDenied, "ending a lab needs root"));
  const bool ran = RunningLab(dirs) != 0;
  if (base::Status status = StopLab(dirs); !status.ok()) return Fail(status);
  fprintf(stderr, ran ? "lab: ended and removed\n" : "lab: none was running\n");
  return 0;
}

// From the numbers of the lab's process namespace to the machine's.
std::map<int64_t, int> MachinePids(int init) {
  std::error_code error;
  const fs::path ns = fs::read_symlink(fmt::format("/proc/{}/ns/pid", init), error);
  std::map<int64_t, int> pids;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    std::error_code gone;
    if (pid <= 0 || fs::read_symlink(entry.path() / "ns/pid", gone) != ns) continue;
    std::ifstream file(entry.path() / "status");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("NSpid:")) pids[std::atoll(line.c_str() + line.rfind('\t') + 1)] = pid;
  }
  return pids;
}

int ShowStatus(bool json) {
  const LabDirs dirs = LabDirs::FromEnvironment();
  auto status = AskStatus(dirs);
  if (!status.ok()) return Fail(status.status());
  const auto pids = MachinePids(RunningLab(dirs));
  for (Json& cluster : (*status)["clusters"])
    for (Json& process : cluster["processes"]) {
      const auto pid = pids.find(kubeapi::IntAt(process, {"pid"}));
      process["pid"] = pid == pids.end() ? 0 : pid->second;
    }
  if (json) {
    printf("%s\n", status->dump(2).c_str());
    return 0;
  }
  printf("lab %s, state in %s\n", kubeapi::StringAt(*status, {"name"}).c_str(), dirs.state.c_str());
  for (const Json& cluster : (*status)["clusters"]) {
    printf("\n%s (network %s): API server %s, services %s%s\n",
           kubeapi::StringAt(cluster, {"name"}).c_str(),
           kubeapi::StringAt(cluster, {"network"}).c_str(),
           kubeapi::StringAt(cluster, {"apiServer"}).c_str(),
           kubeapi::StringAt(cluster, {"serviceCIDR"}).c_str(),
           cluster.contains("ingressPort") ? fmt::format(", ingress http://127.0.0.1:{}",
                                                         kubeapi::IntAt(cluster, {"ingressPort"}))
                                                 .c_str()
                                           : "");
    for (const Json& node : cluster["nodes"])
      printf("  node %-20s %-16s pods %s\n", kubeapi::StringAt(node, {"name"}).c_str(),
             kubeapi::StringAt(node, {"address"}).c_str(),
             kubeapi::StringAt(node, {"podCIDR"}).c_str());
    for (const Json& process : cluster["processes"]) {
      const int64_t pid = kubeapi::IntAt(process, {"pid"});
      const std::string state = pid > 0 ? fmt::format("process {}", pid)
                                : kubeapi::BoolAt(process, {"wanted"}) ? "restarting"
                                                                       : "stopped";
      printf("  %-32s %s, restarts %d\n", kubeapi::StringAt(process, {"name"}).c_str(),
             state.c_str(), static_cast<int>(kubeapi::IntAt(process, {"restarts"})));
    }
  }
  for (const Json& cut : (*status)["cuts"])
    printf("\nlink cut: %s - %s\n", cut[0].get<std::string>().c_str(),
           cut[1].get<std::string>().c_str());
  return 0;
}

int ShowEnv() {
  const LabDirs dirs = LabDirs::FromEnvironment();
  auto status = AskStatus(dirs);
  if (!status.ok()) return Fail(status.status());
  printf("export KUBECONFIG=%s\n", dirs.kubeconfig().c_str());
  printf("export PATH=%s:$PATH\n", fs::path(base::ProgramFile()).parent_path().c_str());
  int index = 1;
  for (const Json& cluster : (*status)["clusters"]) {
    const std::string name = kubeapi::StringAt(cluster, {"name"});
    printf("export CTX_CLUSTER%d=%s\n", index++, name.c_str());
    if (cluster.contains("ingressPort"))
      printf("# ingress of %s: http://127.0.0.1:%d\n", name.c_str(),
             static_cast<int>(kubeapi::IntAt(cluster, {"ingressPort"})));
  }
  return 0;
}

// A shell (or a command) on a machine of a cluster, the first when none is named: its network, its
// kubeconfig, our files.
int Shell(const std::string& cluster, const std::string& node, std::vector<std::string> command,
          bool cluster_dns) {
  const LabDirs dirs = LabDirs::FromEnvironment();
  const int init = RunningLab(dirs);
  if (init == 0) return Fail(base::Error(base::Code::kNotFound, "no lab runs in {}", dirs.state));
  auto text = base::ReadFile(dirs.topology());
  auto spec = text.ok() ? LabSpec::Parse(*text) : base::Result<LabSpec>(text.status());
  if (!spec.ok()) return Fail(spec.status());
  const ClusterSpec* found = spec->Find(cluster);
  if (found == nullptr) {
    std::vector<std::string> names;
    for (const ClusterSpec& one : spec->clusters) names.push_back(one.name);
    return Fail(base::Error(base::Code::kNotFound, "the lab has no cluster {}; it has {}", cluster,
                            base::Join(names, ", ")));
  }
  const bool known =
      node.empty() || std::any_of(found->nodes.begin(), found->nodes.end(),
                                  [&node](const NodeSpec& one) { return one.name == node; });
  if (!known)
    return Fail(base::Error(base::Code::kNotFound, "cluster {} has no node {}", cluster, node));
  const std::string ns_path = fmt::format("/proc/{}/root{}/{}.{}", init, dirs.namespaces(), cluster,
                                          node.empty() ? found->nodes.front().name : node);
  auto ns = network::NetNs::Open(ns_path);
  if (!ns.ok()) return Fail(ns.status());
  if (setns(ns->fd(), CLONE_NEWNET) != 0)
    return Fail(base::Error(base::Code::kPermissionDenied, "entering the cluster's network: {}",
                            strerror(errno)));
  if (cluster_dns) {
    const std::string resolv = dirs.cluster(cluster) + "/resolv.conf";
    base::Status status =
        base::WriteFile(resolv, "search svc.cluster.local cluster.local\nnameserver " +
                                    found->DnsAddress() + "\noptions ndots:5\n");
    const bool mounted = status.ok() && unshare(CLONE_NEWNS) == 0 &&
                         mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         mount(resolv.c_str(), fs::canonical("/etc/resolv.conf").c_str(), nullptr,
                               MS_BIND, nullptr) == 0;
    if (!mounted)
      return Fail(
          base::Error(base::Code::kInternal, "setting the cluster's DNS: {}", strerror(errno)));
  }
  setenv("KUBECONFIG", dirs.inner_kubeconfig(cluster).c_str(), 1);
  const char* path = getenv("PATH");
  setenv("PATH",
         (fs::path(base::ProgramFile()).parent_path().string() + ":" +
          (path == nullptr ? "/usr/bin:/bin:/usr/sbin:/sbin" : path))
             .c_str(),
         1);
  setenv("ISTHMUS_LAB_CLUSTER", cluster.c_str(), 1);
  if (command.empty()) {
    setenv("PS1", ("[" + cluster + "] \\w# ").c_str(), 1);
    command = {"bash", "--norc"};
  }
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  return Fail(base::Error(base::Code::kNotFound, "{}: {}", command[0], strerror(errno)));
}

int Tell(const std::string& target, const std::string& done) {
  auto answer = Ask(LabDirs::FromEnvironment(), target);
  if (!answer.ok()) return Fail(answer.status());
  fprintf(stderr, "lab: %s\n", done.c_str());
  return 0;
}

}  // namespace

int WorldMain(int argc, char** argv) {
  const std::string name = argc > 0 ? argv[0] : "";
  CLI::App app("Clusters on one machine", "isthmus-lab " + name);
  std::string file, first, second;
  std::vector<std::string> command;
  bool json = false, dns = false, mesh = false;
  if (name == "up") {
    app.add_option("-f,--filename", file, "Topology file")->required();
    app.add_flag("--mesh", mesh, "fail when programs of the mesh are missing");
  } else if (name == "down") {
    app.add_option("-f,--filename", file, "Topology file (not needed)");
  } else if (name == "status") {
    app.add_flag("--json", json, "print everything as JSON");
  } else if (name == "shell") {
    app.add_option("cluster", first, "name of the cluster")->required();
    app.add_option("--node", second, "name of the machine; default: the first");
    app.add_flag("--dns", dns, "resolve names by the cluster's DNS");
    app.add_option("command", command, "what to run instead of a shell, after --");
    app.prefix_command();
  } else if (name == "cut" || name == "mend" || name == "open") {
    app.add_option("cluster", first, "one cluster")->required();
    app.add_option("other", second, "the other one")->required();
  } else if (name == "stop" || name == "start") {
    app.add_option("cluster", first, "whose API server")->required();
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (name == "up") return Up(file, mesh);
  if (name == "down") return Down();
  if (name == "status") return ShowStatus(json);
  if (name == "env") return ShowEnv();
  if (name == "shell") {
    for (const std::string& word : app.remaining()) command.push_back(word);
    if (!command.empty() && command.front() == "--") command.erase(command.begin());
    return Shell(first, second, command, dns);
  }
  if (name == "cut" || name == "mend")
    return Tell("/" + name + "?a=" + http::UrlEncode(first) + "&b=" + http::UrlEncode(second),
                fmt::format("the link {} - {} is {}", first, second,
                            name == "cut" ? "cut" : "whole again"));
  if (name == "open")
    return Tell("/open?a=" + http::UrlEncode(first) + "&b=" + http::UrlEncode(second),
                fmt::format("pods of {} and {} reach each other", first, second));
  if (name == "stop" || name == "start")
    return Tell(
        "/" + name + "?cluster=" + http::UrlEncode(first),
        fmt::format("the API server of {} is {}", first, name == "stop" ? "stopped" : "started"));
  return Fail(base::Error(base::Code::kInvalidArgument, "unknown command {}", name));
}

}  // namespace isthmus::lab::world
