#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "config/kinds.h"
#include "kubeapi/meta.h"
#include "kubeclient/sync.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Result;
using base::Status;
using kubeapi::NameOf;
using kubeapi::NamespaceOf;
using kubeapi::StringAt;

struct ReportOptions {
  std::vector<std::string> include, exclude;
  std::string folder = ".", work, duration, start, end, timeout = "30m", tail;
  bool full_secrets = false, dry_run = false, ignored = false;
};

/// Namespaces that a report leaves out unless they are asked for.
bool LeftOut(const ReportOptions& options, const std::string& ns) {
  const auto names = [&](const std::vector<std::string>& specs) {
    for (const std::string& spec : specs)
      for (const std::string& one : base::SplitList(base::Cut(spec, "/").first))
        if (one == ns || one == "*") return true;
    return false;
  };
  if (!options.include.empty()) return !names(options.include);
  if (!options.exclude.empty()) return names(options.exclude);
  return ns == "kube-system" || ns == "kube-public" || ns == "kube-node-lease" ||
         ns == "local-path-storage";
}

// Names and keys of a secret tell enough; its values are nobody's business, and `kubectl apply`
// leaves them in an annotation as well.
void Redact(Json& secret) {
  for (const char* field : {"data", "stringData"})
    if (secret.contains(field))
      for (auto& [key, value] : secret[field].items()) value = "...redacted...";
  if (Json& metadata = secret["metadata"]; metadata.contains("annotations"))
    metadata["annotations"].erase("kubectl.kubernetes.io/last-applied-configuration");
}

/// Collects files below a folder; what cannot be had is written down instead.
class Report {
 public:
  Report(Session& session, const ReportOptions& options, std::string root)
      : session_(session), options_(options), root_(std::move(root)) {}

  Status Collect() {
    RETURN_IF_ERROR(base::MakeDirs(root_, 0755), "making the report's folder");
    auto pods = session_.List(kPods, "");
    if (!pods.ok()) return pods.status();
    Write("versions", fmt::format("client: {}\n", base::kVersion));
    Objects();
    for (const Json& pod : *pods) {
      if (LeftOut(options_, NamespaceOf(pod)) && NamespaceOf(pod) != session_.globals.istio_ns)
        continue;
      if (kubeapi::LabelOf(pod, "app") == "istiod" && NamespaceOf(pod) == session_.globals.istio_ns)
        Istiod(pod);
      Proxy(pod);
    }
    return {};
  }

  int files() const { return files_; }

 private:
  void Write(const std::string& path, const std::string& text) {
    const std::string full = root_ + "/" + path;
    if (base::MakeDirs(std::filesystem::path(full).parent_path().string(), 0755).ok() &&
        base::WriteFile(full, text).ok())
      ++files_;
  }

  void WriteResult(const std::string& path, const Result<std::string>& text) {
    Write(text.ok() ? path : path + ".error", text.ok() ? *text : text.status().message() + "\n");
  }

  void Objects() {
    std::vector<Resource> kinds = {kNamespaces,
                                   kServices,
                                   kPods,
                                   kConfigMaps,
                                   kDeployments,
                                   kSecrets,
                                   kMutatingWebhooks,
                                   kValidatingWebhooks,
                                   kubeapi::kEvents,
                                   kubeapi::kNodes,
                                   kubeapi::kEndpointSlices};
    for (const config::Kind& kind : config::Kinds()) kinds.push_back(kind.resource());
    for (const Resource& kind : kinds) {
      auto items = session_.List(kind, "");
      if (!items.ok()) {
        if (items.status().code() != Code::kNotFound)
          Write("cluster/" + kind.plural + ".error", items.status().message() + "\n");
        continue;
      }
      std::string text;
      for (Json& item : *items) {
        const std::string ns = NamespaceOf(item);
        if (!ns.empty() && ns != session_.globals.istio_ns && LeftOut(options_, ns)) continue;
        if (kind.plural == "secrets" && !options_.full_secrets) Redact(item);
        item["metadata"].erase("managedFields");
        text += kubeapi::ToYaml(item) + "---\n";
      }
      if (!text.empty()) Write("cluster/" + kind.plural + ".yaml", text);
    }
  }

  Result<std::string> Log(const Json& pod, const std::string& container) {
    auto client = session_.client();
    if (!client.ok()) return client.status();
    http::Request request;
    request.target = fmt::format("/api/v1/namespaces/{}/pods/{}/log?container={}&tailLines=20000",
                                 NamespaceOf(pod), NameOf(pod), container);
    auto answer = kubeclient::Await<http::Response>(
        session_.loop(), std::chrono::seconds(35),
        [&](auto done) { (*client)->Raw(request, std::chrono::seconds(30), done); });
    if (!answer.ok()) return answer.status();
    return std::move(answer->body);
  }

  void Istiod(const Json& pod) {
    const std::string folder = "istio/" + NameOf(pod) + "/";
    WriteResult(folder + "discovery.log", Log(pod, "discovery"));
    auto client = session_.client();
    for (const char* page :
         {"syncz", "clusterz", "endpointShardz", "networkz", "configz", "registryz", "mesh"})
      WriteResult(folder + "debug/" + page,
                  ExecInPod(**client, session_.loop(), NamespaceOf(pod), NameOf(pod), "discovery",
                            {"pilot-discovery", "request", "GET", std::string("/debug/") + page}));
  }

  void Proxy(const Json& pod) {
    bool has = false;
    for (const char* list : {"containers", "initContainers"})
      for (const Json& container : kubeapi::ItemsAt(pod, {"spec", list}))
        has = has || StringAt(container, {"name"}) == "istio-proxy";
    if (!has || StringAt(pod, {"status", "phase"}) != "Running") return;
    const std::string folder = fmt::format("proxies/{}/{}/", NamespaceOf(pod), NameOf(pod));
    WriteResult(folder + "istio-proxy.log", Log(pod, "istio-proxy"));
    for (const char* page :
         {"config_dump?include_eds=true", "clusters", "listeners", "stats", "certs", "server_info"})
      WriteResult(folder + std::string(base::Cut(page, "?").first), AskProxy(session_, pod, page));
  }

  Session& session_;
  const ReportOptions& options_;
  const std::string root_;
  int files_ = 0;
};

Status Pack(Session& session, const std::string& folder, const std::string& archive) {
  base::ProcessOptions options;
  options.argv = {"tar", "-C", folder, "-czf", archive, "bug-report"};
  std::optional<base::ExitStatus> ended;
  ASSIGN_OR_RETURN(auto process,
                   base::Process::Start(session.loop(), std::move(options),
                                        [&](base::ExitStatus status) { ended = status; }),
                   "starting tar");
  session.loop().RunUntil([&] { return ended.has_value(); }, std::chrono::minutes(5));
  if (!ended.has_value() || ended->code != 0 || ended->signal != 0)
    return base::Error(Code::kInternal, "tar could not write {}", archive);
  return {};
}

int RunBugReport(Session& session, const ReportOptions& options) {
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  std::string work = options.work.empty() ? "/tmp" : options.work;
  work += fmt::format("/isthmus-bug-report-{}", getpid());
  Report report(session, options, work + "/bug-report");
  session.Err(fmt::format("Collecting from the cluster at {}\n", (*client)->config().server));
  Status status = options.dry_run ? Status() : report.Collect();
  const std::string archive = options.folder + "/bug-report.tar.gz";
  if (status.ok() && !options.dry_run) status = Pack(session, work, archive);
  std::error_code ignored;
  std::filesystem::remove_all(work, ignored);
  if (!status.ok()) return session.Fail(status.In("bug report"));
  if (!options.dry_run)
    session.Err(fmt::format("✔ {} files in {}. Look through it before you give it away.\n",
                            report.files(), archive));
  return 0;
}

}  // namespace

void AddBugReportCommand(Commands& commands) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command =
      AddCommand(&commands.root, "bug-report",
                 "Packs logs, objects, and what control planes and proxies hold into one file",
                 "  % bug-report\n  % bug-report --include shop,cart --output-dir /tmp\n");
  AddList(command, "--include", options->include, "Namespaces to take (repeat or a,b)");
  AddList(command, "--exclude", options->exclude, "Namespaces to leave out (repeat or a,b)");
  command->add_option("--output-dir", options->folder, "Folder for bug-report.tar.gz")
      ->capture_default_str();
  command->add_option("--dir", options->work, "Folder for what is collected on the way");
  command->add_flag("--full-secrets", options->full_secrets, "Values of secrets, too");
  command->add_flag("--dry-run", options->dry_run, "Only connects");
  for (const char* flag : {"--duration", "--start-time", "--end-time", "--timeout", "--tail"})
    command->add_option(flag, options->duration)->group("");
  OnChosen(command, commands,
           [options](Session& session) { return RunBugReport(session, *options); });
}

}  // namespace isthmus::cli
