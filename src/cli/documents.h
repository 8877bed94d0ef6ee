#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace isthmus::cli {

/// One object of a file, with where it stands.
struct Document {
  Json object;
  std::string file;
  int line = 1;
};

/// The objects of one YAML or JSON text; lists are taken apart. The error names the file.
base::Result<std::vector<Document>> ReadDocuments(const std::string& text, const std::string& file);

/// Files that a path means: itself, or below a folder everything that ends with .yaml, .yml or
/// .json, sorted.
base::Result<std::vector<std::string>> ExpandPath(const std::string& path);

}  // namespace isthmus::cli
