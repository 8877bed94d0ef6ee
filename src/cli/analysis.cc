#include "cli/analysis.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <tuple>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using kubeapi::StringAt;

std::string ObjectText(const Json& object) {
  return fmt::format("{} {}", kubeapi::KindOf(object), kubeapi::KeyOf(object));
}

}  // namespace

std::string_view SeverityName(Severity severity) {
  return severity == Severity::kError     ? "Error"
         : severity == Severity::kWarning ? "Warning"
                                          : "Info";
}

AnalysisWorld::AnalysisWorld(std::vector<AnalysisCluster> clusters, std::string istio_ns)
    : clusters_(std::move(clusters)), istio_ns_(std::move(istio_ns)) {
  Each("", "Service", [this](const AnalysisCluster&, const Document& document) {
    hosts_.insert(fmt::format("{}.{}.svc.cluster.local", kubeapi::NameOf(document.object),
                              kubeapi::NamespaceOf(document.object)));
  });
  Each("networking.istio.io", "ServiceEntry",
       [this](const AnalysisCluster&, const Document& document) {
         for (const Json& host : kubeapi::ItemsAt(document.object, {"spec", "hosts"}))
           if (host.is_string()) hosts_.insert(host.get<std::string>());
       });
}

void AnalysisWorld::Each(
    std::string_view group, std::string_view kind,
    const std::function<void(const AnalysisCluster&, const Document&)>& call) const {
  for (const AnalysisCluster& cluster : clusters_)
    for (const Document& document : cluster.objects)
      if (kubeapi::KindOf(document.object) == kind &&
          kubeapi::GroupOf(kubeapi::ApiVersionOf(document.object)) == group)
        call(cluster, document);
}

bool AnalysisWorld::Has(std::string_view group, std::string_view kind, std::string_view ns,
                        std::string_view name) const {
  bool found = false;
  Each(group, kind, [&](const AnalysisCluster&, const Document& document) {
    found = found || (kubeapi::NameOf(document.object) == name &&
                      kubeapi::NamespaceOf(document.object) == ns);
  });
  return found;
}

bool AnalysisWorld::HasHost(std::string_view host, std::string_view ns) const {
  std::string full(host);
  if (full.find('.') == full.npos) full = fmt::format("{}.{}.svc.cluster.local", host, ns);
  if (hosts_.contains(full)) return true;
  // "a.ns" and "a.ns.svc" are names, too.
  for (const std::string_view suffix : {".svc.cluster.local", ".cluster.local"})
    if (hosts_.contains(full + std::string(suffix))) return true;
  return std::any_of(hosts_.begin(), hosts_.end(), [&full](const std::string& known) {
    return (known.starts_with("*") && full.ends_with(known.substr(1))) ||
           (full.starts_with("*") && known.ends_with(full.substr(1)));
  });
}

void AnalysisReport::Add(std::string_view code, Severity severity, const AnalysisCluster& cluster,
                         const Document& document, std::string text) {
  for (const std::string& one :
       base::SplitList(kubeapi::AnnotationOf(document.object, "galley.istio.io/analyze-suppress")))
    if (one == code || one == "*") return;
  findings_.push_back(
      {std::string(code), severity, cluster.name, ObjectText(document.object),
       document.file.empty() ? "" : fmt::format("{}:{}", document.file, document.line),
       std::move(text)});
}

std::vector<Finding> AnalysisReport::Take() {
  std::sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) {
    return std::tie(b.severity, a.code, a.object, a.text, a.cluster) <
           std::tie(a.severity, b.code, b.object, b.text, b.cluster);
  });
  findings_.erase(std::unique(findings_.begin(), findings_.end()), findings_.end());
  return std::move(findings_);
}

std::string FindingText(const Finding& finding, bool clusters) {
  return fmt::format(
      "{} [{}]{} ({}{}) {}", SeverityName(finding.severity), finding.code,
      clusters && !finding.cluster.empty() ? fmt::format(" [cluster-{}]", finding.cluster) : "",
      finding.object, finding.origin.empty() ? "" : " " + finding.origin, finding.text);
}

bool IsSuppressed(const Finding& finding, std::string_view pattern) {
  const auto [code, object] = base::Cut(pattern, "=");
  return code == finding.code &&
         fnmatch(std::string(object).c_str(), finding.object.c_str(), 0) == 0;
}

}  // namespace isthmus::cli
