#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kubeapi/json.h"

namespace isthmus::lab::node {

enum class DnsType : uint16_t {
  kA = 1,
  kCname = 5,
  kSoa = 6,
  kPtr = 12,
  kAaaa = 28,
  kSrv = 33,
  kAny = 255
};

struct DnsRecord {
  std::string name;
  DnsType type = DnsType::kA;
  std::string value;  ///< An address, or a name.
  uint16_t port = 0;  ///< kSrv
};

struct DnsResult {
  bool exists = false;  ///< The name is there, maybe without records of that type.
  std::vector<DnsRecord> records;
  std::vector<DnsRecord> additional;
};

/// The names of one cluster, as its DNS says them: services (addresses, ports, external names),
/// pods behind headless services, and pods by address. Rebuilt when services or endpoints change;
/// read by value.
class DnsZone {
 public:
  explicit DnsZone(std::string domain = "cluster.local") : domain_(std::move(domain)) {}

  void Rebuild(const std::map<std::string, kubeapi::Json>& services,
               const std::map<std::string, kubeapi::Json>& slices);
  /// `name` without the last dot, in any case.
  DnsResult Look(std::string_view name, DnsType type) const;
  const std::string& domain() const { return domain_; }

 private:
  void AddService(const kubeapi::Json& service, const std::vector<const kubeapi::Json*>& slices);
  void AddHeadless(const std::string& name, const kubeapi::Json& slice, bool publish_not_ready);
  void Add(const std::string& name, DnsType type, const std::string& value, uint16_t port = 0);

  std::string domain_;
  std::map<std::string, std::vector<DnsRecord>, std::less<>> names_;
};

/// Answers one query in wire form. Empty when the query is not worth an answer (garbage). `limit`
/// is the largest answer; a longer one is cut to its header with the truncation flag.
std::string AnswerDns(const DnsZone& zone, std::string_view query, size_t limit);

}  // namespace isthmus::lab::node
