#include "cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "cli/lab_program.h"
#include "cli/pods.h"
#include "cli/table.h"
#include "cli/verify_output.h"
#include "install/mesh_up.h"
#include "install/mesh_verify.h"

namespace isthmus::cli {
namespace {

using install::MeshSession;
using install::PlanLine;
using install::Topology;
using install::TopologyCluster;

/// What the flags of these commands say.
struct TopologyFlags {
  std::string file;
  std::string output;
  bool no_traffic = false;
  bool no_verify = false;
  bool views = false;  ///< Whether endpoint views are printed besides what was checked.
  int timeout_seconds = 300;
};

/// Seconds since the command began, as progress lines show them.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string KubeconfigOf(const Session& session, const Topology& topology) {
  return topology.on_lab() ? LabKubeconfig() : session.globals.kubeconfig;
}

std::string RootDirectory(const Topology& topology) {
  return topology.trust_directory.empty() ? "/var/lib/isthmus/topologies/" + topology.name
                                          : topology.trust_directory;
}

base::Result<std::unique_ptr<MeshSession>> Open(Session& session, const Topology& topology,
                                                const Stopwatch& watch,
                                                MeshSession::Options options = {}) {
  return MeshSession::Open(
      topology, KubeconfigOf(session, topology),
      [&session, &watch](std::string_view cluster, std::string_view line) {
        session.Err(fmt::format("{:5.1f}s  {:<10} {}\n", watch.seconds(), cluster, line));
      },
      std::move(options));
}

install::PodCommand RunInPods() {
  return [](install::ClusterAccess& access, const std::string& ns, const std::string& pod,
            const std::string& container, const std::vector<std::string>& argv) {
    return ExecInPod(access.client(), access.loop(), ns, pod, container, argv);
  };
}

/// Verifies and prints; the exit code is 1 when something is not as it should be.
int VerifyAndPrint(Session& session, MeshSession& mesh, const TopologyFlags& flags) {
  install::VerifyOptions options;
  options.traffic = !flags.no_traffic;
  auto report = install::Verify(mesh, RunInPods(), options);
  if (!report.ok()) return session.Fail(report.status());
  session.Out(flags.output.empty() ? VerifyText(*report, mesh.topology(), flags.views)
                                   : Print(VerifyJson(*report), flags.output));
  const int wrong = report->wrong();
  if (flags.output.empty())
    session.Err(wrong == 0
                    ? fmt::format("✔ verified: {} checks\n", report->lines.size())
                    : fmt::format("✘ {} of {} checks are wrong\n", wrong, report->lines.size()));
  return wrong == 0 ? 0 : 1;
}

// The folder of this program when typing its name would not run it.
std::string FolderToAddToPath() {
  std::error_code ignored;
  const std::filesystem::path self = base::ProgramFile();
  const char* path = std::getenv("PATH");
  for (std::string_view folder : base::Split(path == nullptr ? "" : path, ':'))
    if (std::filesystem::equivalent(std::filesystem::path(folder) / self.filename(), self, ignored))
      return "";
  return self.parent_path();
}

void SayWhatNext(Session& session, const Topology& topology) {
  session.Out("\nThe mesh is up. Try:\n");
  if (const std::string folder = FolderToAddToPath(); !folder.empty())
    session.Out(fmt::format("  export PATH={}:$PATH\n", folder));
  const TopologyCluster& first = topology.clusters.front();
  if (topology.on_lab()) {
    session.Out(fmt::format(
        "  {} lab shell {}            # a machine of {}: kubectl and istioctl speak to it\n",
        session.program(), first.name, first.name));
    session.Out(fmt::format("  export KUBECONFIG={}\n", LabKubeconfig()));
  }
  session.Out(fmt::format("  istioctl --context {} ps\n", first.context));
  session.Out(fmt::format("  {} verify -f {}\n", session.program(), topology.file));
  for (const TopologyCluster& cluster : topology.clusters)
    if (cluster.lab.ingress_port != 0)
      session.Out(fmt::format(
          "  curl http://127.0.0.1:{}/productpage      # through {}'s ingress gateway\n",
          cluster.lab.ingress_port, cluster.name));
  session.Out(
      fmt::format("  {} down -f {}                # ends it\n", session.program(), topology.file));
}

int Up(Session& session, const TopologyFlags& flags) {
  Stopwatch watch;
  auto topology = install::LoadTopology(flags.file);
  if (!topology.ok()) return session.Fail(topology.status());
  if (topology->on_lab()) {
    auto code = RunLab(session.loop(), {"up", "--mesh", "-f", flags.file});
    if (!code.ok()) return session.Fail(code.status());
    if (*code != 0) return *code;
  }
  auto mesh = Open(session, *topology, watch);
  if (!mesh.ok()) return session.Fail(mesh.status());
  install::UpOptions options;
  options.root_directory = RootDirectory(*topology);
  options.readiness_timeout = std::chrono::seconds(flags.timeout_seconds);
  base::SystemClock clock;
  base::Status status = install::BringUp(**mesh, options, clock);
  if (!status.ok()) return session.Fail(status.In("bringing up " + topology->name));
  if (!flags.no_verify)
    if (int code = VerifyAndPrint(session, **mesh, flags); code != 0) return code;
  session.Err(fmt::format("{:5.1f}s  done\n", watch.seconds()));
  SayWhatNext(session, *topology);
  return 0;
}

int Verify(Session& session, const TopologyFlags& given) {
  TopologyFlags flags = given;
  flags.views = true;
  Stopwatch watch;
  auto topology = install::LoadTopology(flags.file);
  if (!topology.ok()) return session.Fail(topology.status());
  // Users of a mesh need not see where somebody else runs its control plane.
  auto mesh = Open(session, *topology, watch, {.absent = {}, .with_hosts = false});
  if (!mesh.ok()) return session.Fail(mesh.status());
  return VerifyAndPrint(session, **mesh, flags);
}

std::string_view ActionText(PlanLine::Action action) {
  switch (action) {
    case PlanLine::Action::kCreate:
      return "create";
    case PlanLine::Action::kChange:
      return "change";
    case PlanLine::Action::kRemove:
      return "remove";
    case PlanLine::Action::kKeep:
      return "keep";
  }
  return "";
}

void PrintPlan(Session& session, const std::vector<PlanLine>& lines, const std::string& output) {
  if (!output.empty()) {
    Json list = Json::array();
    for (const PlanLine& line : lines)
      list.push_back({{"cluster", line.cluster},
                      {"action", ActionText(line.action)},
                      {"object", line.object},
                      {"detail", line.detail}});
    session.Out(Print(list, output));
    return;
  }
  Table table(3);
  size_t kept = 0;
  table.Add({"CLUSTER", "ACTION", "OBJECT", "DETAIL"});
  for (const PlanLine& line : lines) {
    if (line.action == PlanLine::Action::kKeep) {
      ++kept;
    } else {
      table.Add({line.cluster, std::string(ActionText(line.action)), line.object, line.detail});
    }
  }
  if (table.size() > 1) session.Out(table.Text());
  session.Out(fmt::format("{} objects to create, change or remove, {} are as wanted.\n",
                          lines.size() - kept, kept));
}

PlanLine MakeCluster(const std::string& name, const install::TopologyLab& lab) {
  return {name, PlanLine::Action::kCreate, "Cluster " + name,
          fmt::format("API server {}, {} node(s); then everything is installed", lab.api_server,
                      lab.nodes.size())};
}

/// The clusters that the lab is yet to make.
std::vector<PlanLine> NotMade(const Topology& topology) {
  std::vector<PlanLine> lines;
  const auto add = [&](const std::string& name, const std::string& context,
                       const install::TopologyLab& lab) {
    if (lab.present && !kubeclient::LoadKubeconfig(LabKubeconfig(), context).ok())
      lines.push_back(MakeCluster(name, lab));
  };
  for (const install::TopologyHost& host : topology.hosts) add(host.name, host.context, host.lab);
  for (const TopologyCluster& cluster : topology.clusters)
    add(cluster.name, cluster.context, cluster.lab);
  return lines;
}

int Plan(Session& session, const TopologyFlags& flags) {
  Stopwatch watch;
  auto topology = install::LoadTopology(flags.file);
  if (!topology.ok()) return session.Fail(topology.status());
  std::vector<PlanLine> lines;
  if (topology->on_lab()) lines = NotMade(*topology);
  MeshSession::Options options;
  for (const PlanLine& line : lines) options.absent.insert(line.cluster);
  if (lines.size() < topology->clusters.size() + topology->hosts.size()) {
    auto mesh = Open(session, *topology, watch, std::move(options));
    if (!mesh.ok()) return session.Fail(mesh.status());
    auto planned = install::PlanUp(**mesh);
    if (!planned.ok()) return session.Fail(planned.status());
    lines.insert(lines.end(), planned->begin(), planned->end());
  }
  PrintPlan(session, lines, flags.output);
  return 0;
}

int Down(Session& session, const TopologyFlags& flags) {
  Stopwatch watch;
  auto topology = install::LoadTopology(flags.file);
  if (!topology.ok()) return session.Fail(topology.status());
  if (topology->on_lab()) {
    auto code = RunLab(session.loop(), {"down"});
    return code.ok() ? *code : session.Fail(code.status());
  }
  auto mesh = Open(session, *topology, watch);
  if (!mesh.ok()) return session.Fail(mesh.status());
  base::Status status = install::TakeDown(**mesh);
  return status.ok() ? 0 : session.Fail(status.In("taking down " + topology->name));
}

CLI::App* AddOne(Commands& commands, const std::string& name, const std::string& what,
                 const std::string& example, const std::shared_ptr<TopologyFlags>& flags,
                 int (*action)(Session&, const TopologyFlags&)) {
  CLI::App* command = AddCommand(&commands.root, name, what, example);
  command->add_option("-f,--filename", flags->file, "The Topology file (docs/topology.md)")
      ->required();
  OnChosen(command, commands,
           [flags, action](Session& session) { return action(session, *flags); });
  return command;
}

}  // namespace

void AddTopologyCommands(Commands& commands) {
  auto flags = std::make_shared<TopologyFlags>();
  CLI::App* up = AddOne(commands, "up",
                        "Make a mesh as its Topology file says; a second time only what differs",
                        "% up -f topologies/demo.yaml", flags, Up);
  up->add_option("--readiness-timeout", flags->timeout_seconds,
                 "Seconds that deployments may take to get ready")
      ->capture_default_str();
  up->add_flag("--no-verify", flags->no_verify, "Do not verify at the end");
  up->add_flag("--no-traffic", flags->no_traffic, "Verify without sending requests");
  CLI::App* plan = AddOne(commands, "plan", "Print what `up` would do",
                          "% plan -f topologies/demo.yaml", flags, Plan);
  AddOutput(plan, flags->output, {"json", "yaml"});
  CLI::App* verify =
      AddOne(commands, "verify",
             "Prove a mesh: what every Envoy holds against what it should, then real requests",
             "% verify -f topologies/demo.yaml", flags, Verify);
  verify->add_flag("--no-traffic", flags->no_traffic, "Do not send requests");
  AddOutput(verify, flags->output, {"json", "yaml"});
  AddOne(commands, "down", "Take away what `up` made", "% down -f topologies/demo.yaml", flags,
         Down);
}

void AddLabCommand(Commands& commands) {
  CLI::App* command =
      AddCommand(&commands.root, "lab",
                 "Clusters on this machine: up, status, env, shell, cut, mend, stop, start, down",
                 "% lab shell cluster1");
  OnChosen(command, commands, [](Session& session) { return RunLabCommand(session, {}); });
}

int RunLabCommand(Session& session, std::vector<std::string> arguments) {
  if (arguments.empty()) arguments = {"--help"};
  // The lab knows only its own sections of the file; the rest is checked here.
  const auto file = std::find_if(arguments.begin(), arguments.end(), [](const std::string& word) {
    return word == "-f" || word == "--filename";
  });
  if (arguments[0] == "up" && file != arguments.end() && file + 1 != arguments.end())
    if (auto topology = install::LoadTopology(*(file + 1)); !topology.ok())
      return session.Fail(topology.status());
  auto code = RunLab(session.loop(), std::move(arguments));
  return code.ok() ? *code : session.Fail(code.status());
}

}  // namespace isthmus::cli
