#pragma once

#include <string>
#include <vector>

#include "agent/capture_rules.h"
#include "agent/settings.h"

namespace isthmus::agent {

/// What `istio-iptables` shall do.
struct CaptureCommand {
  CaptureOptions options;
  std::string mode = "REDIRECT";  ///< REDIRECT or NONE.
  bool dry_run = false;
  bool skip_apply = false;
  bool cleanup_only = false;
  bool dual_stack = false;
  std::string binary = "iptables";  ///< iptables, iptables-nft or iptables-legacy.
  std::string network_namespace;    ///< Path; empty: ours.
};

/// Reads the command line (without the program's and the command's name); `resolv_conf` is the text
/// of /etc/resolv.conf.
base::Result<CaptureCommand> ParseCaptureCommand(const std::vector<std::string>& args,
                                                 const Environment& env,
                                                 const std::string& resolv_conf);

/// Whether IPv6 rules are needed, given the machine's addresses.
bool NeedsV6(const std::vector<std::string>& interface_ips, bool dual_stack);

/// The `istio-iptables` command as a program: prints and applies the rules; the exit code.
int RunCapture(const std::vector<std::string>& args, const Environment& env);

/// The addresses after "nameserver" in the text of a resolv.conf.
std::vector<std::string> NameserversOf(const std::string& resolv_conf);

}  // namespace isthmus::agent
