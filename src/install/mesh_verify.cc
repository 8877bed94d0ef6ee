#include "install/mesh_verify.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "install/mesh_requests.h"
#include "kubeapi/meta.h"

namespace isthmus::install {
namespace {

using base::Code;
using kubeapi::StringAt;

/// What is wrong with an object does not go away by waiting; what follows from it comes soon.
constexpr std::chrono::seconds kSettleWithFindings{5};

/// What one cluster's thread reads and asks; each writes only its own.
struct ClusterWork {
  ClusterFacts facts;
  ClusterObjects objects;
  std::vector<ProxyPod> proxies;
  std::map<std::string, HeldEndpoints> held;  ///< By "pod.ns".
  std::map<std::string, std::string> silent;  ///< Proxies that did not answer, and why.
};

/// What the control plane of a cluster says of those it watches; unknown when it does not answer.
std::vector<Json> AskClusters(ClusterAccess& access, const std::vector<Json>& pods,
                              const PodCommand& run) {
  for (const Json& pod : pods) {
    if (kubeapi::NamespaceOf(pod) != "istio-system" || kubeapi::LabelOf(pod, "app") != "istiod" ||
        !kubeapi::ConditionIsTrue(pod, "Ready"))
      continue;
    auto answer = run(access, "istio-system", kubeapi::NameOf(pod), "discovery",
                      {"pilot-discovery", "request", "GET", "/debug/clusterz"});
    if (!answer.ok()) continue;
    if (auto json = kubeapi::ParseJson(*answer); json.ok()) return kubeapi::ItemsAt(*json);
  }
  return {};
}

/// The same of a control plane that runs outside of the mesh, where the user may look there.
std::vector<Json> AskHost(MeshSession& session, const std::string& host, const PodCommand& run) {
  if (!session.has(host)) return {};
  auto pods = session.access(host).List(kPods, "istio-system", "app=istiod");
  return pods.ok() ? AskClusters(session.access(host), *pods, run) : std::vector<Json>();
}

base::Status ReadCluster(MeshSession& session, const TopologyCluster& cluster,
                         ClusterAccess& access, const PodCommand& run, ClusterWork& work) {
  const Topology& topology = session.topology();
  work = {};
  RETURN_IF_ERROR(ReadObjects(access, work.objects), "");
  ASSIGN_OR_RETURN(std::vector<Json> slices, access.List(kEndpointSlices, ""), "");
  ASSIGN_OR_RETURN(work.objects.intended, IntendedObjects(topology, cluster), "");
  work.facts = ReadFacts(work.objects.services, slices, work.objects.pods);
  AddMissingServices(work.objects, work.facts);
  if (cluster.has_istiod()) work.objects.watched = AskClusters(access, work.objects.pods, run);
  // Nobody else works with that host meanwhile: it serves one mesh.
  if (!cluster.host.empty()) work.objects.watched = AskHost(session, cluster.host, run);
  work.proxies = ProxiesOf(work.objects.pods);
  for (const ProxyPod& proxy : work.proxies) {
    auto answer = run(access, proxy.ns, proxy.name, "istio-proxy",
                      {"pilot-agent", "request", "GET", "clusters?format=json"});
    auto held =
        answer.ok() ? ReadEnvoyClusters(*answer) : base::Result<HeldEndpoints>(answer.status());
    if (held.ok()) {
      work.held[proxy.full()] = std::move(*held);
    } else {
      work.silent[proxy.full()] = held.status().message();
    }
  }
  return {};
}

/// One look at all clusters and what was made of it.
class Look {
 public:
  Look(MeshSession& session, const PodCommand& run) : session_(session), run_(run) {}

  base::Status Run(VerifyReport& report) {
    const Topology& topology = session_.topology();
    std::map<std::string, ClusterWork> work;
    for (const TopologyCluster& cluster : topology.clusters) work[cluster.name];
    RETURN_IF_ERROR(session_.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) {
      return ReadCluster(session_, cluster, access, run_, work.at(cluster.name));
    }),
                    "reading the clusters");
    state_ = {};
    for (auto& [name, one] : work) {
      state_.facts[name] = std::move(one.facts);
      state_.objects[name] = std::move(one.objects);
      state_.proxies[name] = one.proxies;
    }
    findings_ = FindCauses(topology, state_.objects, state_.facts);
    report = {};
    for (const TopologyCluster& cluster : topology.clusters)
      AddCluster(cluster, work.at(cluster.name), report);
    return {};
  }

  std::vector<Finding>& findings() { return findings_; }
  const MeshState& state() const { return state_; }

 private:
  void AddCluster(const TopologyCluster& cluster, const ClusterWork& work, VerifyReport& report) {
    if (work.proxies.empty())
      report.lines.push_back(
          {cluster.name, "proxies", false,
           "no running pod has a proxy: is the namespace labelled for injection?"});
    const auto expected = ExpectedViews(session_.topology(), state_.facts, cluster.name);
    std::map<std::string, ServiceView> views;
    for (const ProxyPod& proxy : work.proxies) {
      VerifyLine line{cluster.name, "endpoints of " + proxy.full(), true, ""};
      if (const auto silent = work.silent.find(proxy.full()); silent != work.silent.end()) {
        line.ok = false;
        line.detail = "its Envoy does not answer: " + silent->second;
        report.lines.push_back(std::move(line));
        continue;
      }
      const HeldEndpoints& held = work.held.at(proxy.full());
      const auto differences = CompareViews(session_.topology(), state_, cluster.name, proxy, held);
      if (!proxy.east_west) AddToViews(expected, proxy, held, differences, views);
      if (differences.empty()) {
        const auto is_sni = [](const auto& one) { return one.first.starts_with("outbound_."); };
        line.detail = proxy.east_west ? fmt::format("{} SNI routes",
                                                    std::count_if(held.begin(), held.end(), is_sni))
                                      : fmt::format("{} services as expected", expected.size());
      } else {
        line.ok = false;
        line.detail = Explain(differences);
      }
      report.lines.push_back(std::move(line));
    }
    for (auto& [name, view] : views) {
      view.cluster = cluster.name;
      report.views.push_back(std::move(view));
    }
  }

  /// Each difference with the object behind it.
  std::string Explain(const std::vector<Difference>& differences) {
    std::vector<std::string> texts;
    for (const Difference& difference : differences) {
      const Finding* cause = CauseOf(difference, session_.topology(), findings_);
      std::string text = Describe(difference);
      if (cause != nullptr) text += fmt::format("; cause: {} in {}", cause->object, cause->cluster);
      texts.push_back(std::move(text));
    }
    return fmt::format("{}", fmt::join(texts, "\n"));
  }

  MeshSession& session_;
  const PodCommand& run_;
  MeshState state_;
  std::vector<Finding> findings_;
};

std::string TextOf(const Finding& finding) {
  return fmt::format("{}\ndo: {}", finding.problem, finding.remedy);
}

/// Findings that are wrong by themselves or explain something, as lines of their own.
void AddFindings(std::vector<Finding> findings, VerifyReport& report) {
  std::vector<VerifyLine> lines;
  for (Finding& finding : findings) {
    if (!finding.wrong && finding.explains == 0) continue;
    lines.push_back({finding.cluster, finding.object, false, TextOf(finding)});
    report.findings.push_back(std::move(finding));
  }
  if (lines.empty())
    lines.push_back({"", "objects that join the clusters", true, "as the topology needs them"});
  report.lines.insert(report.lines.end(), lines.begin(), lines.end());
}

}  // namespace

int VerifyReport::wrong() const {
  return static_cast<int>(
      std::count_if(lines.begin(), lines.end(), [](const VerifyLine& line) { return !line.ok; }));
}

base::Result<VerifyReport> Verify(MeshSession& session, const PodCommand& run,
                                  const VerifyOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  Look look(session, run);
  VerifyReport report;
  while (true) {
    RETURN_IF_ERROR(look.Run(report), "");
    const auto& findings = look.findings();
    const bool hopeless = std::any_of(findings.begin(), findings.end(),
                                      [](const Finding& finding) { return finding.wrong; });
    const base::Duration patience =
        hopeless ? std::min<base::Duration>(options.settle, kSettleWithFindings) : options.settle;
    if (report.wrong() == 0 || std::chrono::steady_clock::now() - start >= patience) break;
    session.access(session.topology().clusters.front().name)
        .loop()
        .RunUntil([] { return false; }, std::chrono::milliseconds(300));
  }
  if (options.traffic) {
    for (const TopologyRequest& request : session.topology().requests) {
      ASSIGN_OR_RETURN(RequestOutcome outcome, MakeRequests(session, request, look.state(), run),
                       "requests to " + request.url);
      if (!outcome.line.ok) {
        const Finding* cause = CauseOf(outcome.failure, session.topology(), look.findings());
        if (cause != nullptr)
          outcome.line.detail += fmt::format("\ncause: {} in {}", cause->object, cause->cluster);
      }
      report.traffic.push_back(std::move(outcome.row));
      report.lines.push_back(std::move(outcome.line));
    }
  }
  AddFindings(look.findings(), report);
  return report;
}

}  // namespace isthmus::install
