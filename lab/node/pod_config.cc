// The part of Pod that works out how one of its containers is to run.
#include <algorithm>

#include "base/files.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "lab/node/downward.h"
#include "lab/node/pod.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;

std::string HostnameOf(const Json& pod) {
  std::string hostname = kubeapi::StringAt(pod, {"spec", "hostname"});
  if (hostname.empty()) hostname = kubeapi::NameOf(pod);
  return hostname.substr(0, 63);
}

void Append(std::vector<std::string> more, std::vector<std::string>& out) {
  std::move(more.begin(), more.end(), std::back_inserter(out));
}

std::string ResolvConf(const Json& pod, const PodContext& context) {
  std::string policy = kubeapi::StringAt(pod, {"spec", "dnsPolicy"});
  if (policy.empty()) policy = "ClusterFirst";
  std::vector<std::string> servers, searches, options;
  if (policy != "None") {
    servers.push_back(context.dns_address);
    if (policy != "Default") {
      const std::string& domain = context.cluster_domain;
      searches = {kubeapi::NamespaceOf(pod) + ".svc." + domain, "svc." + domain, domain};
      options = {"ndots:5"};
    }
  }
  Append(kubeapi::StringsAt(pod, {"spec", "dnsConfig", "nameservers"}), servers);
  Append(kubeapi::StringsAt(pod, {"spec", "dnsConfig", "searches"}), searches);
  const Json* extra = kubeapi::Find(pod, {"spec", "dnsConfig", "options"});
  if (extra != nullptr && extra->is_array())
    for (const Json& option : *extra) {
      const std::string value = kubeapi::StringAt(option, {"value"});
      options.push_back(kubeapi::StringAt(option, {"name"}) + (value.empty() ? "" : ":" + value));
    }
  std::string text;
  if (!searches.empty()) text += "search " + base::Join(searches, " ") + "\n";
  for (const std::string& server : servers) text += "nameserver " + server + "\n";
  if (!options.empty()) text += "options " + base::Join(options, " ") + "\n";
  return text;
}

uint32_t NumberOf(const Json& container, const Json& pod, const char* field, uint32_t fallback) {
  const int64_t of_pod = kubeapi::IntAt(pod, {"spec", "securityContext", field}, fallback);
  return static_cast<uint32_t>(kubeapi::IntAt(container, {"securityContext", field}, of_pod));
}

}  // namespace

base::Status Pod::WriteEtcFiles() {
  const std::string etc = dir() + "/etc";
  RETURN_IF_ERROR(base::MakeDirs(etc), "pod");
  const std::string hostname = HostnameOf(pod_);
  const std::string subdomain = kubeapi::StringAt(pod_, {"spec", "subdomain"});
  std::string hosts =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
      "ip6-loopback\n";
  hosts += link_.ip + "\t";
  if (!subdomain.empty())
    hosts += fmt::format("{}.{}.{}.svc.{}\t", hostname, subdomain, kubeapi::NamespaceOf(pod_),
                         context_.cluster_domain);
  hosts += hostname + "\n";
  const Json* aliases = kubeapi::Find(pod_, {"spec", "hostAliases"});
  if (aliases != nullptr && aliases->is_array())
    for (const Json& alias : *aliases)
      hosts += kubeapi::StringAt(alias, {"ip"}) + "\t" +
               base::Join(kubeapi::StringsAt(alias, {"hostnames"}), "\t") + "\n";
  RETURN_IF_ERROR(base::WriteFile(etc + "/hosts", hosts), "pod");
  RETURN_IF_ERROR(base::WriteFile(etc + "/hostname", hostname + "\n"), "pod");
  return base::WriteFile(etc + "/resolv.conf", ResolvConf(pod_, context_));
}

void Pod::SetIdentity(const Json& spec, const Image& image, ContainerConfig& config) const {
  config.uid = NumberOf(spec, pod_, "runAsUser", image.uid);
  config.gid = NumberOf(spec, pod_, "runAsGroup", config.uid == image.uid ? image.gid : 0);
  config.groups = {config.gid};
  const Json* groups = kubeapi::Find(pod_, {"spec", "securityContext", "supplementalGroups"});
  if (groups != nullptr && groups->is_array())
    for (const Json& group : *groups)
      if (group.is_number_integer()) config.groups.push_back(group.get<uint32_t>());
  const int64_t fs_group = kubeapi::IntAt(pod_, {"spec", "securityContext", "fsGroup"}, -1);
  if (fs_group >= 0) config.groups.push_back(static_cast<uint32_t>(fs_group));
  config.privileged = kubeapi::BoolAt(spec, {"securityContext", "privileged"});
  config.no_new_privileges =
      !kubeapi::BoolAt(spec, {"securityContext", "allowPrivilegeEscalation"}, true);
  config.read_only_root = kubeapi::BoolAt(spec, {"securityContext", "readOnlyRootFilesystem"});
  Append(kubeapi::StringsAt(spec, {"securityContext", "capabilities", "add"}),
         config.add_capabilities);
  Append(kubeapi::StringsAt(spec, {"securityContext", "capabilities", "drop"}),
         config.drop_capabilities);
}

base::Result<ContainerConfig> Pod::MakeConfig(const PodContainer& container, const Image& image) {
  const Json& spec = container.spec();
  ContainerConfig config;
  config.hostname = host_network_ ? context_.node.name : HostnameOf(pod_);
  config.network_namespace = link_.network_namespace;
  ASSIGN_OR_RETURN(config.env,
                   BuildEnv(pod_, spec, image.env, link_.ip, context_.node, context_.source),
                   "container " + container.name());
  SetIdentity(spec, image, config);
  const bool must_not_be_root =
      kubeapi::BoolAt(spec, {"securityContext", "runAsNonRoot"},
                      kubeapi::BoolAt(pod_, {"spec", "securityContext", "runAsNonRoot"}));
  if (must_not_be_root && config.uid == 0)
    return base::Error(base::Code::kInvalidArgument,
                       "container has runAsNonRoot and image will run as root (container {})",
                       container.name());
  config.args = kubeapi::StringsAt(spec, {"command"});
  std::vector<std::string> rest = kubeapi::StringsAt(spec, {"args"});
  if (config.args.empty()) {
    config.args = image.entrypoint;
    if (rest.empty()) rest = image.command;
  }
  config.args.insert(config.args.end(), rest.begin(), rest.end());
  for (std::string& arg : config.args) arg = ExpandVariables(arg, config.env);
  if (config.args.empty())
    return base::Error(base::Code::kInvalidArgument, "no command specified (container {})",
                       container.name());
  config.working_dir = kubeapi::StringAt(spec, {"workingDir"});
  if (config.working_dir.empty()) config.working_dir = image.working_dir;
  config.tty = kubeapi::BoolAt(spec, {"tty"});
  config.stdin_open = kubeapi::BoolAt(spec, {"stdin"});
  config.stdin_once = kubeapi::BoolAt(spec, {"stdinOnce"});
  config.folders = image.folders;
  config.hidden = context_.hidden;
  for (const Mount& program : image.programs) {
    ASSIGN_OR_RETURN(const std::string path, context_.find_program(program.source),
                     "image " + image.pattern);
    config.programs.push_back({path, program.target, true});
  }
  const std::string etc = dir() + "/etc";
  config.mounts = {{etc + "/hosts", "/etc/hosts", false},
                   {etc + "/hostname", "/etc/hostname", false},
                   {etc + "/resolv.conf", "/etc/resolv.conf", false}};
  ASSIGN_OR_RETURN(const std::vector<Mount> mounts, volumes_.MountsOf(pod_, spec, config.env),
                   "container " + container.name());
  config.mounts.insert(config.mounts.end(), mounts.begin(), mounts.end());
  return config;
}

}  // namespace isthmus::lab::node
