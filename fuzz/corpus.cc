#include "corpus.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/files.h"

namespace isthmus::fuzz {
namespace {

base::Result<std::string> DerOfPem(std::string_view text) {
  const size_t begin = text.find('\n', text.find("-----BEGIN"));
  const size_t end = text.find("-----END");
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin)
    return base::Error(base::Code::kInvalidArgument, "no PEM block");
  return base::Base64Decode(text.substr(begin, end - begin));
}

std::string WithCrLf(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

}  // namespace

base::Result<std::string> ParseHexText(std::string_view text) {
  std::string digits;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '#') {
      text.remove_prefix(std::min(text.find('\n'), text.size()));
    } else if (c == '"') {
      const size_t end = text.find('"');
      if (end == std::string_view::npos)
        return base::Error(base::Code::kInvalidArgument, "a quotation mark is missing");
      digits += base::HexEncode(text.substr(0, end));
      text.remove_prefix(end + 1);
    } else if (c != ' ' && c != '\n' && c != '\t') {
      digits += c;
    }
  }
  return base::HexDecode(digits);
}

base::Result<std::string> ReadInput(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, base::ReadFile(path), "fuzz input");
  const auto ends = [&](std::string_view suffix) {
    return std::string_view(path).ends_with(suffix);
  };
  if (ends(".crlf")) return WithCrLf(text);
  base::Result<std::string> bytes = std::move(text);
  if (ends(".hex")) bytes = ParseHexText(*bytes);
  if (ends(".pem")) bytes = DerOfPem(*bytes);
  if (!bytes.ok()) return bytes.status().In(path);
  return bytes;
}

base::Result<std::vector<std::string>> ReadCorpus(const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListDir(folder), "fuzz corpus");
  std::sort(names.begin(), names.end());
  std::vector<std::string> inputs;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(std::string bytes, ReadInput(folder + "/" + name), "");
    inputs.push_back(std::move(bytes));
  }
  if (inputs.empty()) return base::Error(base::Code::kNotFound, "fuzz corpus: {} is empty", folder);
  return inputs;
}

}  // namespace isthmus::fuzz
