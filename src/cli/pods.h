#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/session.h"

namespace isthmus::cli {

/// What users write for a pod: "[TYPE/]NAME[.NAMESPACE]".
struct PodArgument {
  std::string type;  ///< "" or "pod" for a pod itself, else "deployment", "svc" ...
  std::string name;
  std::string ns;  ///< Empty when the argument has none.
};
/// The last dot behind the last slash divides name and namespace.
PodArgument ParsePodArgument(std::string_view text);

/// The pod that an argument means; of several behind a TYPE, a running and ready one.
base::Result<Json> FindPod(Session& session, std::string_view argument);

/// Runs a command in a container and collects its standard output. A command that fails is an error
/// with what it wrote on standard error.
base::Result<std::string> ExecInPod(kubeclient::Client& client, base::Loop& loop,
                                    const std::string& ns, const std::string& pod,
                                    const std::string& container,
                                    const std::vector<std::string>& command);

/// One request to the administration port of a proxy, made by its agent. `path` without leading
/// slash.
base::Result<std::string> AskProxy(Session& session, const Json& pod, const std::string& path,
                                   const std::string& method = "GET");

/// An istiod pod and its answer.
struct IstiodAnswer {
  std::string pod;
  std::string revision;
  std::string body;
};
/// The running istiods of the control-plane namespace (of a revision, when given). An error when
/// there is none.
base::Result<std::vector<Json>> FindIstiods(Session& session, const std::string& revision);
/// The same request to each of them, made by themselves over their loopback. Those that do not
/// answer are an error only when none does; the others' failures go to standard error.
base::Result<std::vector<IstiodAnswer>> AskIstiods(Session& session, const std::string& revision,
                                                   const std::string& path);

}  // namespace isthmus::cli
