#include "lab/world/programs.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/files.h"

namespace isthmus::lab::world {

std::map<std::string, std::string> FindPrograms(const std::string& program) {
  const std::filesystem::path folder = std::filesystem::path(program).parent_path();
  std::map<std::string, std::string> programs = {{"isthmus-lab", program}};
  for (const char* name : {"isthmusd", "isthmus-agent", "isthmus", "envoy"})
    if (base::Exists((folder / name).string())) programs[name] = (folder / name).string();
  if (const char* envoy = getenv("ISTHMUS_ENVOY"); envoy != nullptr) programs["envoy"] = envoy;
  // In a source tree the program lies in build/bin or build/<preset>/bin.
  for (std::filesystem::path up = folder; programs.count("envoy") == 0 && up != up.root_path();
       up = up.parent_path())
    if (const auto path = up / ".cache/third_party/envoy/envoy"; base::Exists(path.string()))
      programs["envoy"] = path.string();
  return programs;
}

base::Status CheckMeshPrograms(const std::string& program) {
  const auto programs = FindPrograms(program);
  for (const char* name : {"isthmusd", "isthmus-agent"})
    if (programs.count(name) == 0)
      return base::Error(base::Code::kFailedPrecondition,
                         "the program {} is not beside {}; build it with: make build", name,
                         program);
  const auto envoy = programs.find("envoy");
  if (envoy == programs.end())
    return base::Error(base::Code::kFailedPrecondition,
                       "Envoy is missing; fetch it with tools/setup/fetch.py, or name one by "
                       "ISTHMUS_ENVOY=/path/to/envoy");
  if (access(envoy->second.c_str(), X_OK) != 0)
    return base::Error(base::Code::kFailedPrecondition,
                       "ISTHMUS_ENVOY names {}, which is no program; correct it, or unset it to "
                       "take the one that tools/setup/fetch.py has fetched",
                       envoy->second);
  return {};
}

}  // namespace isthmus::lab::world
