#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeapi/resources.h"
#include "kubeclient/client.h"

namespace isthmus::cli {

using kubeapi::Json;
using kubeclient::Resource;

/// Where a command reads and writes; tests put strings in.
struct Io {
  std::function<void(std::string_view)> out;
  std::function<void(std::string_view)> err;
  std::function<std::string()> read_all;   ///< Standard input to its end.
  std::function<std::string()> read_line;  ///< One line of it; empty at its end.
  bool terminal = false;                   ///< Whether standard error is a terminal.
  static Io Standard();
};

/// The flags that every command takes.
struct Globals {
  std::string kubeconfig;
  std::string context;
  std::string ns;
  std::string istio_ns = "istio-system";
  std::string as_user;
  std::vector<std::string> as_groups;
  std::string as_uid;
  std::string kubeclient_timeout = "15s";
  int vklog = 0;
};

/// One run of the program: its flags, its streams, and the cluster it talks to, connected at first
/// use.
class Session {
 public:
  Session(std::string program, Io io);
  ~Session();

  /// "isthmus" or "istioctl", as it was called.
  const std::string& program() const { return program_; }
  base::Loop& loop() { return loop_; }
  base::Result<kubeclient::Client*> client();
  /// Another cluster than the current one, by the same flags.
  base::Result<std::unique_ptr<kubeclient::Client>> Connect(std::string_view context);
  /// -n, else the context's namespace, else "default".
  base::Result<std::string> default_namespace();

  base::Result<Json> Get(const Resource& resource, std::string_view ns, std::string_view name);
  base::Result<std::vector<Json>> List(const Resource& resource, std::string_view ns,
                                       std::string_view label_selector = {},
                                       std::string_view field_selector = {});
  base::Result<Resource> Find(std::string_view api_version, std::string_view kind);

  void Out(std::string_view text) { io.out(text); }
  void Err(std::string_view text) { io.err(text); }
  /// Prints "Error: ..." and gives the exit code.
  int Fail(const base::Status& status, int code = 1);
  /// A file's content, or standard input for "-".
  base::Result<std::string> ReadInput(const std::string& path);
  /// Asks on standard output; an empty or missing answer is no.
  bool Confirm(std::string_view question);

  Globals globals;
  Io io;

 private:
  std::string program_;
  base::Loop loop_;
  std::unique_ptr<kubeclient::Client> client_;
};

// Resources that the commands name in code.
using kubeapi::kConfigMaps;
using kubeapi::kDeployments;
using kubeapi::kMutatingWebhooks;
using kubeapi::kNamespaces;
using kubeapi::kPods;
using kubeapi::kSecrets;
using kubeapi::kServices;
using kubeapi::kValidatingWebhooks;

}  // namespace isthmus::cli
