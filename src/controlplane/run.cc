#include "controlplane/run.h"

#include <google/protobuf/stubs/logging.h>

#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "base/loop.h"
#include "base/signals.h"
#include "base/version.h"
#include "controlplane/control_plane.h"
#include "controlplane/request.h"
#include "controlplane/settings.h"
#include "kubeclient/config.h"

namespace isthmus::controlplane {
namespace {

void SetUpLog(const Settings& settings) {
  using base::LogLevel;
  LogLevel level = LogLevel::kInfo;
  if (settings.log_level == "debug") level = LogLevel::kDebug;
  if (settings.log_level == "warn") level = LogLevel::kWarn;
  if (settings.log_level == "error" || settings.log_level == "fatal") level = LogLevel::kError;
  if (settings.log_level == "none") level = LogLevel::kNone;
  base::SetLogLevel(level);
  base::SetLogJson(settings.log_json);
}

int Fail(const base::Status& status) {
  std::fprintf(stderr, "isthmusd: %s\n", status.message().c_str());
  return 1;
}

}  // namespace

int Run(const std::vector<std::string>& given) {
  std::vector<std::string> arguments = given;
  if (!arguments.empty() && arguments.front() == "version") {
    std::printf("%s\n", std::string(base::kVersion).c_str());
    return 0;
  }
  if (!arguments.empty() && arguments.front() == "request") {
    arguments.erase(arguments.begin());
    const auto body = MakeRequest(arguments);
    if (!body.ok()) return Fail(body.status());
    std::fwrite(body->data(), 1, body->size(), stdout);
    return 0;
  }
  if (!arguments.empty() && arguments.front() == "discovery") arguments.erase(arguments.begin());
  for (const std::string& argument : arguments) {
    if (argument != "--help" && argument != "-h") continue;
    std::printf("%s", Usage().c_str());
    return 0;
  }
  const auto settings = ReadSettings(arguments, OwnEnvironment());
  if (!settings.ok()) return Fail(settings.status());
  SetUpLog(*settings);
  // It would write a line to stderr for each text of a stranger that is no UTF-8.
  google::protobuf::SetLogHandler(nullptr);
  const auto cluster = settings->kubeconfig.empty()
                           ? kubeclient::InClusterConfig()
                           : kubeclient::LoadKubeconfig(settings->kubeconfig, "");
  if (!cluster.ok()) return Fail(cluster.status().In("finding the API server"));

  base::Loop loop;
  base::SystemClock clock;
  int code = 0;
  {
    ControlPlane plane(loop, clock, *settings, *cluster);
    plane.OnFailure([&](const base::Status& why) {
      code = Fail(why);
      loop.Stop();
    });
    const base::Status started = plane.Start();
    if (!started.ok()) return Fail(started);
    bool stopping = false;
    base::Signals signals(loop, {SIGTERM, SIGINT}, [&](int) {
      if (std::exchange(stopping, true)) return loop.Stop();  // A second signal does not wait.
      LOG_INFO("controlplane", "shutting down");
      plane.Shutdown([&loop] { loop.Stop(); });
    });
    loop.Run();
  }
  return code;
}

}  // namespace isthmus::controlplane
