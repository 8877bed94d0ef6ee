#include "lab/node/dns_zone.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/net.h"
#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;

constexpr uint32_t kTtl = 5;

std::string Dashed(std::string address) {
  std::replace(address.begin(), address.end(), '.', '-');
  return address;
}

}  // namespace

void DnsZone::Add(const std::string& name, DnsType type, const std::string& value, uint16_t port) {
  std::vector<DnsRecord>& records = names_[name];
  const bool known = std::any_of(records.begin(), records.end(), [&](const DnsRecord& record) {
    return record.type == type && record.value == value && record.port == port;
  });
  if (!known) records.push_back({name, type, value, port});
  // A name's parents exist too, so that asking for them is no "no such name".
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const std::string parent = name.substr(dot + 1);
    if (!names_.try_emplace(parent).second) break;
  }
}

void DnsZone::AddHeadless(const std::string& name, const Json& slice, bool publish_not_ready) {
  const Json* endpoints = kubeapi::Find(slice, {"endpoints"});
  const Json* ports = kubeapi::Find(slice, {"ports"});
  if (endpoints == nullptr || !endpoints->is_array()) return;
  for (const Json& endpoint : *endpoints) {
    if (!publish_not_ready && !kubeapi::BoolAt(endpoint, {"conditions", "ready"}, true)) continue;
    const Json* addresses = kubeapi::Find(endpoint, {"addresses"});
    if (addresses == nullptr || !addresses->is_array()) continue;
    for (const Json& item : *addresses) {
      if (!item.is_string() || !base::IsIpv4Address(item.get<std::string>())) continue;
      const std::string address = item.get<std::string>();
      std::string host = kubeapi::StringAt(endpoint, {"hostname"});
      if (host.empty()) host = Dashed(address);
      Add(name, DnsType::kA, address);
      Add(base::ToLower(host) + "." + name, DnsType::kA, address);
      if (ports == nullptr || !ports->is_array()) continue;
      for (const Json& port : *ports) {
        const std::string port_name = kubeapi::StringAt(port, {"name"});
        if (port_name.empty()) continue;
        Add(fmt::format("_{}._{}.{}", port_name,
                        base::ToLower(kubeapi::StringAt(port, {"protocol"})), name),
            DnsType::kSrv, base::ToLower(host) + "." + name,
            static_cast<uint16_t>(kubeapi::IntAt(port, {"port"})));
      }
    }
  }
}

void DnsZone::AddService(const Json& service, const std::vector<const Json*>& slices) {
  const std::string name = base::ToLower(fmt::format("{}.{}.svc.{}", kubeapi::NameOf(service),
                                                     kubeapi::NamespaceOf(service), domain_));
  if (kubeapi::StringAt(service, {"spec", "type"}) == "ExternalName")
    return Add(name, DnsType::kCname, kubeapi::StringAt(service, {"spec", "externalName"}));
  const std::string address = kubeapi::StringAt(service, {"spec", "clusterIP"});
  if (!base::IsIpv4Address(address)) {
    names_.try_emplace(name);
    const bool all = kubeapi::BoolAt(service, {"spec", "publishNotReadyAddresses"});
    for (const Json* slice : slices) AddHeadless(name, *slice, all);
    return;
  }
  Add(name, DnsType::kA, address);
  std::vector<std::string_view> parts = base::Split(address, '.');
  std::reverse(parts.begin(), parts.end());
  Add(base::Join(parts, ".") + ".in-addr.arpa", DnsType::kPtr, name);
  const Json* ports = kubeapi::Find(service, {"spec", "ports"});
  if (ports == nullptr || !ports->is_array()) return;
  for (const Json& port : *ports) {
    const std::string port_name = kubeapi::StringAt(port, {"name"});
    std::string protocol = base::ToLower(kubeapi::StringAt(port, {"protocol"}));
    if (protocol.empty()) protocol = "tcp";
    if (!port_name.empty())
      Add(fmt::format("_{}._{}.{}", port_name, protocol, name), DnsType::kSrv, name,
          static_cast<uint16_t>(kubeapi::IntAt(port, {"port"})));
  }
}

void DnsZone::Rebuild(const std::map<std::string, Json>& services,
                      const std::map<std::string, Json>& slices) {
  names_.clear();
  std::map<std::string, std::vector<const Json*>> slices_of;
  for (const auto& [key, slice] : slices)
    slices_of[kubeapi::KeyOf(kubeapi::NamespaceOf(slice),
                             kubeapi::LabelOf(slice, "kubernetes.io/service-name"))]
        .push_back(&slice);
  for (const auto& [key, service] : services) AddService(service, slices_of[key]);
  Add("dns-version." + domain_, DnsType::kCname, "1.1.0");
}

DnsResult DnsZone::Look(std::string_view name, DnsType type) const {
  const std::string wanted = base::ToLower(name);
  DnsResult result;
  std::string current = wanted;
  for (int hops = 0; hops < 8; ++hops) {
    const auto found = names_.find(current);
    if (found == names_.end()) break;
    result.exists = true;
    std::string next;
    for (const DnsRecord& record : found->second) {
      if (record.type == type || type == DnsType::kAny)
        result.records.push_back(record);
      else if (record.type == DnsType::kCname)
        result.records.push_back(record), next = base::ToLower(record.value);
    }
    if (next.empty()) break;
    current = next;
  }
  // 172-20-0-5.<namespace>.pod.<domain>
  const std::string pods = ".pod." + domain_;
  if (!result.exists && wanted.ends_with(pods)) {
    std::string address = wanted.substr(0, wanted.find('.'));
    std::replace(address.begin(), address.end(), '-', '.');
    if (base::IsIpv4Address(address)) {
      result.exists = true;
      if (type == DnsType::kA) result.records.push_back({wanted, DnsType::kA, address, 0});
    }
  }
  for (const DnsRecord& record : result.records) {
    if (record.type != DnsType::kSrv) continue;
    const auto target = names_.find(record.value);
    if (target == names_.end()) continue;
    for (const DnsRecord& extra : target->second)
      if (extra.type == DnsType::kA) result.additional.push_back(extra);
  }
  static std::mt19937 random{std::random_device{}()};
  if (result.records.size() > 1 && result.records[0].type == type)
    std::shuffle(result.records.begin(), result.records.end(), random);
  return result;
}

namespace {

void Put16(std::string& out, uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 255);
}

void PutName(std::string& out, std::string_view name) {
  for (const std::string_view label : base::Split(name, '.')) {
    if (label.empty() || label.size() > 63) continue;
    out += static_cast<char>(label.size());
    out += label;
  }
  out += '\0';
}

void PutRecord(std::string& out, const DnsRecord& record) {
  PutName(out, record.name);
  Put16(out, static_cast<uint16_t>(record.type));
  Put16(out, 1);
  Put16(out, 0);
  Put16(out, kTtl);
  std::string data;
  if (record.type == DnsType::kA) {
    in_addr address{};
    inet_pton(AF_INET, record.value.c_str(), &address);
    data.assign(reinterpret_cast<const char*>(&address), sizeof address);
  } else if (record.type == DnsType::kSrv) {
    Put16(data, 0);
    Put16(data, 100);
    Put16(data, record.port);
    PutName(data, record.value);
  } else {
    PutName(data, record.value);
  }
  Put16(out, static_cast<uint16_t>(data.size()));
  out += data;
}

// "No" must say how long it may be remembered.
void PutSoa(std::string& out, const std::string& domain) {
  PutName(out, domain);
  Put16(out, static_cast<uint16_t>(DnsType::kSoa));
  Put16(out, 1);
  Put16(out, 0);
  Put16(out, kTtl);
  std::string data;
  PutName(data, "ns.dns." + domain);
  PutName(data, "hostmaster." + domain);
  for (const uint32_t number : {1u, 7200u, 1800u, 86400u, kTtl}) {
    Put16(data, static_cast<uint16_t>(number >> 16));
    Put16(data, static_cast<uint16_t>(number & 0xffff));
  }
  Put16(out, static_cast<uint16_t>(data.size()));
  out += data;
}

struct Question {
  std::string name;
  uint16_t type = 0;
  size_t end = 0;  // Where it ends in the query.
};

bool ReadQuestion(std::string_view query, Question* question) {
  size_t at = 12;
  while (true) {
    if (at >= query.size()) return false;
    const auto length = static_cast<unsigned char>(query[at++]);
    if (length == 0) break;
    // Compression has no place in a question.
    if (length > 63 || at + length > query.size() || question->name.size() + length > 253)
      return false;
    if (!question->name.empty()) question->name += '.';
    question->name += query.substr(at, length);
    at += length;
  }
  if (at + 4 > query.size()) return false;
  question->type = static_cast<uint16_t>(static_cast<unsigned char>(query[at]) << 8 |
                                         static_cast<unsigned char>(query[at + 1]));
  question->end = at + 4;
  return true;
}

}  // namespace

std::string AnswerDns(const DnsZone& zone, std::string_view query, size_t limit) {
  Question question;
  // A query, with one question, and not an answer itself.
  if (query.size() < 12 || (query[2] & 0x80) != 0 || query[4] != 0 || query[5] != 1) return "";
  if (!ReadQuestion(query, &question)) return "";
  const DnsResult result = zone.Look(question.name, static_cast<DnsType>(question.type));
  const int code = (query[2] & 0x78) != 0 ? 4 : result.exists ? 0 : 3;
  auto header = [&](bool truncated, size_t answers, size_t authority, size_t additional) {
    std::string out(query.substr(0, 2));
    out +=
        static_cast<char>(0x84 | (truncated ? 2 : 0) | (query[2] & 1));  // Answer, authoritative.
    out += static_cast<char>(0x80 | code);  // Recursion is "available".
    for (const size_t count : {size_t{1}, answers, authority, additional})
      Put16(out, static_cast<uint16_t>(count));
    return out.append(query.substr(12, question.end - 12));
  };
  std::string out = header(false, result.records.size(), result.records.empty() ? 1 : 0,
                           result.additional.size());
  for (const DnsRecord& record : result.records) PutRecord(out, record);
  if (result.records.empty()) PutSoa(out, zone.domain());
  for (const DnsRecord& record : result.additional) PutRecord(out, record);
  return out.size() <= limit ? out : header(true, 0, 0, 0);
}

}  // namespace isthmus::lab::node
