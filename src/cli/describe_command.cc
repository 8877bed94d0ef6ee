#include <fmt/format.h>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "config/kinds.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::LabelOf;
using kubeapi::NameOf;
using kubeapi::NamespaceOf;
using kubeapi::StringAt;

constexpr char kLine[] = "--------------------\n";

Resource Istio(const char* group, const char* plural, const char* kind) {
  return {group, "v1", plural, kind, true};
}

/// "name" in `ns` as "name.ns.svc.cluster.local"; hosts with dots as they are.
std::string Full(const std::string& host, const std::string& ns) {
  if (host.find('.') == host.npos) return host + "." + ns + ".svc.cluster.local";
  return std::count(host.begin(), host.end(), '.') == 1 ? host + ".svc.cluster.local" : host;
}

/// What is known of one pod or service; collected, then printed.
class Description {
 public:
  explicit Description(Session& session) : session_(session) {}

  Status Read(const std::string& ns) {
    const struct {
      Resource resource;
      std::vector<Json>& items;
      std::string ns;
    } lists[] = {
        {kServices, services_, ns},
        {Istio("networking.istio.io", "destinationrules", "DestinationRule"), rules_, ""},
        {Istio("networking.istio.io", "virtualservices", "VirtualService"), routes_, ""},
        {Istio("security.istio.io", "peerauthentications", "PeerAuthentication"), peers_, ""},
        {Istio("security.istio.io", "authorizationpolicies", "AuthorizationPolicy"), policies_, ns},
    };
    for (const auto& list : lists) {
      auto items = session_.List(list.resource, list.ns);
      if (items.ok())
        list.items = std::move(*items);
      else if (items.status().code() != Code::kNotFound)
        return items.status();
    }
    return {};
  }

  void Pod(const Json& pod) {
    session_.Out(fmt::format("Pod: {}{}\n", NameOf(pod),
                             NamespaceOf(pod) == "default" ? "" : "." + NamespaceOf(pod)));
    std::string revision = LabelOf(pod, "istio.io/rev");
    std::vector<std::string> ports;
    bool proxy = false;
    for (const char* list : {"initContainers", "containers"})
      for (const Json& container : ItemsAt(pod, {"spec", list})) {
        proxy = proxy || StringAt(container, {"name"}) == "istio-proxy";
        for (const Json& port : ItemsAt(container, {"ports"}))
          ports.push_back(fmt::format("{} ({})", kubeapi::IntAt(port, {"containerPort"}),
                                      StringAt(container, {"name"})));
      }
    if (proxy)
      session_.Out(fmt::format("   Pod Revision: {}\n", revision.empty() ? "default" : revision));
    session_.Out(ports.empty() ? "   Pod does not expose ports\n"
                               : fmt::format("   Pod Ports: {}\n", base::Join(ports, ", ")));
    if (StringAt(pod, {"status", "phase"}) != "Running")
      session_.Out(fmt::format("   Pod is {}\n", StringAt(pod, {"status", "phase"})));
    if (!proxy) session_.Out("WARNING: the pod has no proxy; it is not part of the mesh\n");
    for (const char* label : {"app", "version"})
      if (proxy && LabelOf(pod, label).empty())
        session_.Out(
            fmt::format("Suggestion: add '{}' label to pod for Istio telemetry.\n", label));
  }

  void ServicesOf(const Json& pod) {
    bool any = false;
    for (const Json& service : services_) {
      const Json* labels = Find(service, {"spec", "selector"});
      if (labels == nullptr || labels->empty() ||
          !kubeapi::LabelSelector::FromLabels(*labels).MatchesObject(pod))
        continue;
      any = true;
      Service(service, &pod);
    }
    if (!any) session_.Out(std::string(kLine) + "No service selects the pod.\n");
  }

  void Service(const Json& service, const Json* pod) {
    session_.Out(fmt::format("{}Service: {}{}\n", kLine, NameOf(service),
                             NamespaceOf(service) == "default" ? "" : "." + NamespaceOf(service)));
    for (const Json& port : ItemsAt(service, {"spec", "ports"})) session_.Out(PortText(port));
    const std::string host = Full(NameOf(service), NamespaceOf(service));
    for (const Json& rule : rules_)
      if (Full(StringAt(rule, {"spec", "host"}), NamespaceOf(rule)) == host) Rule(rule, pod);
    for (const Json& route : routes_) Route(route, host, NamespaceOf(service));
  }

  /// The mTLS mode in force for the pod, and the policies that limit its callers.
  void Security(const Json& pod) {
    std::string mode = "PERMISSIVE", from;
    // From the mesh's over the namespace's to the workload's own.
    for (int level = 0; level < 3; ++level)
      for (const Json& peer : peers_) {
        const Json* selector = Find(peer, {"spec", "selector", "matchLabels"});
        const bool own = selector != nullptr && !selector->empty();
        const bool root = NamespaceOf(peer) == session_.globals.istio_ns;
        const bool here = NamespaceOf(peer) == NamespaceOf(pod);
        const int of = own ? 2 : here ? 1 : 0;
        if (of != level || (!root && !here) || (own && !here)) continue;
        if (own && !kubeapi::LabelSelector::FromLabels(*selector).MatchesObject(pod)) continue;
        const std::string set = StringAt(peer, {"spec", "mtls", "mode"});
        if (set.empty() || set == "UNSET") continue;
        mode = set;
        from = kubeapi::KeyOf(peer);
      }
    session_.Out(
        fmt::format("{}Effective PeerAuthentication:\n   Workload mTLS mode: {}\n", kLine, mode));
    if (!from.empty()) session_.Out(fmt::format("Applied PeerAuthentication:\n   {}\n", from));
    std::vector<std::string> names;
    for (const Json& policy : policies_) {
      const Json* selector = Find(policy, {"spec", "selector", "matchLabels"});
      if (selector == nullptr || kubeapi::LabelSelector::FromLabels(*selector).MatchesObject(pod))
        names.push_back(kubeapi::KeyOf(policy));
    }
    if (!names.empty()) session_.Out(fmt::format("RBAC policies: {}\n", base::Join(names, ", ")));
  }

  const std::vector<Json>& services() const { return services_; }

 private:
  static std::string PortText(const Json& port) {
    const std::string name = StringAt(port, {"name"});
    const std::string app = StringAt(port, {"appProtocol"});
    const std::string protocol(app.empty() ? base::Cut(name, "-").first : std::string_view(app));
    const Json* target = Find(port, {"targetPort"});
    return fmt::format("   Port: {} {}/{} targets pod port {}\n", name.empty() ? "<unnamed>" : name,
                       kubeapi::IntAt(port, {"port"}),
                       protocol.empty() ? "auto-detect" : base::ToUpper(protocol),
                       target == nullptr     ? std::to_string(kubeapi::IntAt(port, {"port"}))
                       : target->is_string() ? target->get<std::string>()
                                             : target->dump());
  }

  void Rule(const Json& rule, const Json* pod) {
    session_.Out(fmt::format("DestinationRule: {} for \"{}\"\n", kubeapi::KeyOf(rule),
                             StringAt(rule, {"spec", "host"})));
    std::vector<std::string> matching, others;
    for (const Json& subset : ItemsAt(rule, {"spec", "subsets"})) {
      const Json* labels = Find(subset, {"labels"});
      const bool matches = pod != nullptr && labels != nullptr &&
                           kubeapi::LabelSelector::FromLabels(*labels).MatchesObject(*pod);
      (matches ? matching : others).push_back(StringAt(subset, {"name"}));
    }
    if (!matching.empty())
      session_.Out(fmt::format("   Matching subsets: {}\n", base::Join(matching, ",")));
    if (!others.empty())
      session_.Out(fmt::format("   {}ubsets: {}\n", pod == nullptr ? "S" : "Non-matching s",
                               base::Join(others, ",")));
    if (const Json* policy = Find(rule, {"spec", "trafficPolicy"}); policy != nullptr) {
      std::vector<std::string> parts;
      for (const auto& [key, value] : policy->items()) parts.push_back(key);
      session_.Out(fmt::format("   Traffic Policy: {}\n", base::Join(parts, ", ")));
    } else {
      session_.Out("   No Traffic Policy\n");
    }
  }

  void Route(const Json& route, const std::string& host, const std::string& ns) {
    std::vector<std::string> lines;
    for (const char* kind : {"http", "tcp", "tls"})
      for (const Json& entry : ItemsAt(route, {"spec", kind}))
        for (const Json& to : ItemsAt(entry, {"route"})) {
          if (Full(StringAt(to, {"destination", "host"}), ns) != host) continue;
          const std::string subset = StringAt(to, {"destination", "subset"});
          lines.push_back(fmt::format("   {} route to host \"{}\"{} with weight {}%\n", kind,
                                      StringAt(to, {"destination", "host"}),
                                      subset.empty() ? "" : " subset \"" + subset + "\"",
                                      kubeapi::IntAt(to, {"weight"}, 100)));
        }
    if (lines.empty()) return;
    session_.Out(fmt::format("VirtualService: {}\n", kubeapi::KeyOf(route)));
    for (const std::string& line : lines) session_.Out(line);
  }

  Session& session_;
  std::vector<Json> services_, rules_, routes_, peers_, policies_;
};

int DescribePod(Session& session, const std::string& argument) {
  auto pod = FindPod(session, argument);
  if (!pod.ok()) return session.Fail(pod.status());
  Description description(session);
  if (const Status read = description.Read(NamespaceOf(*pod)); !read.ok())
    return session.Fail(read);
  description.Pod(*pod);
  description.ServicesOf(*pod);
  description.Security(*pod);
  return 0;
}

int DescribeService(Session& session, const std::string& argument) {
  const PodArgument name = ParsePodArgument(argument);
  std::string ns = name.ns;
  if (ns.empty()) {
    auto found = session.default_namespace();
    if (!found.ok()) return session.Fail(found.status());
    ns = *found;
  }
  auto service = session.Get(kServices, ns, name.name);
  if (!service.ok()) return session.Fail(service.status());
  Description description(session);
  if (const Status read = description.Read(ns); !read.ok()) return session.Fail(read);
  description.Service(*service, nullptr);
  return 0;
}

}  // namespace

void AddDescribeCommands(Commands& commands, CLI::App* parent) {
  CLI::App* group = AddGroup(parent, "describe", "What applies to a pod or a service", {"des"});
  const auto add = [&](const char* name, const char* alias, const char* what, const char* example,
                       int (*run)(Session&, const std::string&)) {
    auto argument = std::make_shared<std::string>();
    CLI::App* command = AddCommand(group, name, what, example, {alias});
    command->add_option("name", *argument, "NAME[.NAMESPACE]")->required();
    OnChosen(command, commands,
             [argument, run](Session& session) { return run(session, *argument); });
    return command;
  };
  add("pod", "po", "Services, rules and policies of a pod", "  % x describe pod cart-6b7c.shop\n",
      DescribePod);
  add("service", "svc", "Ports, rules and routes of a service",
      "  % x describe service cart.shop\n", DescribeService);
}

}  // namespace isthmus::cli
