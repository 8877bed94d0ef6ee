#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::fuzz {

/// The inputs of a folder in the order of their file names. The ending says how bytes are written:
///   .crlf  text whose lines end with CR LF on the wire
///   .hex   hexadecimal digits, "text in quotes", # comments; white space counts for nothing
///   .pem   one PEM block, taken as its DER bytes
///   others as they are
base::Result<std::vector<std::string>> ReadCorpus(const std::string& folder);

/// One file, by its ending.
base::Result<std::string> ReadInput(const std::string& path);

/// The form of .hex files.
base::Result<std::string> ParseHexText(std::string_view text);

}  // namespace isthmus::fuzz
