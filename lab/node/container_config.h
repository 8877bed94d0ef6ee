#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace isthmus::lab::node {

/// Something of the machine that a container sees at a path of its own.
struct Mount {
  std::string source;
  std::string target;
  bool read_only = false;
};

/// A folder that the container's image would bring.
struct ImageFolder {
  std::string path;
  uint32_t uid = 0;
  uint32_t mode = 0755;
};

/// All that is needed to run one container once, worked out of its pod; the container's process
/// reads it from the file config.json of its folder. A value.
struct ContainerConfig {
  std::string hostname;
  std::string network_namespace;  ///< Path of a held namespace.
  std::vector<std::string> args;
  std::vector<std::string> env;  ///< "NAME=value"
  std::string working_dir = "/";
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  std::vector<std::string> add_capabilities;  ///< "NET_ADMIN", "ALL"
  std::vector<std::string> drop_capabilities;
  bool privileged = false;
  bool no_new_privileges = false;
  bool read_only_root = false;
  bool tty = false;
  bool stdin_open = false;
  bool stdin_once = false;
  std::string stop_signal = "TERM";
  std::string log_path;
  std::vector<Mount> mounts;    ///< In this order.
  std::vector<Mount> programs;  ///< What the image has in /usr/local/bin and the like.
  std::vector<ImageFolder> folders;
  std::vector<std::string> hidden;  ///< Folders of the machine that it must not see.

  std::string ToJson() const;
  static base::Result<ContainerConfig> FromJson(std::string_view text);
};

/// The files in a container's folder by which its process and the node speak to each other, also
/// after the node has started anew.
struct ContainerFiles {
  explicit ContainerFiles(std::string folder) : dir(std::move(folder)) {}
  std::string dir;
  std::string config() const { return dir + "/config.json"; }
  std::string state() const { return dir + "/state.json"; }  ///< Written when it runs.
  std::string exit() const { return dir + "/exit.json"; }    ///< Written when it has ended.
  std::string error() const { return dir + "/error"; }       ///< Why it could not start.
  std::string attach() const { return dir + "/attach.sock"; }
};

struct RunningState {
  int pid = 0;  ///< Of the container's first process, as the node sees it.
  uint64_t start_time = 0;
  std::string started_at;
};
struct ExitState {
  int exit_code = 0;
  int signal = 0;
  std::string finished_at;
};

base::Result<RunningState> ReadRunningState(const ContainerFiles& files);
base::Result<ExitState> ReadExitState(const ContainerFiles& files);
base::Status WriteRunningState(const ContainerFiles& files, const RunningState& state);
std::string ExitStateJson(const ExitState& state);

}  // namespace isthmus::lab::node
