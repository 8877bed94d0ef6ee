#include "agent/name_table.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/strings.h"
#include "kubeapi/json.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::agent {
namespace {

using Host = NameTable::Host;

std::string RawAddress(std::string_view text) {
  unsigned char bytes[16];
  const std::string ip(text);
  if (inet_pton(AF_INET, ip.c_str(), bytes) == 1)
    return std::string(reinterpret_cast<char*>(bytes), 4);
  if (inet_pton(AF_INET6, ip.c_str(), bytes) == 1)
    return std::string(reinterpret_cast<char*>(bytes), 16);
  return {};
}

std::string AddressText(const std::string& raw) {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(raw.size() == 4 ? AF_INET : AF_INET6, raw.data(), text, sizeof text) == nullptr
             ? ""
             : text;
}

Host ParseHost(std::string_view message) {
  Host host;
  rpc::WireReader in(message);
  while (in.Next()) {
    if (in.field() == 1) {
      // An address of no known form is left out: the others still serve.
      if (std::string raw = RawAddress(in.bytes()); !raw.empty())
        host.addresses.push_back(std::move(raw));
    }
    if (in.field() == 2) host.kubernetes = in.bytes() == "Kubernetes";
    if (in.field() == 3) host.shortname = in.bytes();
    if (in.field() == 4) host.ns = in.bytes();
  }
  return host;
}

/// The Kubernetes service meant by a name of up to three labels.
const Host* FindShort(const NameTable& table, const NameScope& scope, std::string_view name) {
  const std::string_view first_label = base::Cut(scope.domain, ".").first;
  std::string full;
  switch (std::count(name.begin(), name.end(), '.')) {
    case 0:
      full = fmt::format("{}.{}.{}", name, scope.ns, scope.domain);
      break;
    case 1:
      full = fmt::format("{}.{}", name, scope.domain);
      break;
    case 2:
      if (!name.ends_with(first_label) || name[name.size() - first_label.size() - 1] != '.')
        return nullptr;
      full = std::string(name.substr(0, name.size() - first_label.size())) + scope.domain;
      break;
    default:
      return nullptr;
  }
  const auto at = table.hosts().find(full);
  return at != table.hosts().end() && at->second.kubernetes ? &at->second : nullptr;
}

const Host* FindExact(const NameTable& table, const NameScope& scope, std::string_view name) {
  if (name.empty()) return nullptr;
  const auto at = table.hosts().find(name);
  return at != table.hosts().end() ? &at->second : FindShort(table, scope, name);
}

const Host* FindWildcard(const NameTable& table, std::string_view name) {
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
    const auto at = table.hosts().find("*" + std::string(name.substr(dot)));
    if (at != table.hosts().end()) return &at->second;
  }
  return nullptr;
}

void AddAddresses(const Host& host, std::string_view name, uint16_t type,
                  std::vector<DnsRecord>& records) {
  const size_t size = type == kDnsA ? 4 : 16;
  for (const std::string& address : host.addresses)
    if (address.size() == size) records.push_back({std::string(name), type, 30, address});
}

}  // namespace

base::Result<NameTable> NameTable::Parse(std::string_view message) {
  NameTable table;
  rpc::WireReader in(message);
  while (in.Next()) {
    if (in.field() != 1 || !in.is_bytes()) continue;
    std::string_view key;
    std::string_view value;
    rpc::WireReader entry(in.bytes());
    while (entry.Next()) {
      if (entry.field() == 1) key = entry.bytes();
      if (entry.field() == 2) value = entry.bytes();
    }
    if (!entry.ok()) return base::Error(base::Code::kInvalidArgument, "malformed name table");
    base::ConsumeSuffix(key, ".");
    if (!key.empty()) table.hosts_[base::ToLower(key)] = ParseHost(value);
  }
  if (!in.ok()) return base::Error(base::Code::kInvalidArgument, "malformed name table");
  return table;
}

std::string NameTable::ToJson() const {
  kubeapi::Json table = kubeapi::Json::object();
  for (const auto& [name, host] : hosts_) {
    kubeapi::Json ips = kubeapi::Json::array();
    for (const std::string& raw : host.addresses) ips.push_back(AddressText(raw));
    kubeapi::Json entry = {{"ips", std::move(ips)},
                           {"registry", host.kubernetes ? "Kubernetes" : "External"}};
    if (!host.shortname.empty()) entry["shortname"] = host.shortname;
    if (!host.ns.empty()) entry["namespace"] = host.ns;
    table[name] = std::move(entry);
  }
  return kubeapi::Json{{"table", std::move(table)}}.dump(2, ' ', false,
                                                         kubeapi::Json::error_handler_t::replace);
}

NameAnswer LookUp(const NameTable& table, const NameScope& scope, std::string_view name,
                  uint16_t type) {
  NameAnswer answer;
  if (type != kDnsA && type != kDnsAaaa) return answer;
  if (const Host* host = FindExact(table, scope, name)) {
    answer.known = true;
    AddAddresses(*host, name, type, answer.records);
    return answer;
  }
  std::string_view bare = name;
  if (!scope.search.empty() && base::ConsumeSuffix(bare, scope.search) &&
      base::ConsumeSuffix(bare, ".")) {
    const Host* host = FindExact(table, scope, bare);
    if (host == nullptr) host = FindWildcard(table, bare);
    if (host != nullptr) {
      answer.known = true;
      AddAddresses(*host, bare, type, answer.records);
      if (!answer.records.empty())
        answer.records.insert(answer.records.begin(),
                              {std::string(name), kDnsCname, 30, std::string(bare)});
      return answer;
    }
  }
  if (const Host* host = FindWildcard(table, name)) {
    answer.known = true;
    AddAddresses(*host, name, type, answer.records);
  }
  return answer;
}

}  // namespace isthmus::agent
