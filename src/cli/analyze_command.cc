#include <fmt/format.h>

#include <algorithm>

#include "base/duration.h"
#include "base/encoding.h"
#include "base/strings.h"
#include "cli/analysis.h"
#include "cli/command.h"
#include "config/kinds.h"
#include "kubeapi/meta.h"
#include "kubeclient/config.h"
#include "kubeclient/sync.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using kubeapi::StringAt;

constexpr int kUnreadableFile = 65;
constexpr int kFound = 79;

struct AnalyzeOptions {
  std::vector<std::string> files, suppress, contexts, analyzers;
  std::string output = "log";
  std::string output_threshold = "Info";
  std::string failure_threshold = "Error";
  std::string revision, mesh_file, timeout = "30s";
  bool all_namespaces = false, use_kube = true, list = false, ignore_unknown = false,
       verbose = false, recursive = false, color = true;
};

bool ParseSeverity(const std::string& text, Severity& severity) {
  for (const Severity one : {Severity::kInfo, Severity::kWarning, Severity::kError})
    if (base::EqualsIgnoreCase(text, SeverityName(one))) {
      severity = one;
      return true;
    }
  return false;
}

/// What analyzers look at in a cluster, besides Istio's own kinds.
std::vector<Resource> Watched() {
  std::vector<Resource> resources = {
      kNamespaces, kServices, kPods, kSecrets, kConfigMaps, kMutatingWebhooks, kValidatingWebhooks};
  for (const config::Kind& kind : config::Kinds()) resources.push_back(kind.resource());
  return resources;
}

Result<std::vector<Document>> ReadCluster(Session& session, kubeclient::Client& client) {
  std::vector<Document> documents;
  for (const Resource& resource : Watched()) {
    auto version =
        kubeclient::Await<std::string>(session.loop(), std::chrono::seconds(60), [&](auto done) {
          client.ListEach(
              resource, "", {},
              [&documents](Json item) {
                documents.push_back({std::move(item), "", 1});
              },
              std::move(done));
        });
    // A kind whose definition is not installed has no objects; what one may not read cannot be
    // analysed.
    if (version.ok() || version.status().code() == Code::kNotFound) continue;
    if (version.status().code() != Code::kPermissionDenied)
      return version.status().In(resource.plural);
    session.Err(fmt::format("warning: {} are not analysed: {}\n", resource.plural,
                            version.status().message()));
  }
  return documents;
}

/// The name by which a cluster calls itself: istiod's CLUSTER_ID by way of the injector's values.
std::string ClusterIdOf(const std::vector<Document>& documents, const std::string& istio_ns,
                        const std::string& fallback) {
  for (const Document& document : documents)
    if (kubeapi::KindOf(document.object) == "ConfigMap" &&
        kubeapi::NameOf(document.object) == "istio-sidecar-injector" &&
        kubeapi::NamespaceOf(document.object) == istio_ns)
      if (const auto values = kubeapi::ParseJson(StringAt(document.object, {"data", "values"}));
          values.ok())
        if (std::string id = StringAt(*values, {"global", "multiCluster", "clusterName"});
            !id.empty())
          return id;
  return fallback;
}

/// The clusters that the first one's remote secrets lead to.
void ReadRemotes(Session& session, std::vector<AnalysisCluster>& clusters) {
  const std::vector<Document> documents = clusters.front().objects;
  for (const Document& document : documents) {
    if (kubeapi::KindOf(document.object) != "Secret" ||
        kubeapi::LabelOf(document.object, "istio/multiCluster") != "true" ||
        kubeapi::NamespaceOf(document.object) != session.globals.istio_ns)
      continue;
    const Json* data = kubeapi::Find(document.object, {"data"});
    if (data == nullptr || !data->is_object()) continue;
    for (const auto& [id, value] : data->items()) {
      if (id == clusters.front().name || !value.is_string()) continue;
      const auto skip = [&session, &id = id](const Status& why) {
        session.Err(fmt::format("warning: cluster {} is not analysed: {}\n", id, why.message()));
      };
      const auto text = base::Base64Decode(value.get_ref<const std::string&>());
      if (!text.ok()) {
        skip(text.status());
        continue;
      }
      auto config =
          kubeclient::ParseKubeconfig(*text, "", kubeclient::KubeconfigTrust::kRemoteSecret);
      if (!config.ok()) {
        skip(config.status());
        continue;
      }
      config->request_timeout = std::chrono::seconds(10);
      auto client = kubeclient::Client::Create(session.loop(), std::move(*config));
      auto objects = client.ok() ? ReadCluster(session, **client)
                                 : Result<std::vector<Document>>(client.status());
      if (!objects.ok())
        skip(objects.status());
      else
        clusters.push_back({id, std::move(*objects)});
    }
  }
}

Status ReadLive(Session& session, const AnalyzeOptions& options,
                std::vector<AnalysisCluster>& clusters) {
  auto client = session.client();
  if (!client.ok()) return client.status();
  ASSIGN_OR_RETURN(std::vector<Document> objects, ReadCluster(session, **client),
                   "reading the cluster");
  const std::string name =
      ClusterIdOf(objects, session.globals.istio_ns, (*client)->config().cluster);
  clusters.push_back({name, std::move(objects)});
  for (const std::string& context : options.contexts) {
    ASSIGN_OR_RETURN(const auto remote, session.Connect(context), "context " + context);
    ASSIGN_OR_RETURN(std::vector<Document> more, ReadCluster(session, *remote),
                     "context " + context);
    const std::string id = ClusterIdOf(more, session.globals.istio_ns, context);
    clusters.push_back({id, std::move(more)});
  }
  if (options.contexts.empty()) ReadRemotes(session, clusters);
  return {};
}

/// Puts the objects of files over those of the cluster; counts the files that cannot be read.
int ReadFiles(Session& session, const AnalyzeOptions& options, const std::string& default_ns,
              std::vector<Document>& objects) {
  int unreadable = 0;
  for (const std::string& path : options.files) {
    auto files = ExpandPath(path);
    if (!files.ok()) {
      session.Err(fmt::format("Error: {}\n", files.status().message()));
      ++unreadable;
      continue;
    }
    for (const std::string& file : *files) {
      auto text = session.ReadInput(file);
      auto documents =
          text.ok() ? ReadDocuments(*text, file) : Result<std::vector<Document>>(text.status());
      if (!documents.ok()) {
        session.Err(fmt::format("Error: {}\n", documents.status().message()));
        ++unreadable;
        continue;
      }
      for (Document& document : *documents) {
        const std::string kind = kubeapi::KindOf(document.object);
        const bool cluster_wide = kind == "Namespace" || kind.starts_with("Cluster") ||
                                  kind.ends_with("WebhookConfiguration");
        if (!cluster_wide && kubeapi::NamespaceOf(document.object).empty())
          kubeapi::Ensure(document.object, {"metadata", "namespace"}) = default_ns;
        std::erase_if(objects, [&](const Document& have) {
          return kubeapi::KindOf(have.object) == kind &&
                 kubeapi::KeyOf(have.object) == kubeapi::KeyOf(document.object);
        });
        objects.push_back(std::move(document));
      }
    }
  }
  return unreadable;
}

/// Findings that are to be shown: not below the threshold, not suppressed, of the namespace.
std::vector<Finding> Select(std::vector<Finding> findings, const AnalyzeOptions& options,
                            Severity threshold, const std::string& ns) {
  std::erase_if(findings, [&](const Finding& finding) {
    if (finding.severity < threshold) return true;
    for (const std::string& pattern : options.suppress)
      if (IsSuppressed(finding, pattern)) return true;
    // "Kind ns/name"; objects without a namespace are always shown, but for namespaces that are not
    // asked for.
    const std::string key = finding.object.substr(finding.object.find(' ') + 1);
    const size_t slash = key.find('/');
    if (ns.empty() || !finding.origin.empty()) return false;
    if (slash != key.npos) return key.substr(0, slash) != ns;
    return finding.object.starts_with("Namespace ") && key != ns &&
           !finding.code.starts_with("ISM");
  });
  return findings;
}

Json ToJson(const Finding& finding) {
  Json json = {{"code", finding.code},
               {"level", std::string(SeverityName(finding.severity))},
               {"message", finding.text},
               {"origin", finding.object},
               {"reference", finding.origin}};
  if (!finding.cluster.empty()) json["cluster"] = finding.cluster;
  return json;
}

int ListAnalyzers(Session& session) {
  for (const auto* list : {&ConfigAnalyzers(), &MeshAnalyzers()})
    for (const Analyzer& analyzer : *list)
      session.Out(fmt::format("* {}:\n    {}\n", analyzer.name, analyzer.what));
  return 0;
}

int RunAnalyze(Session& session, const AnalyzeOptions& options) {
  if (options.list) return ListAnalyzers(session);
  Severity shown = Severity::kInfo, fatal = Severity::kError;
  if (!ParseSeverity(options.output_threshold, shown) ||
      !ParseSeverity(options.failure_threshold, fatal))
    return session.Fail(Error(Code::kInvalidArgument, "thresholds are Info, Warning and Error"),
                        64);
  std::vector<AnalysisCluster> clusters;
  std::string ns = session.globals.ns.empty() ? "default" : session.globals.ns;
  if (options.use_kube) {
    if (auto found = session.default_namespace(); found.ok()) ns = *found;
    if (const Status status = ReadLive(session, options, clusters); !status.ok())
      return session.Fail(status);
  } else {
    clusters.push_back({"", {}});
  }
  const int unreadable = ReadFiles(session, options, ns, clusters.front().objects);
  AnalysisWorld world(std::move(clusters), session.globals.istio_ns);
  world.live = options.use_kube;
  AnalysisReport report;
  for (const auto* list : {&ConfigAnalyzers(), &MeshAnalyzers()})
    for (const Analyzer& analyzer : *list)
      if (options.analyzers.empty() || std::find(options.analyzers.begin(), options.analyzers.end(),
                                                 analyzer.name) != options.analyzers.end())
        analyzer.run(world, report);
  const bool everywhere = options.all_namespaces || !options.use_kube;
  const std::vector<Finding> findings = Select(report.Take(), options, shown, everywhere ? "" : ns);
  const bool failed = std::any_of(findings.begin(), findings.end(),
                                  [fatal](const Finding& f) { return f.severity >= fatal; });
  if (options.output != "log") {
    Json list = Json::array();
    for (const Finding& finding : findings) list.push_back(ToJson(finding));
    session.Out(Print(list, options.output));
    return 0;
  }
  for (const Finding& finding : findings)
    session.Out(FindingText(finding, world.clusters().size() > 1) + "\n");
  if (findings.empty() && unreadable == 0) {
    const std::string what = !options.files.empty()   ? base::Join(options.files, ", ")
                             : options.all_namespaces ? "all namespaces"
                                                      : "namespace: " + ns;
    session.Out("\n");
    session.Err(fmt::format("✔ No validation issues found when analyzing {}.\n", what));
  }
  if (failed) {
    session.Err(
        fmt::format("Error: Analyzers found issues when analyzing {}.\nSee the messages above; "
                    "each names its object.\n",
                    options.all_namespaces ? "all namespaces" : "namespace: " + ns));
    return kFound;
  }
  return unreadable != 0 ? kUnreadableFile : 0;
}

}  // namespace

void AddAnalyzeCommand(Commands& commands, CLI::App* group) {
  auto options = std::make_shared<AnalyzeOptions>();
  CLI::App* command =
      AddCommand(group, "analyze", "Looks for mistakes in the configuration of the mesh",
                 "  # The current cluster and those it watches, all namespaces\n  % analyze -A\n"
                 "  # What files would change, without applying them\n  % analyze rules.yaml\n"
                 "  # Files alone\n  % analyze --use-kube=false samples/\n");
  command->add_option("files", options->files,
                      "Files or folders to analyse as if they were applied");
  command->add_flag("-A,--all-namespaces", options->all_namespaces, "All namespaces");
  command->add_flag("-k,--use-kube", options->use_kube, "Reads the cluster, too")
      ->default_str("true");
  AddOutput(command, options->output, {"log", "json", "yaml"});
  command->add_option("--output-threshold", options->output_threshold, "Least level that is shown")
      ->capture_default_str();
  command
      ->add_option("--failure-threshold", options->failure_threshold,
                   "Least level that makes the exit code 79")
      ->capture_default_str();
  AddList(command, "-S,--suppress", options->suppress,
          "CODE=\"Kind ns/name\" to leave out; * and ? match (repeat)");
  command->add_option("-r,--revision", options->revision, "Revision of the control plane");
  command->add_option("--meshConfigFile", options->mesh_file)->group("");
  AddList(command, "--remote-contexts", options->contexts,
          "Contexts of further clusters (repeat); remote secrets' when absent");
  AddList(command, "--analyzer", options->analyzers, "Only this analyzer (repeat)");
  command->add_flag("-L,--list-analyzers", options->list, "Lists the analyzers");
  command->add_flag("--ignore-unknown", options->ignore_unknown)->group("");
  command->add_option("--timeout", options->timeout)->group("");
  command->add_flag("--color", options->color)->group("");
  command->add_flag("-v,--verbose", options->verbose)->group("");
  command->add_flag("-R,--recursive", options->recursive)->group("");
  OnChosen(command, commands,
           [options](Session& session) { return RunAnalyze(session, *options); });
}

}  // namespace isthmus::cli
