#include "install/mesh_requests.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "http/client.h"
#include "kubeapi/meta.h"
#include "kubeclient/pod_forward.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using kubeapi::StringAt;

constexpr base::Duration kRequestTimeout = std::chrono::seconds(10);
constexpr int kRequestsAtOnce = 8;
/// When a cluster has not answered: more connections, of which each stays with one pod.
constexpr int kMoreAtOnce = 32;

std::string PathOf(const std::string& url) {
  size_t scheme = url.find("://");
  size_t slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return slash == std::string::npos ? "/" : url.substr(slash);
}

/// The host that a request asks for; "*" stands for whatever leads there.
std::string HostOf(const std::string& url) {
  size_t scheme = url.find("://");
  std::string rest = scheme == std::string::npos ? url : url.substr(scheme + 3);
  std::string host = rest.substr(0, rest.find('/'));
  return host == "*" ? "" : host;
}

/// The first running pod with label app=`app`.
base::Result<std::string> FindPod(ClusterAccess& access, const std::string& ns,
                                  const std::string& app) {
  ASSIGN_OR_RETURN(std::vector<Json> pods, access.List(kPods, ns, "app=" + app), "");
  for (const Json& pod : pods)
    if (StringAt(pod, {"status", "phase"}) == "Running" && !kubeapi::IsBeingDeleted(pod))
      return kubeapi::NameOf(pod);
  return Error(Code::kNotFound, "no running pod with label app={} in namespace {}", app, ns);
}

/// curl prints one line a request, so that a failure in the middle is seen as such.
base::Result<std::string> AskFromPod(ClusterAccess& access, const TopologyRequest& request,
                                     const PodCommand& run) {
  ASSIGN_OR_RETURN(std::string pod, FindPod(access, request.from_ns, request.from_app), "");
  std::string script = fmt::format(
      "i=0; while [ $i -lt {} ]; do i=$((i+1)); body=$(curl -sS -m 10 -w ' %{{http_code}}' \"$0\" "
      "2>&1 | tr '\\n' ' '); "
      "echo \"${{body##* }} $body\"; done",
      request.count);
  return run(access, request.from_ns, pod, request.from_app, {"sh", "-c", script, request.url});
}

std::string OutsideLine(const base::Result<http::Response>& answer) {
  std::string body = answer.ok() ? answer->body : answer.status().message();
  for (char& c : body)
    if (c == '\n') c = ' ';
  return fmt::format("{} {}\n", answer.ok() ? answer->status : 0, body);
}

/// The port of a gateway's pods that its Service's port for plain HTTP leads to.
base::Result<uint16_t> HttpPortOf(ClusterAccess& access, const std::string& gateway) {
  ASSIGN_OR_RETURN(Json service, access.Get(kServices, "istio-system", gateway), "");
  for (const Json& port : kubeapi::ItemsAt(service, {"spec", "ports"}))
    if (kubeapi::IntAt(port, {"port"}) == 80)
      return static_cast<uint16_t>(kubeapi::IntAt(port, {"targetPort"}, 80));
  return Error(Code::kFailedPrecondition, "Service istio-system/{} has no port 80", gateway);
}

/// A port of this machine that leads to a gateway through the API server, where no other is known.
base::Result<std::unique_ptr<kubeclient::PodForward>> ForwardTo(ClusterAccess& access,
                                                                const std::string& gateway) {
  ASSIGN_OR_RETURN(uint16_t port, HttpPortOf(access, gateway), "");
  ASSIGN_OR_RETURN(std::string pod, FindPod(access, "istio-system", gateway), "");
  return kubeclient::PodForward::Listen(access.loop(), access.client(), {"istio-system", pod, port},
                                        "127.0.0.1", 0,
                                        [](const std::string&) {});  // The request fails, too.
}

/// Requests through the cluster's ingress gateway: by the loopback port of a lab that leads to it,
/// or a port that is forwarded to it. Several at a time as a browser makes them: a connection
/// through a gateway stays with one pod, and requests one after the other would share it.
base::Result<std::string> AskFromOutside(ClusterAccess& access, const TopologyCluster& cluster,
                                         const TopologyRequest& request, int at_once) {
  std::unique_ptr<kubeclient::PodForward> forward;
  int port = cluster.lab.ingress_port;
  if (port == 0) {
    ASSIGN_OR_RETURN(forward, ForwardTo(access, request.from_gateway), "");
    port = forward->port();
  }
  std::string lines;
  int open = 0;
  http::ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", port);
  http::Client client(access.loop(), options);  // Goes first: its callbacks use the lines.
  for (int sent = 0; sent < request.count;) {
    for (; sent < request.count && open < at_once; ++sent, ++open) {
      http::Request message;
      message.target = PathOf(request.url);
      message.authority = HostOf(request.url);
      if (message.authority.empty()) message.authority = fmt::format("127.0.0.1:{}", port);
      client.Fetch(message, kRequestTimeout, [&](const base::Result<http::Response>& answer) {
        lines += OutsideLine(answer);
        --open;
      });
    }
    if (!access.loop().RunUntil([&] { return open == 0; }, 2 * kRequestTimeout))
      return Error(Code::kDeadlineExceeded, "requests to {} neither end nor fail", request.url);
  }
  return lines;
}

/// How many requests for `path` the access logs of a cluster's workloads have seen.
base::Result<int> CountInLogs(ClusterAccess& access, const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<Json> pods, access.List(kPods, ""), "");
  int count = 0;
  for (const Json& pod : pods) {
    // Gateways see what passes through them; the workload is who answered.
    if (kubeapi::NamespaceOf(pod) == "istio-system" ||
        kubeapi::LabelOf(pod, "security.istio.io/tlsMode").empty())
      continue;
    http::Request request;
    request.target = fmt::format("/api/v1/namespaces/{}/pods/{}/log?container=istio-proxy",
                                 kubeapi::NamespaceOf(pod), kubeapi::NameOf(pod));
    auto log = kubeclient::Await<http::Response>(access.loop(), kRequestTimeout, [&](auto done) {
      access.client().Raw(request, kRequestTimeout, done);
    });
    if (!log.ok()) continue;
    const std::string wanted = "\"GET " + path + " ";
    size_t line_start = 0;
    while (line_start < log->body.size()) {
      size_t end = log->body.find('\n', line_start);
      if (end == std::string::npos) end = log->body.size();
      std::string_view line = std::string_view(log->body).substr(line_start, end - line_start);
      if (line.find(wanted) != std::string_view::npos &&
          line.find("inbound|") != std::string_view::npos)
        ++count;
      line_start = end + 1;
    }
  }
  return count;
}

base::Result<std::map<std::string, int>> CountAll(MeshSession& session,
                                                  const TopologyRequest& request) {
  std::map<std::string, int> counts;
  for (const std::string& cluster : request.clusters) {
    ASSIGN_OR_RETURN(counts[cluster], CountInLogs(session.access(cluster), PathOf(request.url)),
                     "logs of " + cluster);
  }
  return counts;
}

}  // namespace

Answers CountAnswers(std::string_view lines, const std::vector<std::string>& wanted) {
  Answers answers;
  for (const std::string& text : wanted) answers.by_text[text];
  while (!lines.empty()) {
    size_t end = lines.find('\n');
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    if (line.empty()) continue;
    ++answers.total;
    if (!line.starts_with("200 ")) {
      if (answers.failed++ == 0) answers.first_failure = std::string(line.substr(0, 200));
      continue;
    }
    for (const std::string& text : wanted)
      if (line.find(text) != std::string_view::npos) ++answers.by_text[text];
  }
  return answers;
}

std::vector<std::string> JudgeAnswers(const Answers& answers, const TopologyRequest& request) {
  std::vector<std::string> wrong;
  if (answers.total != request.count)
    wrong.push_back(fmt::format("{} answers came to {} requests", answers.total, request.count));
  if (answers.failed > 0)
    wrong.push_back(
        fmt::format("{} failed, the first with: {}", answers.failed, answers.first_failure));
  for (const auto& [text, count] : answers.by_text) {
    int share = answers.total == 0 ? 0 : count * 100 / answers.total;
    if (count == 0) {
      wrong.push_back(fmt::format("\"{}\" never answered", text));
    } else if (share < request.share_min || share > request.share_max) {
      wrong.push_back(fmt::format("\"{}\" answered {} per cent, not {} to {}", text, share,
                                  request.share_min, request.share_max));
    }
  }
  return wrong;
}

std::map<std::string, std::map<std::string, uint64_t>> ReadRequestCounts(const std::string& json) {
  std::map<std::string, std::map<std::string, uint64_t>> counts;
  auto document = kubeapi::ParseJson(json);
  if (!document.ok()) return counts;
  for (const Json& cluster : kubeapi::ItemsAt(*document, {"cluster_statuses"})) {
    // "outbound|5000|v1|host" is a subset of "outbound|5000||host".
    std::string name = StringAt(cluster, {"name"});
    const size_t port = name.find('|');
    const size_t subset = name.find('|', port + 1);
    const size_t host = name.rfind('|');
    if (!name.starts_with("outbound|") || subset == name.npos) continue;
    name = name.substr(0, subset) + "|" + name.substr(host);
    for (const Json& endpoint : kubeapi::ItemsAt(cluster, {"host_statuses"})) {
      std::map<std::string, uint64_t> stats;
      for (const Json& stat : kubeapi::ItemsAt(endpoint, {"stats"}))
        stats[StringAt(stat, {"name"})] =
            std::strtoull(StringAt(stat, {"value"}).c_str(), nullptr, 10);
      const uint64_t count = stats["rq_total"] != 0 ? stats["rq_total"] : stats["cx_total"];
      counts[name][fmt::format(
          "{}:{}", StringAt(endpoint, {"address", "socket_address", "address"}),
          kubeapi::IntAt(endpoint, {"address", "socket_address", "port_value"}))] += count;
    }
  }
  return counts;
}

std::string ServiceHostOf(const std::string& url, const std::string& ns) {
  const size_t scheme = url.find("://");
  std::string host = url.substr(scheme == std::string::npos ? 0 : scheme + 3);
  host = host.substr(0, host.find_first_of(":/"));
  if (host.empty() || host == "*" || host.find_first_not_of("0123456789.") == std::string::npos)
    return "";
  const std::string suffix = ".svc.cluster.local";
  if (host.ends_with(suffix)) return host;
  if (host.ends_with(".svc")) return host + ".cluster.local";
  const auto dots = std::count(host.begin(), host.end(), '.');
  if (dots == 0) return ns.empty() ? "" : host + "." + ns + suffix;
  return dots == 1 ? host + suffix : "";
}

namespace {

/// One entry of the topology's requests, made and judged.
class Requests {
 public:
  Requests(MeshSession& session, const TopologyRequest& request, const MeshState& state,
           const PodCommand& run)
      : session_(session),
        request_(request),
        state_(state),
        run_(run),
        cluster_(*session.topology().Find(request.from_cluster)),
        access_(session.access(cluster_.name)) {
    outcome_.line = {cluster_.name, fmt::format("{} requests to {}", request.count, request.url),
                     true, ""};
    outcome_.row = {
        cluster_.name,
        request.from_app.empty() ? request.from_gateway : request.from_ns + "/" + request.from_app,
        request.url,
        0,
        0,
        {}};
    outcome_.failure.from_cluster = cluster_.name;
    outcome_.failure.host = ServiceHostOf(request.url, request.from_ns);
  }

  base::Result<RequestOutcome> Make() {
    ASSIGN_OR_RETURN(auto logged, CountAll(session_, request_), "");
    const auto sent = AskClient();
    std::vector<std::string> wrong;
    RETURN_IF_ERROR(AskOnce(logged, kRequestsAtOnce, wrong), "");
    if (!outcome_.failure.silent.empty() && wrong.size() == outcome_.failure.silent.size() &&
        request_.from_app.empty())
      RETURN_IF_ERROR(AskOnce(logged, kMoreAtOnce, wrong), "");
    FillRow(sent, AskClient());
    outcome_.line.ok = wrong.empty();
    outcome_.line.detail =
        fmt::format("{}", wrong.empty() ? fmt::join(figures_, ", ") : fmt::join(wrong, "\n"));
    return std::move(outcome_);
  }

 private:
  using Counts = std::map<std::string, std::map<std::string, uint64_t>>;

  /// One run of requests: what is wrong with it replaces what was wrong with the one before. Which
  /// clusters answered is counted since the first.
  base::Status AskOnce(std::map<std::string, int>& logged, int at_once,
                       std::vector<std::string>& wrong) {
    outcome_.failure.silent.clear();
    figures_.clear();
    outcome_.row.requests += request_.count;
    auto output = request_.from_app.empty() ? AskFromOutside(access_, cluster_, request_, at_once)
                                            : AskFromPod(access_, request_, run_);
    if (!output.ok()) {
      outcome_.failure.answer = output.status().message();
      wrong = {outcome_.failure.answer};
      return {};
    }
    const Answers answers = CountAnswers(*output, request_.answers);
    wrong = JudgeAnswers(answers, request_);
    outcome_.row.failed += answers.failed;
    outcome_.failure.answer = answers.first_failure;
    for (const auto& [text, count] : answers.by_text)
      figures_.push_back(fmt::format("\"{}\" {}", text, count));
    return ReadLogs(logged, wrong);
  }

  /// Envoy writes its access log every second or so; what has not come by then did not happen.
  base::Status ReadLogs(std::map<std::string, int>& before, std::vector<std::string>& wrong) {
    std::map<std::string, int> seen;
    auto all_seen = access_.Until(std::chrono::seconds(15), [&]() -> base::Result<bool> {
      ASSIGN_OR_RETURN(auto after, CountAll(session_, request_), "");
      bool all = true;
      for (const auto& [name, count] : after) {
        seen[name] = count - before[name];
        all &= seen[name] > 0;
      }
      return all;
    });
    if (!all_seen.ok() && all_seen.code() != Code::kDeadlineExceeded) return all_seen;
    for (const auto& [name, count] : seen) {
      if (count == 0) {
        wrong.push_back("no pod of " + name + " answered");
        outcome_.failure.silent.push_back(name);
      } else {
        figures_.push_back(name + " answered");  // How often, the logs do not all say yet.
      }
    }
    return {};
  }

  /// What the client's own Envoy has sent so far; nothing when it cannot be asked.
  Counts AskClient() {
    const std::string ns = request_.from_app.empty() ? "istio-system" : request_.from_ns;
    const std::string app = request_.from_app.empty() ? request_.from_gateway : request_.from_app;
    auto pod = FindPod(access_, ns, app);
    if (!pod.ok()) return {};
    auto answer = run_(access_, ns, *pod, "istio-proxy",
                       {"pilot-agent", "request", "GET", "clusters?format=json"});
    return answer.ok() ? ReadRequestCounts(*answer) : Counts();
  }

  void FillRow(const Counts& before, const Counts& after) {
    const auto views = ExpectedViews(session_.topology(), state_.facts, cluster_.name);
    for (const auto& [name, addresses] : after) {
      const std::string host = name.substr(name.rfind('|') + 1);
      if (!outcome_.failure.host.empty() && host != outcome_.failure.host) continue;
      const auto view = views.find(name);
      for (const auto& [address, count] : addresses) {
        uint64_t earlier = 0;
        if (const auto then = before.find(name); then != before.end())
          if (const auto at = then->second.find(address); at != then->second.end())
            earlier = at->second;
        if (count <= earlier) continue;
        std::vector<std::string> owners;
        if (view != views.end())
          for (const ExpectedEndpoint& endpoint : view->second)
            if (endpoint.address == address) owners.push_back(endpoint.cluster);
        const std::string owner =
            owners.empty() ? address : fmt::format("{}", fmt::join(owners, "+"));
        outcome_.row.answered_by[owner] += static_cast<int>(count - earlier);
      }
    }
    if (outcome_.failure.host.empty() || after.empty()) return;
    for (const auto& [name, facts] : state_.facts) {
      const auto service = facts.ready.lower_bound(outcome_.failure.host + "|");
      const bool has =
          service != facts.ready.end() && service->first.starts_with(outcome_.failure.host + "|");
      const auto& by = outcome_.row.answered_by;
      const bool answered = std::any_of(by.begin(), by.end(), [&](const auto& one) {
        return ("+" + one.first + "+").find("+" + name + "+") != std::string::npos;
      });
      if (has && !answered) outcome_.failure.silent.push_back(name);
    }
  }

  MeshSession& session_;
  const TopologyRequest& request_;
  const MeshState& state_;
  const PodCommand& run_;
  const TopologyCluster& cluster_;
  ClusterAccess& access_;
  RequestOutcome outcome_;
  std::vector<std::string> figures_;
};

}  // namespace

base::Result<RequestOutcome> MakeRequests(MeshSession& session, const TopologyRequest& request,
                                          const MeshState& state, const PodCommand& run) {
  return Requests(session, request, state, run).Make();
}

}  // namespace isthmus::install
