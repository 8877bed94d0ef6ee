#pragma once

#include <string_view>

namespace isthmus::install {

/// A file of manifests/, built into the program; empty when there is none of that name.
std::string_view EmbeddedFile(std::string_view name);

}  // namespace isthmus::install
