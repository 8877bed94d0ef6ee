#include "kubeclient/exec_credential.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>

#include "base/process.h"
#include "base/strings.h"

extern char** environ;

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::Json;
using kubeapi::StringAt;

constexpr auto kTimeout = std::chrono::minutes(1);

/// Our environment, what the kubeconfig adds, and what the protocol says the plugin is told.
std::vector<std::string> EnvironmentFor(const Json& exec, const RestConfig& config) {
  std::vector<std::string> env;
  for (char** at = environ; *at != nullptr; ++at) env.emplace_back(*at);
  for (const Json& one : kubeapi::ItemsAt(exec, {"env"}))
    env.push_back(StringAt(one, {"name"}) + "=" + StringAt(one, {"value"}));
  Json info = {{"apiVersion", StringAt(exec, {"apiVersion"})},
               {"kind", "ExecCredential"},
               {"spec", {{"interactive", false}}}};
  if (kubeapi::BoolAt(exec, {"provideClusterInfo"}))
    info["spec"]["cluster"] = {{"server", config.server + config.path_prefix}};
  env.push_back("KUBERNETES_EXEC_INFO=" + kubeapi::ToJson(info));
  return env;
}

base::Result<base::Output> Run(const Json& exec, const RestConfig& config) {
  base::ProcessOptions options;
  options.argv = {StringAt(exec, {"command"})};
  for (const Json& argument : kubeapi::ItemsAt(exec, {"args"}))
    if (argument.is_string()) options.argv.push_back(argument.get<std::string>());
  options.env = EnvironmentFor(exec, config);
  base::Loop loop;
  std::optional<base::Result<base::Output>> output;
  base::RunProcess(loop, std::move(options), kTimeout,
                   [&output](base::Result<base::Output> done) { output = std::move(done); });
  loop.RunUntil([&output] { return output.has_value(); }, kTimeout + std::chrono::seconds(5));
  if (!output.has_value()) return Error(Code::kDeadlineExceeded, "it did not end in time");
  return std::move(*output);
}

}  // namespace

Status RunCredentialPlugin(const Json& exec, RestConfig& config) {
  const std::string command = StringAt(exec, {"command"});
  const std::string what = fmt::format("credential plugin \"{}\"", command);
  if (command.empty()) return Error(Code::kInvalidArgument, "exec: \"command\" is missing");
  auto output = Run(exec, config);
  if (!output.ok()) {
    const std::string hint = StringAt(exec, {"installHint"});
    return output.status().In(hint.empty() ? what : fmt::format("{} ({})", what, base::Trim(hint)));
  }
  if (!output->exit.ok())
    return Error(Code::kUnauthenticated, "{}: {}: {}", what, output->exit.text(),
                 base::Trim(output->err));
  auto credential = kubeapi::ParseJson(output->out);
  if (!credential.ok()) return credential.status().In(what);
  const std::string key = StringAt(*credential, {"status", "clientKeyData"});
  const std::string certificate = StringAt(*credential, {"status", "clientCertificateData"});
  const std::string token = StringAt(*credential, {"status", "token"});
  if (StringAt(*credential, {"kind"}) != "ExecCredential" ||
      (token.empty() && (key.empty() || certificate.empty())))
    return Error(Code::kUnauthenticated,
                 "{}: it printed no ExecCredential with a token or certificate", what);
  config.token = token;
  config.client_certificate_pem = certificate;
  config.client_key_pem = key;
  return {};
}

}  // namespace isthmus::kubeclient
