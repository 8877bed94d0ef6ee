#include "cli/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;

/// Where each document of a stream begins, by its first line that is not empty or a comment.
struct Piece {
  std::string text;
  int line = 1;
};

std::vector<Piece> SplitStream(const std::string& text) {
  std::vector<Piece> pieces(1);
  int number = 1;
  bool begun = false;
  for (size_t start = 0; start < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', start), text.size() - 1);
    const std::string line = text.substr(start, end - start + 1);
    start = end + 1;
    if (line.starts_with("---") &&
        (line.size() == 3 || line[3] == '\n' || line[3] == ' ' || line[3] == '\r')) {
      pieces.push_back({"", number + 1});
      begun = false;
      continue;
    }
    const size_t first = line.find_first_not_of(" \t\r\n");
    if (!begun && first != line.npos && line[first] != '#') {
      pieces.back().line = number;
      begun = true;
    }
    // Lines before the first keep their place, so that errors name the right one.
    if (pieces.back().text.empty())
      pieces.back().text.assign(static_cast<size_t>(number - 1), '\n');
    pieces.back().text += line;
  }
  return pieces;
}

}  // namespace

Result<std::vector<Document>> ReadDocuments(const std::string& text, const std::string& file) {
  std::vector<Document> documents;
  for (const Piece& piece : SplitStream(text)) {
    auto parsed = kubeapi::ParseYamlStream(piece.text);
    if (!parsed.ok()) return parsed.status().In(file);
    for (Json& object : *parsed) {
      if (!object.is_object())
        return Error(Code::kInvalidArgument, "{}:{}: expected an object", file, piece.line);
      if (kubeapi::KindOf(object).ends_with("List") && object.contains("items")) {
        for (const Json& item : kubeapi::ItemsAt(object, {"items"}))
          documents.push_back({item, file, piece.line});
      } else {
        documents.push_back({std::move(object), file, piece.line});
      }
    }
  }
  return documents;
}

Result<std::vector<std::string>> ExpandPath(const std::string& path) {
  if (path == "-") return std::vector<std::string>{path};
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return Error(Code::kNotFound, "{} does not exist", path);
  if (!std::filesystem::is_directory(path, error)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  for (auto it = std::filesystem::recursive_directory_iterator(path, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    const std::string extension = it->path().extension();
    if (it->is_regular_file(error) &&
        (extension == ".yaml" || extension == ".yml" || extension == ".json"))
      files.push_back(it->path());
  }
  if (error) return Error(Code::kUnavailable, "{}: {}", path, error.message());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace isthmus::cli
