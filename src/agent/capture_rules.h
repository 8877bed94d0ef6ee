#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace isthmus::agent {

/// What traffic of a pod goes through Envoy. Lists are as the flags have them; `*` stands for all.
/// A value.
struct CaptureOptions {
  std::string envoy_port = "15001";
  std::string inbound_port = "15006";
  std::string tunnel_port = "15008";
  std::string dns_port = "15053";
  std::vector<std::string> proxy_uids = {"1337"};
  std::vector<std::string> proxy_gids = {"1337"};
  bool all_inbound = false;
  std::vector<std::string> inbound_ports;  ///< When not all.
  std::vector<std::string> inbound_ports_excluded;
  bool all_outbound = false;
  std::vector<std::string> outbound_cidrs;  ///< When not all.
  std::vector<std::string> outbound_cidrs_excluded;
  std::vector<std::string> outbound_ports;
  std::vector<std::string> outbound_ports_excluded;
  std::vector<std::string> interfaces_excluded;
  std::vector<std::string> virtual_interfaces;  ///< Their inbound traffic counts as outbound.
  std::vector<std::string> groups;              ///< Only traffic of these groups; empty: of all.
  std::vector<std::string> groups_excluded;
  bool redirect_dns = false;
  bool capture_all_dns = false;
  std::vector<std::string> nameservers;
  bool drop_invalid = false;
  std::string loopback_v4 = "127.0.0.1/32";
};

enum class IpFamily { kV4, kV6 };

/// Rules of one address family: for each table, its chains and rules in order.
struct RuleSet {
  struct Table {
    std::vector<std::string> chains;  ///< Those of ours.
    std::vector<std::string> rules;   ///< "-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN"
  };
  std::map<std::string, Table> tables;  ///< nat, raw, mangle.
};

RuleSet MakeRules(const CaptureOptions& options, IpFamily family);

/// Checks ports, CIDRs, interface names and IDs, so that nothing else reaches iptables.
base::Status CheckOptions(const CaptureOptions& options);

/// Input for iptables-restore --noflush that puts `rules` in force in one step, whatever of ours
/// was there before, as `saved` (the output of iptables-save) shows it. Rules of others stay.
std::string RestoreText(const RuleSet& rules, const std::string& saved);
/// The same for taking everything of ours away; "" when nothing of ours is there.
std::string CleanupText(const std::string& saved);

}  // namespace isthmus::agent
