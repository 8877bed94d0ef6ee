#include "agent/capture_command.h"

#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <optional>

#include "agent/flags.h"
#include "base/files.h"
#include "base/loop.h"
#include "base/net.h"
#include "base/process.h"
#include "base/strings.h"

namespace isthmus::agent {
namespace {

using base::Code;
using Strings = std::vector<std::string>;

/// "*" sets `all`; else the list.
void SetList(const std::string& text, bool& all, Strings& list) {
  all = base::Trim(text) == "*";
  if (!all) list = base::SplitList(text);
}

std::string DefaultUid(const Environment& env) {
  const passwd* user = getpwnam(env.Get("ENVOY_USER", "istio-proxy").c_str());
  return user == nullptr ? "1337" : fmt::to_string(user->pw_uid);
}

Flags CaptureFlags() {
  Flags flags;
  flags.Add("envoy-port", 'p', "15001");
  flags.Add("inbound-capture-port", 'z', "15006", "INBOUND_CAPTURE_PORT");
  flags.Add("inbound-tunnel-port", 'e', "15008", "INBOUND_TUNNEL_PORT");
  flags.Add("proxy-uid", 'u', "", "PROXY_UID");
  flags.Add("proxy-gid", 'g', "", "PROXY_GID");
  flags.Add("istio-inbound-interception-mode", 'm', "", "ISTIO_INBOUND_INTERCEPTION_MODE");
  flags.Add("istio-inbound-ports", 'b', "", "ISTIO_INBOUND_PORTS");
  flags.Add("istio-local-exclude-ports", 'd', "", "ISTIO_LOCAL_EXCLUDE_PORTS");
  flags.Add("istio-service-cidr", 'i', "", "ISTIO_SERVICE_CIDR");
  flags.Add("istio-service-exclude-cidr", 'x', "", "ISTIO_SERVICE_EXCLUDE_CIDR");
  flags.Add("istio-outbound-ports", 'q', "", "ISTIO_OUTBOUND_PORTS");
  flags.Add("istio-local-outbound-ports-exclude", 'o', "", "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE");
  flags.Add("istio-exclude-interfaces", 'c', "", "ISTIO_EXCLUDE_INTERFACES");
  flags.Add("kube-virt-interfaces", 'k', "", "KUBE_VIRT_INTERFACES");
  flags.Add("force-iptables-binary", 0, "");
  flags.Add("network-namespace", 0, "");
  flags.Add("istio-inbound-tproxy-mark", 't', "1337");
  flags.Add("istio-inbound-tproxy-route-table", 'r', "133");
  flags.Add("iptables-probe-port", 0, "15002");
  flags.Add("probe-timeout", 0, "5s");
  flags.Add("log_output_level", 0, "");
  flags.Add("log_target", 0, "");
  for (const char* name :
       {"run-validation", "skip-rule-apply", "cleanup-only", "reconcile", "force-apply",
        "native-nftables", "cni-mode", "log_as_json", "iptables-trace-logging"})
    flags.AddSwitch(name, 0);
  flags.AddSwitch("redirect-dns", 0, "REDIRECT_DNS");
  flags.AddSwitch("capture-all-dns", 0, "CAPTURE_ALL_DNS");
  flags.AddSwitch("dry-run", 'n');
  flags.AddSwitch("dual-stack", 0, "ISTIO_DUAL_STACK");
  flags.AddSwitch("drop-invalid", 0, "INVALID_DROP");
  return flags;
}

CaptureOptions OptionsOf(const Flags& flags, const Environment& env,
                         const std::string& resolv_conf) {
  CaptureOptions o;
  o.envoy_port = flags.Get("envoy-port");
  o.inbound_port = flags.Get("inbound-capture-port");
  o.tunnel_port = flags.Get("inbound-tunnel-port");
  o.proxy_uids = base::SplitList(flags.Get("proxy-uid"));
  if (o.proxy_uids.empty()) o.proxy_uids = {DefaultUid(env)};
  o.proxy_gids = base::SplitList(flags.Get("proxy-gid"));
  if (o.proxy_gids.empty()) o.proxy_gids = o.proxy_uids;
  SetList(flags.Get("istio-inbound-ports"), o.all_inbound, o.inbound_ports);
  o.inbound_ports_excluded = base::SplitList(flags.Get("istio-local-exclude-ports"));
  SetList(flags.Get("istio-service-cidr"), o.all_outbound, o.outbound_cidrs);
  o.outbound_cidrs_excluded = base::SplitList(flags.Get("istio-service-exclude-cidr"));
  o.outbound_ports = base::SplitList(flags.Get("istio-outbound-ports"));
  o.outbound_ports_excluded = base::SplitList(flags.Get("istio-local-outbound-ports-exclude"));
  o.interfaces_excluded = base::SplitList(flags.Get("istio-exclude-interfaces"));
  o.virtual_interfaces = base::SplitList(flags.Get("kube-virt-interfaces"));
  o.redirect_dns = flags.Is("redirect-dns") || env.GetBool("ISTIO_META_DNS_CAPTURE", false);
  o.capture_all_dns = flags.Is("capture-all-dns");
  o.nameservers = NameserversOf(resolv_conf);
  o.drop_invalid = flags.Is("drop-invalid");
  o.loopback_v4 = env.Get("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", o.loopback_v4);
  bool all_groups = false;
  SetList(env.Get("ISTIO_OUTBOUND_OWNER_GROUPS", "*"), all_groups, o.groups);
  o.groups_excluded = base::SplitList(env.Get("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"));
  return o;
}

base::Result<base::Output> Run(base::Loop& loop, Strings argv, const std::string& input) {
  std::optional<base::Result<base::Output>> result;
  base::ProcessOptions options;
  base::Output output;
  options.argv = std::move(argv);
  options.in = base::ChildStream::Pipe();
  options.out = base::ChildStream::Pipe([&](std::string_view bytes) { output.out += bytes; });
  options.err = base::ChildStream::Pipe([&](std::string_view bytes) { output.err += bytes; });
  const std::string program = options.argv.front();
  base::Result<std::unique_ptr<base::Process>> process =
      base::Process::Start(loop, std::move(options), [&](base::ExitStatus exit) {
        output.exit = exit;
        result = output;
      });
  if (!process.ok()) return process.status().In("starting " + program);
  if (!input.empty()) (*process)->Write(base::Slice::Copy(input));
  (*process)->CloseInput();
  if (!loop.RunUntil([&] { return result.has_value(); }, std::chrono::seconds(30)))
    return base::Error(Code::kDeadlineExceeded, "{} does not end", program);
  return std::move(*result);
}

/// "iptables" or "ip6tables", with the suffix of the chosen binary, and "-save" or "-restore".
std::string Program(const std::string& binary, bool v6, std::string_view action) {
  std::string name = binary;
  if (v6) name.replace(0, 8, "ip6tables");
  return name + std::string(action);
}

base::Status Apply(base::Loop& loop, const CaptureCommand& command, bool v6) {
  const std::string save = Program(command.binary, v6, "-save");
  const std::string restore = Program(command.binary, v6, "-restore");
  ASSIGN_OR_RETURN(const base::Output saved, Run(loop, {save}, ""), "reading the rules in force");
  if (!saved.exit.ok())
    return base::Error(Code::kInternal, "{}: {}: {}", save, saved.exit.text(),
                       base::Trim(saved.err));
  const bool wanted = !command.cleanup_only && command.mode != "NONE";
  const RuleSet rules =
      wanted ? MakeRules(command.options, v6 ? IpFamily::kV6 : IpFamily::kV4) : RuleSet();
  const std::string text = RestoreText(rules, saved.out);
  std::printf("%s --noflush\n%s", restore.c_str(), text.c_str());
  if (command.dry_run || command.skip_apply || text.empty()) return {};
  ASSIGN_OR_RETURN(const base::Output done, Run(loop, {restore, "--noflush"}, text),
                   "applying the rules");
  if (!done.exit.ok())
    return base::Error(Code::kInternal, "{}: {}: {}", restore, done.exit.text(),
                       base::Trim(done.err));
  return {};
}

base::Status EnterNamespace(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return base::Error(Code::kNotFound, "network namespace {}: {}", path, strerror(errno));
  const int result = setns(fd, CLONE_NEWNET);
  const int error = errno;
  close(fd);
  if (result != 0)
    return base::Error(Code::kPermissionDenied, "network namespace {}: {}", path, strerror(error));
  return {};
}

/// Envoy's passthrough connections to the application come from ::6, which must be an address of
/// ours.
base::Status AddPassthroughAddress(base::Loop& loop) {
  ASSIGN_OR_RETURN(const base::Output shown,
                   Run(loop, {"ip", "-6", "addr", "show", "dev", "lo"}, ""), "lo");
  if (shown.out.find("inet6 ::6/128") != std::string::npos) return {};
  ASSIGN_OR_RETURN(const base::Output added,
                   Run(loop, {"ip", "-6", "addr", "add", "::6/128", "dev", "lo"}, ""), "lo");
  if (!added.exit.ok())
    return base::Error(Code::kInternal, "adding ::6 to lo: {}", base::Trim(added.err));
  return {};
}

base::Status RunCommand(const CaptureCommand& command) {
  if (!command.network_namespace.empty())
    RETURN_IF_ERROR(EnterNamespace(command.network_namespace), "capture");
  base::Loop loop;
  RETURN_IF_ERROR(Apply(loop, command, false), "capturing IPv4");
  if (!NeedsV6(InterfaceIps(), command.dual_stack)) return {};
  if (!command.dry_run && !command.skip_apply && !command.cleanup_only)
    RETURN_IF_ERROR(AddPassthroughAddress(loop), "capturing IPv6");
  return Apply(loop, command, true).In("capturing IPv6");
}

}  // namespace

std::vector<std::string> NameserversOf(const std::string& resolv_conf) {
  Strings servers;
  for (const std::string_view line : base::Split(resolv_conf, '\n')) {
    const Strings words = base::SplitList(base::ReplaceAll(line, "\t", " "), ' ');
    if (words.size() >= 2 && words[0] == "nameserver") {
      // An interface may follow a link-local address.
      const std::string ip(base::Cut(words[1], "%").first);
      if (base::IsIpAddress(ip)) servers.push_back(ip);
    }
  }
  return servers;
}

base::Result<CaptureCommand> ParseCaptureCommand(const Strings& args, const Environment& env,
                                                 const std::string& resolv_conf) {
  Flags flags = CaptureFlags();
  ASSIGN_OR_RETURN(const Strings rest, flags.Parse(args, env.all(), Flags::Unknown::kRefuse),
                   "istio-iptables");
  if (!rest.empty())
    return base::Error(Code::kInvalidArgument, "istio-iptables: unexpected argument \"{}\"",
                       rest.front());
  CaptureCommand command;
  command.options = OptionsOf(flags, env, resolv_conf);
  RETURN_IF_ERROR(CheckOptions(command.options), "istio-iptables");
  if (const std::string& mode = flags.Get("istio-inbound-interception-mode"); !mode.empty())
    command.mode = mode;
  if (command.mode != "REDIRECT" && command.mode != "NONE")
    return base::Error(
        Code::kInvalidArgument,
        "istio-iptables: interception mode {} is not supported; use REDIRECT or NONE",
        command.mode);
  if (flags.Is("run-validation"))
    return base::Error(Code::kUnimplemented, "istio-iptables: --run-validation is not supported");
  command.dry_run = flags.Is("dry-run");
  command.skip_apply = flags.Is("skip-rule-apply");
  command.cleanup_only = flags.Is("cleanup-only");
  command.dual_stack = flags.Is("dual-stack");
  command.network_namespace = flags.Get("network-namespace");
  const std::string& binary = flags.Get("force-iptables-binary");
  if (binary != "" && binary != "nft" && binary != "legacy")
    return base::Error(Code::kInvalidArgument,
                       "istio-iptables: --force-iptables-binary {}: use legacy or nft", binary);
  if (!binary.empty()) command.binary = "iptables-" + binary;
  if (command.options.redirect_dns && !command.options.capture_all_dns &&
      command.options.nameservers.empty()) {
    std::fprintf(stderr, "warning: no nameserver in /etc/resolv.conf: DNS is not captured\n");
    command.options.redirect_dns = false;
  }
  return command;
}

bool NeedsV6(const Strings& interface_ips, bool dual_stack) {
  for (const std::string& ip : interface_ips) {
    const bool v6 = ip.find(':') != ip.npos;
    if (v6) return true;
    if (!dual_stack) return false;
  }
  return false;
}

int RunCapture(const Strings& args, const Environment& env) {
  base::Result<std::string> resolv_conf = base::ReadFile("/etc/resolv.conf");
  const base::Result<CaptureCommand> command =
      ParseCaptureCommand(args, env, resolv_conf.ok() ? *resolv_conf : std::string());
  const base::Status status = command.ok() ? RunCommand(*command) : command.status();
  if (status.ok()) return 0;
  std::fprintf(stderr, "Error: %s\n", status.message().c_str());
  return 1;
}

}  // namespace isthmus::agent
