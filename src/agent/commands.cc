#include "agent/commands.h"

#include <csignal>
#include <cstdio>
#include <optional>
#include <set>

#include "agent/agent.h"
#include "agent/flags.h"
#include "base/files.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/strings.h"
#include "http/client.h"

namespace isthmus::agent {
namespace {

using base::Code;

int Fail(const base::Status& status) {
  std::fprintf(stderr, "Error: %s\n", status.message().c_str());
  return 1;
}

/// "default:info,ads:debug" or "info": the default scope's level counts.
base::LogLevel LevelOf(const std::string& text) {
  base::LogLevel level = base::LogLevel::kInfo;
  for (const std::string& item : base::SplitList(text)) {
    const size_t colon = item.find(':');
    const std::string scope = colon == item.npos ? "default" : item.substr(0, colon);
    const std::string name = colon == item.npos ? item : item.substr(colon + 1);
    if (scope != "default" && scope != "all") continue;
    if (name == "debug") level = base::LogLevel::kDebug;
    if (name == "info") level = base::LogLevel::kInfo;
    if (name == "warn") level = base::LogLevel::kWarn;
    if (name == "error" || name == "fatal") level = base::LogLevel::kError;
    if (name == "none") level = base::LogLevel::kNone;
  }
  return level;
}

base::Result<ProxyFlags> ParseProxy(const std::vector<std::string>& args, const Environment& env) {
  Flags flags;
  flags.Add("domain", 0, "");
  flags.Add("meshConfig", 0, "./etc/istio/config/mesh");
  flags.Add("proxyLogLevel", 0, "warning");
  flags.Add("proxyComponentLogLevel", 0, "");
  flags.Add("serviceCluster", 0, "");
  flags.Add("outlierLogPath", 0, "");
  flags.Add("concurrency", 0, "");
  flags.Add("log_output_level", 0, "default:info");
  flags.Add("log_target", 0, "");
  flags.Add("log_stacktrace_level", 0, "");
  flags.Add("log_caller", 0, "");
  flags.Add("stsPort", 0, "");
  flags.Add("templateFile", 0, "");
  flags.Add("tokenManagerPlugin", 0, "");
  flags.AddSwitch("log_as_json", 0);
  flags.AddSwitch("profiling", 0);
  ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                   flags.Parse(args, env.all(), Flags::Unknown::kSkip), "proxy");
  if (rest.size() > 1)
    return base::Error(Code::kInvalidArgument, "proxy: unexpected argument \"{}\"", rest[1]);
  base::SetLogLevel(LevelOf(flags.Get("log_output_level")));
  base::SetLogJson(flags.Is("log_as_json"));
  ProxyFlags out;
  if (!rest.empty()) out.type = rest.front();
  // The injector writes $(POD_NAMESPACE), which kubelets expand; nobody does outside Kubernetes.
  out.domain = base::ReplaceAll(flags.Get("domain"), "$(POD_NAMESPACE)",
                                env.Get("POD_NAMESPACE", "default"));
  out.mesh_config = flags.Get("meshConfig");
  out.log_level = flags.Get("proxyLogLevel");
  out.component_log_level = flags.Get("proxyComponentLogLevel");
  out.service_cluster = flags.Get("serviceCluster");
  out.outlier_log_path = flags.Get("outlierLogPath");
  if (const std::string& text = flags.Get("concurrency"); !text.empty()) {
    ASSIGN_OR_RETURN(const int64_t concurrency, base::ParseInt(text), "flag --concurrency");
    if (concurrency < 0 || concurrency > 1024)
      return base::Error(Code::kInvalidArgument, "flag --concurrency: {} is not from 0 to 1024",
                         concurrency);
    out.concurrency = static_cast<int>(concurrency);
  }
  return out;
}

/// One request to a port of this pod.
base::Result<http::Response> Ask(base::Loop& loop, const std::string& origin, http::Request request,
                                 base::Duration timeout) {
  http::ClientOptions options;
  options.url = origin;
  options.connect_timeout = timeout;
  http::Client client(loop, std::move(options));
  std::optional<base::Result<http::Response>> answer;
  client.Fetch(std::move(request), timeout,
               [&](base::Result<http::Response> response) { answer = std::move(response); });
  if (!loop.RunUntil([&] { return answer.has_value(); }, timeout + std::chrono::seconds(1)))
    return base::Error(Code::kDeadlineExceeded, "no answer from {} in time", origin);
  return std::move(*answer);
}

base::Result<base::Duration> Milliseconds(const Flags& flags, const char* name, int64_t unit) {
  ASSIGN_OR_RETURN(const int64_t value, base::ParseInt(flags.Get(name)),
                   std::string("flag --") + name);
  if (value < 0 || value > 1000000000)
    return base::Error(Code::kInvalidArgument, "flag --{}: {} is out of range", name, value);
  return base::Duration(std::chrono::milliseconds(value * unit));
}

base::Status Wait(const std::vector<std::string>& args) {
  Flags flags;
  flags.Add("timeoutSeconds", 0, "60");
  flags.Add("requestTimeoutMillis", 0, "500");
  flags.Add("periodMillis", 0, "500");
  flags.Add("url", 0, "http://localhost:15021/healthz/ready");
  ASSIGN_OR_RETURN(const auto rest, flags.Parse(args, {}, Flags::Unknown::kSkip), "wait");
  ASSIGN_OR_RETURN(const base::Duration timeout, Milliseconds(flags, "timeoutSeconds", 1000),
                   "wait");
  ASSIGN_OR_RETURN(const base::Duration request_timeout,
                   Milliseconds(flags, "requestTimeoutMillis", 1), "wait");
  ASSIGN_OR_RETURN(const base::Duration period, Milliseconds(flags, "periodMillis", 1), "wait");
  const std::string& url = flags.Get("url");
  const size_t slash = url.find('/', url.find("://") == url.npos ? 0 : url.find("://") + 3);
  http::Request request;
  if (slash != url.npos) request.target = url.substr(slash);
  base::Loop loop;
  const auto end = std::chrono::steady_clock::now() + timeout;
  std::string why;
  while (true) {
    const base::Result<http::Response> response =
        Ask(loop, url.substr(0, slash), request, request_timeout);
    if (response.ok() && response->status == 200) return {};
    why = response.ok() ? fmt::format("status {}: {}", response->status, base::Trim(response->body))
                        : response.status().message();
    if (std::chrono::steady_clock::now() + period >= end) break;
    (void)loop.RunUntil([] { return false; }, period);
  }
  return base::Error(Code::kDeadlineExceeded, "Envoy is not ready after {} s: {}",
                     flags.Get("timeoutSeconds"), why);
}

base::Result<std::string> Request(const std::vector<std::string>& args) {
  Flags flags;
  flags.Add("debug-port", 0, "15000");
  ASSIGN_OR_RETURN(const auto rest, flags.Parse(args, {}, Flags::Unknown::kSkip), "request");
  if (rest.size() < 2 || rest.size() > 3)
    return base::Error(Code::kInvalidArgument,
                       "request: give METHOD PATH [BODY], as in: request GET stats");
  static const std::set<std::string> kPorts = {"15000", "15004", "15020", "15021"};
  const std::string& port = flags.Get("debug-port");
  if (!kPorts.contains(port))
    return base::Error(Code::kInvalidArgument,
                       "request: --debug-port {}: use one of 15000, 15004, 15020, 15021", port);
  http::Request request;
  request.method = base::ToUpper(rest[0]);
  request.target = rest[1].starts_with('/') ? rest[1] : "/" + rest[1];
  if (rest.size() == 3) request.body = rest[2];
  base::Loop loop;
  ASSIGN_OR_RETURN(
      http::Response response,
      Ask(loop, "http://127.0.0.1:" + port, std::move(request), std::chrono::seconds(60)),
      "request");
  if (response.status >= 300)
    return base::Error(Code::kUnknown, "request: status {}: {}", response.status,
                       base::Trim(response.body));
  return std::move(response.body);
}

}  // namespace

int RunProxy(const std::vector<std::string>& args) {
  const Environment env = Environment::OfProcess();
  const base::Result<ProxyFlags> flags = ParseProxy(args, env);
  if (!flags.ok()) return Fail(flags.status());
  base::Result<Settings> settings = LoadSettings(*flags, env, InterfaceIps());
  if (!settings.ok()) return Fail(settings.status());
  base::Loop loop;
  const base::SystemClock clock;
  std::optional<int> code;
  Agent::Options options;
  options.settings = std::move(*settings);
  // Without /proc, Envoy is not bound to our life.
  if (base::Exists("/proc/self/exe")) options.launcher = {"/proc/self/exe", "run-envoy"};
  options.ended = [&](int exit_code) {
    code = exit_code;
    loop.Stop();
  };
  LOG_INFO("default", "proxy {} with control plane {}", options.settings.node_id(),
           options.settings.proxy.discovery_address);
  Agent agent(loop, clock, std::move(options));
  if (base::Status status = agent.Start(); !status.ok()) return Fail(status);
  base::Signals signals(loop, {SIGTERM, SIGINT}, [&](int) { agent.Terminate(); });
  while (!code) loop.Run();
  return *code;
}

int RunRequest(const std::vector<std::string>& args) {
  const base::Result<std::string> body = Request(args);
  if (!body.ok()) return Fail(body.status());
  std::fwrite(body->data(), 1, body->size(), stdout);
  return 0;
}

int RunWait(const std::vector<std::string>& args) {
  const base::Status status = Wait(args);
  return status.ok() ? 0 : Fail(status);
}

}  // namespace isthmus::agent
