#include "agent/capture_rules.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "base/net.h"
#include "base/strings.h"

namespace isthmus::agent {
namespace {

using base::Code;
using Strings = std::vector<std::string>;

bool IsV6(std::string_view cidr) { return cidr.find(':') != cidr.npos; }

/// Those of one family; "*" belongs to none.
Strings OfFamily(const Strings& cidrs, IpFamily family) {
  Strings out;
  for (const std::string& cidr : cidrs)
    if (IsV6(cidr) == (family == IpFamily::kV6)) out.push_back(cidr);
  return out;
}

/// Whether 127.0.0.1 (or ::1) lies in one of the CIDRs.
bool CoversLoopback(const Strings& cidrs, IpFamily family) {
  unsigned char loopback[16] = {};
  if (family == IpFamily::kV4) {
    loopback[0] = 127;
    loopback[3] = 1;
  } else {
    loopback[15] = 1;
  }
  for (const std::string& cidr : cidrs) {
    const auto [ip, bits_text] = base::Cut(cidr, "/");
    unsigned char network[16];
    if (inet_pton(family == IpFamily::kV4 ? AF_INET : AF_INET6, std::string(ip).c_str(), network) !=
        1)
      continue;
    const size_t full = family == IpFamily::kV4 ? 32 : 128;
    const base::Result<int64_t> parsed = base::ParseInt(bits_text);
    const size_t bits = parsed.ok() ? static_cast<size_t>(*parsed) : full;
    bool covers = true;
    for (size_t i = 0; i < bits && covers; ++i)
      covers = ((network[i / 8] ^ loopback[i / 8]) >> (7 - i % 8) & 1) == 0;
    if (covers) return true;
  }
  return false;
}

class Builder {
 public:
  Builder(const CaptureOptions& options, IpFamily family)
      : o_(options),
        family_(family),
        v6_(family == IpFamily::kV6),
        loopback_(v6_ ? "::1/128" : options.loopback_v4),
        passthrough_(v6_ ? "::6/128" : "127.0.0.6/32"),
        host_bits_(v6_ ? "/128" : "/32"),
        included_(OfFamily(options.outbound_cidrs, family)),
        nameservers_(OfFamily(options.nameservers, family)),
        dns_(options.redirect_dns && (options.capture_all_dns || !nameservers_.empty())) {}

  RuleSet Build() {
    Interfaces();
    Inbound();
    Add("nat", "ISTIO_REDIRECT", "-p tcp -j REDIRECT --to-ports " + o_.envoy_port);
    Output();
    if (dns_) Dns();
    if (o_.drop_invalid) {
      Add("mangle", "PREROUTING", "-m conntrack --ctstate INVALID -j ISTIO_DROP");
      Add("mangle", "ISTIO_DROP", "-j DROP");
    }
    return std::move(rules_);
  }

 private:
  void Add(const std::string& table, const std::string& chain, const std::string& rule) {
    RuleSet::Table& in = rules_.tables[table];
    if (chain.starts_with("ISTIO_") &&
        std::find(in.chains.begin(), in.chains.end(), chain) == in.chains.end())
      in.chains.push_back(chain);
    in.rules.push_back("-A " + chain + " " + rule);
  }

  void Interfaces() {
    for (const std::string& nic : o_.virtual_interfaces) {
      if (o_.all_outbound) {
        Add("nat", "PREROUTING", "-i " + nic + " -j ISTIO_REDIRECT");
      } else {
        for (const std::string& cidr : included_)
          Add("nat", "PREROUTING", "-d " + cidr + " -i " + nic + " -j ISTIO_REDIRECT");
      }
      Add("nat", "PREROUTING", "-i " + nic + " -j RETURN");
    }
    for (const std::string& nic : o_.interfaces_excluded) {
      Add("nat", "PREROUTING", "-i " + nic + " -j RETURN");
      Add("nat", "OUTPUT", "-o " + nic + " -j RETURN");
    }
  }

  void Inbound() {
    Add("nat", "ISTIO_IN_REDIRECT", "-p tcp -j REDIRECT --to-ports " + o_.inbound_port);
    if (!o_.all_inbound && o_.inbound_ports.empty()) return;
    Add("nat", "PREROUTING", "-p tcp -j ISTIO_INBOUND");
    Add("nat", "ISTIO_INBOUND", "-p tcp --dport " + o_.tunnel_port + " -j RETURN");
    if (!o_.all_inbound) {
      for (const std::string& port : o_.inbound_ports)
        Add("nat", "ISTIO_INBOUND", "-p tcp --dport " + port + " -j ISTIO_IN_REDIRECT");
      return;
    }
    for (const std::string& port : o_.inbound_ports_excluded)
      Add("nat", "ISTIO_INBOUND", "-p tcp --dport " + port + " -j RETURN");
    Add("nat", "ISTIO_INBOUND", "-p tcp -j ISTIO_IN_REDIRECT");
  }

  /// The three rules that tell the proxy's own traffic on loopback from the application's.
  void Owner(const std::string& match, const std::string& id, bool excludes_dns) {
    const std::string owner = "-m owner --" + match + " " + id;
    const std::string ports = excludes_dns ? "-p tcp -m multiport ! --dports 53," + o_.tunnel_port
                                           : "-p tcp ! --dport " + o_.tunnel_port;
    Add("nat", "ISTIO_OUTPUT",
        "-o lo ! -d " + loopback_ + " " + ports + " " + owner + " -j ISTIO_IN_REDIRECT");
    if (!CoversLoopback(included_, family_)) {
      // A nameserver on loopback: its queries over TCP are to be captured too.
      const std::string not_dns = dns_ ? "-p tcp ! --dport 53 " : "";
      Add("nat", "ISTIO_OUTPUT",
          "-o lo " + not_dns + "-m owner ! --" + match + " " + id + " -j RETURN");
    }
    Add("nat", "ISTIO_OUTPUT", owner + " -j RETURN");
  }

  void Output() {
    Add("nat", "OUTPUT", "-j ISTIO_OUTPUT");
    for (const std::string& port : o_.outbound_ports_excluded) {
      Add("nat", "ISTIO_OUTPUT", "-p tcp --dport " + port + " -j RETURN");
      Add("nat", "ISTIO_OUTPUT", "-p udp --dport " + port + " -j RETURN");
    }
    Add("nat", "ISTIO_OUTPUT", "-o lo -s " + passthrough_ + " -j RETURN");
    for (const std::string& uid : o_.proxy_uids) Owner("uid-owner", uid, dns_);
    for (const std::string& gid : o_.proxy_gids) Owner("gid-owner", gid, false);
    for (const std::string& gid : o_.groups_excluded)
      Add("nat", "ISTIO_OUTPUT", "-m owner --gid-owner " + gid + " -j RETURN");
    if (!o_.groups.empty()) {
      std::string none;
      for (const std::string& gid : o_.groups) none += "-m owner ! --gid-owner " + gid + " ";
      Add("nat", "ISTIO_OUTPUT", none + "-j RETURN");
    }
    if (dns_) Add("nat", "ISTIO_OUTPUT", "-j ISTIO_OUTPUT_DNS");
    Add("nat", "ISTIO_OUTPUT", "-d " + loopback_ + " -j RETURN");
    for (const std::string& cidr : OfFamily(o_.outbound_cidrs_excluded, family_))
      Add("nat", "ISTIO_OUTPUT", "-d " + cidr + " -j RETURN");
    for (const std::string& port : o_.outbound_ports)
      Add("nat", "ISTIO_OUTPUT", "-p tcp --dport " + port + " -j ISTIO_REDIRECT");
    if (o_.all_outbound) {
      Add("nat", "ISTIO_OUTPUT", "-j ISTIO_REDIRECT");
    } else {
      for (const std::string& cidr : included_)
        Add("nat", "ISTIO_OUTPUT", "-d " + cidr + " -j ISTIO_REDIRECT");
    }
  }

  void Dns() {
    Strings to = {""};
    Strings from = {""};
    if (!o_.capture_all_dns) {
      to.clear();
      from.clear();
      for (const std::string& server : nameservers_) {
        to.push_back("-d " + server + host_bits_ + " ");
        from.push_back("-s " + server + host_bits_ + " ");
      }
    }
    for (const char* protocol : {"tcp", "udp"})
      for (const std::string& match : to)
        Add("nat", "ISTIO_OUTPUT_DNS",
            fmt::format("-p {} --dport 53 {}-j REDIRECT --to-ports {}", protocol, match,
                        o_.dns_port));
    // Zones keep the proxy's own queries apart in connection tracking from the captured ones, which
    // have the same addresses and, by chance, ports.
    Add("raw", "OUTPUT", "-j ISTIO_OUTPUT_DNS");
    const auto zones = [&](const std::string& owner) {
      Add("raw", "ISTIO_OUTPUT_DNS", "-p udp --dport 53 -m owner " + owner + " -j CT --zone 1");
      Add("raw", "ISTIO_OUTPUT_DNS",
          "-p udp --sport " + o_.dns_port + " -m owner " + owner + " -j CT --zone 2");
    };
    for (const std::string& uid : o_.proxy_uids) zones("--uid-owner " + uid);
    for (const std::string& gid : o_.proxy_gids) zones("--gid-owner " + gid);
    for (const std::string& match : to)
      Add("raw", "ISTIO_OUTPUT_DNS", "-p udp --dport 53 " + match + "-j CT --zone 2");
    Add("raw", "PREROUTING", "-j ISTIO_INBOUND");
    for (const std::string& match : from)
      Add("raw", "ISTIO_INBOUND", "-p udp --sport 53 " + match + "-j CT --zone 1");
  }

  const CaptureOptions& o_;
  const IpFamily family_;
  const bool v6_;
  const std::string loopback_;
  const std::string passthrough_;
  const std::string host_bits_;
  const Strings included_;
  const Strings nameservers_;
  const bool dns_;
  RuleSet rules_;
};

base::Status CheckNumbers(const Strings& values, int64_t least, int64_t most,
                          std::string_view what) {
  for (const std::string& value : values) {
    const base::Result<int64_t> number = base::ParseInt(value);
    if (!number.ok() || *number < least || *number > most)
      return base::Error(Code::kInvalidArgument, "{}: \"{}\" is not a number from {} to {}", what,
                         value, least, most);
  }
  return {};
}

base::Status CheckCidrs(const Strings& values, std::string_view what) {
  for (const std::string& value : values) {
    const auto [ip, bits] = base::Cut(value, "/");
    const base::Result<int64_t> number = base::ParseInt(bits);
    const int64_t most = IsV6(ip) ? 128 : 32;
    const bool bits_ok =
        value.find('/') == value.npos || (number.ok() && *number >= 0 && *number <= most);
    if (!base::IsIpAddress(ip) || !bits_ok)
      return base::Error(Code::kInvalidArgument, "{}: \"{}\" is not an IP range such as 10.0.0.0/8",
                         what, value);
  }
  return {};
}

base::Status CheckNames(const Strings& values, std::string_view what) {
  for (const std::string& value : values) {
    const bool ok = !value.empty() && value.size() < 16 && value[0] != '-' &&
                    std::all_of(value.begin(), value.end(), [](unsigned char c) {
                      return c > ' ' && c < 127 && c != '/' && c != '"' && c != '\'';
                    });
    if (!ok)
      return base::Error(Code::kInvalidArgument, "{}: \"{}\" is not an interface name", what,
                         value);
  }
  return {};
}

struct SavedTable {
  std::set<std::string> chains;       // Of ours.
  std::vector<std::string> jumps;     // Rules of built-in chains that lead to ours.
  std::multiset<std::string> others;  // All other rules of built-in chains.
};

std::map<std::string, SavedTable> ReadSaved(const std::string& saved) {
  std::map<std::string, SavedTable> tables;
  SavedTable* table = nullptr;
  for (const std::string_view line : base::Split(saved, '\n')) {
    if (line.starts_with("*")) {
      table = &tables[std::string(base::Trim(line.substr(1)))];
    } else if (table != nullptr && line.starts_with(":ISTIO_")) {
      table->chains.emplace(base::Cut(line.substr(1), " ").first);
    } else if (table != nullptr && line.starts_with("-A ") && !line.starts_with("-A ISTIO_")) {
      const std::string rule(base::Trim(line));
      if (rule.find(" -j ISTIO_") != rule.npos)
        table->jumps.push_back(rule);
      else
        table->others.insert(rule);
    }
  }
  return tables;
}

}  // namespace

RuleSet MakeRules(const CaptureOptions& options, IpFamily family) {
  return Builder(options, family).Build();
}

base::Status CheckOptions(const CaptureOptions& o) {
  const auto port = [](const std::string& value, std::string_view what) {
    return CheckNumbers({value}, 1, 65535, what);
  };
  RETURN_IF_ERROR(port(o.envoy_port, "envoy-port"), "capture");
  RETURN_IF_ERROR(port(o.inbound_port, "inbound-capture-port"), "capture");
  RETURN_IF_ERROR(port(o.tunnel_port, "inbound-tunnel-port"), "capture");
  RETURN_IF_ERROR(CheckNumbers(o.proxy_uids, 0, 4294967294, "proxy-uid"), "capture");
  RETURN_IF_ERROR(CheckNumbers(o.proxy_gids, 0, 4294967294, "proxy-gid"), "capture");
  RETURN_IF_ERROR(CheckNumbers(o.inbound_ports, 1, 65535, "istio-inbound-ports"), "capture");
  RETURN_IF_ERROR(CheckNumbers(o.inbound_ports_excluded, 1, 65535, "istio-local-exclude-ports"),
                  "capture");
  RETURN_IF_ERROR(CheckNumbers(o.outbound_ports, 1, 65535, "istio-outbound-ports"), "capture");
  RETURN_IF_ERROR(
      CheckNumbers(o.outbound_ports_excluded, 1, 65535, "istio-local-outbound-ports-exclude"),
      "capture");
  RETURN_IF_ERROR(CheckCidrs(o.outbound_cidrs, "istio-service-cidr"), "capture");
  RETURN_IF_ERROR(CheckCidrs(o.outbound_cidrs_excluded, "istio-service-exclude-cidr"), "capture");
  RETURN_IF_ERROR(CheckCidrs({o.loopback_v4}, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"), "capture");
  RETURN_IF_ERROR(CheckNames(o.interfaces_excluded, "istio-exclude-interfaces"), "capture");
  RETURN_IF_ERROR(CheckNames(o.virtual_interfaces, "kube-virt-interfaces"), "capture");
  RETURN_IF_ERROR(CheckNames(o.groups, "ISTIO_OUTBOUND_OWNER_GROUPS"), "capture");
  RETURN_IF_ERROR(CheckNames(o.groups_excluded, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"), "capture");
  return {};
}

std::string RestoreText(const RuleSet& rules, const std::string& saved) {
  const std::map<std::string, SavedTable> before = ReadSaved(saved);
  std::set<std::string> names;
  for (const auto& [name, table] : rules.tables) names.insert(name);
  for (const auto& [name, table] : before)
    if (!table.chains.empty() || !table.jumps.empty()) names.insert(name);
  std::string text;
  for (const std::string& name : names) {
    const auto old = before.find(name);
    const auto now = rules.tables.find(name);
    std::set<std::string> obsolete;
    text += "*" + name + "\n";
    // Naming a chain makes it, or empties it when it is there.
    if (now != rules.tables.end())
      for (const std::string& chain : now->second.chains) text += ":" + chain + " - [0:0]\n";
    if (old != before.end()) {
      for (const std::string& chain : old->second.chains) {
        const bool kept = now != rules.tables.end() &&
                          std::find(now->second.chains.begin(), now->second.chains.end(), chain) !=
                              now->second.chains.end();
        if (kept) continue;
        obsolete.insert(chain);
        text += ":" + chain + " - [0:0]\n";
      }
      for (const std::string& jump : old->second.jumps) text += "-D" + jump.substr(2) + "\n";
    }
    if (now != rules.tables.end()) {
      for (const std::string& rule : now->second.rules) {
        // A rule without a jump to us (RETURN for an interface) that an earlier run made.
        if (old != before.end() && old->second.others.contains(rule))
          text += "-D" + rule.substr(2) + "\n";
        text += rule + "\n";
      }
    }
    for (const std::string& chain : obsolete) text += "-X " + chain + "\n";
    text += "COMMIT\n";
  }
  return text;
}

std::string CleanupText(const std::string& saved) { return RestoreText(RuleSet(), saved); }

}  // namespace isthmus::agent
