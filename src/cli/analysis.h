#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/documents.h"

namespace isthmus::cli {

enum class Severity { kInfo, kWarning, kError };
std::string_view SeverityName(Severity severity);

/// One finding about one object.
struct Finding {
  std::string code;  ///< "IST0101"
  Severity severity = Severity::kError;
  std::string cluster;
  std::string object;  ///< "VirtualService shop/front"
  std::string origin;  ///< "rules.yaml:6", or empty for an object of a cluster.
  std::string text;
  auto operator<=>(const Finding&) const = default;
};

/// What one cluster (or the files laid over it) holds.
struct AnalysisCluster {
  std::string name;
  std::vector<Document> objects;
};

/// All that analyzers may look at. A value; the first cluster is the current one.
class AnalysisWorld {
 public:
  AnalysisWorld(std::vector<AnalysisCluster> clusters, std::string istio_ns);

  const std::vector<AnalysisCluster>& clusters() const { return clusters_; }
  const std::string& istio_ns() const { return istio_ns_; }
  /// Calls for the objects of a kind, cluster by cluster.
  void Each(std::string_view group, std::string_view kind,
            const std::function<void(const AnalysisCluster&, const Document&)>& call) const;
  bool Has(std::string_view group, std::string_view kind, std::string_view ns,
           std::string_view name) const;
  /// Hosts that services and service entries of any cluster have: "a.ns.svc.cluster.local",
  /// "*.example.com".
  bool HasHost(std::string_view host, std::string_view ns) const;
  /// Whether anything of the clusters was read, so that a missing object is really missing.
  bool live = false;

 private:
  std::vector<AnalysisCluster> clusters_;
  std::string istio_ns_;
  std::set<std::string> hosts_;
};

/// Collects findings; leaves out what the object's own annotation suppresses.
class AnalysisReport {
 public:
  void Add(std::string_view code, Severity severity, const AnalysisCluster& cluster,
           const Document& document, std::string text);
  std::vector<Finding> Take();

 private:
  std::vector<Finding> findings_;
};

/// One analyzer: a name for --analyzer, what it looks at, and the look itself.
struct Analyzer {
  std::string_view name;
  std::string_view what;
  void (*run)(const AnalysisWorld&, AnalysisReport&);
};
const std::vector<Analyzer>& ConfigAnalyzers();
const std::vector<Analyzer>& MeshAnalyzers();

/// "LEVEL [CODE] (Kind ns/name file:line) text"; the cluster's name stands before the parenthesis
/// when `clusters`.
std::string FindingText(const Finding& finding, bool clusters);
/// Whether "CODE=Kind ns/name" (with * and ?) covers the finding.
bool IsSuppressed(const Finding& finding, std::string_view pattern);

}  // namespace isthmus::cli
