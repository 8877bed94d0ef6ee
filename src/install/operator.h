#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "install/tree.h"

namespace isthmus::install {

/// One install file: where its text came from, for messages, and the text.
struct InputFile {
  std::string name;
  std::string text;
};

struct OperatorInput {
  std::vector<InputFile> files;   ///< In order; later ones win.
  std::vector<std::string> sets;  ///< "path=value"; win over files.
  std::string revision;           ///< As --revision; empty leaves the files' word.
  bool force = false;             ///< Unknown fields are warnings.
};

/// An IstioOperator after all merging: what will be installed, decided. A value.
struct Installation {
  std::string profile;
  std::string owner_name;  ///< metadata.name, or "unknown".
  bool named = false;      ///< Whether metadata.name was given.
  std::string ns;          ///< System namespace.
  std::string revision;    ///< Empty for the default one.
  Json spec;               ///< Profile, files and flags merged.
  Json values;       ///< Defaults with everything laid over; what the manifests are made from.
  Json mesh_config;  ///< spec.meshConfig.
  std::vector<std::string> warnings;

  bool Enabled(std::string_view component) const;  ///< "base", "pilot", ...
  /// Whether the control plane of another cluster serves this one's proxies.
  bool remote() const;
  /// Remote, with an istiod of its own for injection and certificates.
  bool local_injector() const;
};

/// Reads and merges: default profile, chosen profile, files, flags (later wins). The error names
/// file, field and reason.
base::Result<Installation> ResolveInstallation(const OperatorInput& input);

/// The profiles' names, sorted, and one as YAML (kNotFound with the known names).
std::vector<std::string> ProfileNames();
base::Result<std::string> ProfileYaml(std::string_view name);

}  // namespace isthmus::install
