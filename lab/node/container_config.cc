#include "lab/node/container_config.h"

#include "base/files.h"
#include "kubeapi/json.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;

Json MountsToJson(const std::vector<Mount>& mounts) {
  Json out = Json::array();
  for (const Mount& mount : mounts)
    out.push_back(
        {{"source", mount.source}, {"target", mount.target}, {"readOnly", mount.read_only}});
  return out;
}

std::vector<Mount> MountsFromJson(const Json& json) {
  std::vector<Mount> out;
  for (const Json& item : json)
    out.push_back({item.at("source"), item.at("target"), item.at("readOnly")});
  return out;
}

}  // namespace

std::string ContainerConfig::ToJson() const {
  Json folder_list = Json::array();
  for (const ImageFolder& folder : folders)
    folder_list.push_back({{"path", folder.path}, {"uid", folder.uid}, {"mode", folder.mode}});
  const Json json = {{"hostname", hostname},
                     {"networkNamespace", network_namespace},
                     {"args", args},
                     {"env", env},
                     {"workingDir", working_dir},
                     {"uid", uid},
                     {"gid", gid},
                     {"groups", groups},
                     {"addCapabilities", add_capabilities},
                     {"dropCapabilities", drop_capabilities},
                     {"privileged", privileged},
                     {"noNewPrivileges", no_new_privileges},
                     {"readOnlyRoot", read_only_root},
                     {"tty", tty},
                     {"stdin", stdin_open},
                     {"stdinOnce", stdin_once},
                     {"stopSignal", stop_signal},
                     {"logPath", log_path},
                     {"mounts", MountsToJson(mounts)},
                     {"programs", MountsToJson(programs)},
                     {"folders", folder_list},
                     {"hidden", hidden}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

base::Result<ContainerConfig> ContainerConfig::FromJson(std::string_view text) {
  auto json = kubeapi::ParseJson(text);
  if (!json.ok()) return json.status();
  ContainerConfig config;
  try {
    config.hostname = json->at("hostname");
    config.network_namespace = json->at("networkNamespace");
    config.args = json->at("args").get<std::vector<std::string>>();
    config.env = json->at("env").get<std::vector<std::string>>();
    config.working_dir = json->at("workingDir");
    config.uid = json->at("uid");
    config.gid = json->at("gid");
    config.groups = json->at("groups").get<std::vector<uint32_t>>();
    config.add_capabilities = json->at("addCapabilities").get<std::vector<std::string>>();
    config.drop_capabilities = json->at("dropCapabilities").get<std::vector<std::string>>();
    config.privileged = json->at("privileged");
    config.no_new_privileges = json->at("noNewPrivileges");
    config.read_only_root = json->at("readOnlyRoot");
    config.tty = json->at("tty");
    config.stdin_open = json->at("stdin");
    config.stdin_once = json->at("stdinOnce");
    config.stop_signal = json->at("stopSignal");
    config.log_path = json->at("logPath");
    config.mounts = MountsFromJson(json->at("mounts"));
    config.programs = MountsFromJson(json->at("programs"));
    for (const Json& folder : json->at("folders"))
      config.folders.push_back({folder.at("path"), folder.at("uid"), folder.at("mode")});
    config.hidden = json->at("hidden").get<std::vector<std::string>>();
  } catch (const Json::exception& error) {
    return base::Error(base::Code::kInvalidArgument, "container config: {}", error.what());
  }
  return config;
}

base::Result<RunningState> ReadRunningState(const ContainerFiles& files) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(files.state()),
                   "reading " + files.state());
  ASSIGN_OR_RETURN(const Json json, kubeapi::ParseJson(text), "parsing " + files.state());
  return RunningState{static_cast<int>(kubeapi::IntAt(json, {"pid"})),
                      static_cast<uint64_t>(kubeapi::IntAt(json, {"startTime"})),
                      kubeapi::StringAt(json, {"startedAt"})};
}

base::Status WriteRunningState(const ContainerFiles& files, const RunningState& state) {
  const Json json = {
      {"pid", state.pid}, {"startTime", state.start_time}, {"startedAt", state.started_at}};
  return base::WriteFile(files.state(), json.dump());
}

base::Result<ExitState> ReadExitState(const ContainerFiles& files) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(files.exit()), "reading " + files.exit());
  ASSIGN_OR_RETURN(const Json json, kubeapi::ParseJson(text), "parsing " + files.exit());
  return ExitState{static_cast<int>(kubeapi::IntAt(json, {"exitCode"})),
                   static_cast<int>(kubeapi::IntAt(json, {"signal"})),
                   kubeapi::StringAt(json, {"finishedAt"})};
}

std::string ExitStateJson(const ExitState& state) {
  return Json{
      {"exitCode", state.exit_code}, {"signal", state.signal}, {"finishedAt", state.finished_at}}
      .dump();
}

}  // namespace isthmus::lab::node
