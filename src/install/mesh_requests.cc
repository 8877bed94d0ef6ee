#include "install/mesh_requests.h"

#include <fmt/ranges.h>

#include "http/client.h"
#include "kubeapi/meta.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using kubeapi::StringAt;

constexpr base::Duration kRequestTimeout = std::chrono::seconds(10);

std::string PathOf(const std::string& url) {
  size_t scheme = url.find("://");
  size_t slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return slash == std::string::npos ? "/" : url.substr(slash);
}

/// The first running pod with label app=`app`.
base::Result<std::string> FindPod(ClusterAccess& access, const std::string& ns,
                                  const std::string& app) {
  ASSIGN_OR_RETURN(std::vector<Json> pods, access.List(Pods(), ns, "app=" + app), "");
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

/// Requests through the loopback port that leads to the cluster's ingress gateway.
base::Result<std::string> AskFromOutside(ClusterAccess& access, const TopologyCluster& cluster,
                                         const TopologyRequest& request) {
  if (cluster.lab.ingress_port == 0)
    return Error(Code::kFailedPrecondition,
                 "cluster {} has no lab.ingressPort, so nothing leads to {} from here",
                 cluster.name, request.from_gateway);
  http::ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", cluster.lab.ingress_port);
  http::Client client(access.loop(), options);
  std::string lines;
  for (int i = 0; i < request.count; ++i) {
    http::Request message;
    message.target = PathOf(request.url);
    message.authority = fmt::format("127.0.0.1:{}", cluster.lab.ingress_port);
    auto answer = kubeclient::Await<http::Response>(
        access.loop(), kRequestTimeout + std::chrono::seconds(1),
        [&](auto done) { client.Fetch(message, kRequestTimeout, done); });
    std::string body = answer.ok() ? answer->body : answer.status().message();
    for (char& c : body)
      if (c == '\n') c = ' ';
    lines += fmt::format("{} {}\n", answer.ok() ? answer->status : 0, body);
  }
  return lines;
}

/// How many requests for `path` the access logs of a cluster's workloads have seen.
base::Result<int> CountInLogs(ClusterAccess& access, const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<Json> pods, access.List(Pods(), ""), "");
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

base::Result<VerifyLine> MakeRequests(MeshSession& session, const TopologyRequest& request,
                                      const PodCommand& run) {
  const TopologyCluster& cluster = *session.topology().Find(request.from_cluster);
  ClusterAccess& access = session.access(cluster.name);
  VerifyLine line{cluster.name, fmt::format("{} requests to {}", request.count, request.url), true,
                  ""};
  ASSIGN_OR_RETURN(auto before, CountAll(session, request), "");
  auto output = request.from_app.empty() ? AskFromOutside(access, cluster, request)
                                         : AskFromPod(access, request, run);
  if (!output.ok()) {
    line.ok = false;
    line.detail = output.status().message();
    return line;
  }
  Answers answers = CountAnswers(*output, request.answers);
  std::vector<std::string> wrong = JudgeAnswers(answers, request);
  std::vector<std::string> figures;
  for (const auto& [text, count] : answers.by_text)
    figures.push_back(fmt::format("\"{}\" {}", text, count));
  // Envoy writes its access log every second or so; what has not come by then did not happen.
  std::map<std::string, int> seen;
  auto all_seen = access.Until(std::chrono::seconds(5), [&]() -> base::Result<bool> {
    ASSIGN_OR_RETURN(auto after, CountAll(session, request), "");
    bool all = true;
    for (const auto& [name, count] : after) {
      seen[name] = count - before[name];
      all &= seen[name] > 0;
    }
    return all;
  });
  if (!all_seen.ok() && all_seen.code() != Code::kDeadlineExceeded) return all_seen;
  for (const auto& [name, count] : seen) {
    if (count == 0) wrong.push_back("no pod of " + name + " answered");
    figures.push_back(fmt::format("{} answered {}", name, count));
  }
  line.ok = wrong.empty();
  line.detail = line.ok ? fmt::format("{}", fmt::join(figures, ", "))
                        : fmt::format("{}", fmt::join(wrong, "\n"));
  return line;
}

}  // namespace isthmus::install
