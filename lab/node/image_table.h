#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/node/container_config.h"

namespace isthmus::lab::node {

/// What stands in for a container image: programs of the machine at the image's usual paths.
struct Image {
  std::string pattern;
  std::vector<Mount> programs;  ///< source: a program's name ("isthmusd") or an absolute path.
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::vector<std::string> env;
  std::vector<ImageFolder> folders;
  std::string working_dir = "/";
  uint32_t uid = 0;
  uint32_t gid = 0;
};

/// Which image name means which Image. A pattern is a repository without tag, or its end behind a
/// slash, and may hold `*`: "pilot" fits "docker.io/istio/pilot:1.27.0". Later patterns win over
/// earlier ones, so that users' files override what is built in. A value.
class ImageTable {
 public:
  /// The mesh's images and the samples.
  static ImageTable BuiltIn();
  /// Adds the entries of a YAML file: `images: [{pattern, programs: {path: program}, entrypoint,
  /// command, env: {NAME: value}, folders: [{path, user}], workingDir, user, group}]`.
  base::Status Add(std::string_view yaml);
  /// kNotFound, with what to do about it, when no pattern fits.
  base::Result<Image> Find(std::string_view image) const;

 private:
  std::vector<Image> images_;
};

/// "docker.io/istio/pilot" of "docker.io/istio/pilot:1.27.0@sha256:...".
std::string_view RepositoryOf(std::string_view image);
/// Whether `text` fits `pattern`, in which `*` stands for anything.
bool GlobMatches(std::string_view pattern, std::string_view text);

}  // namespace isthmus::lab::node
