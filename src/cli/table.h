#pragma once

#include <string>
#include <vector>

namespace isthmus::cli {

/// Rows of text in columns as wide as their widest cell plus `pad` blanks; the last column is not
/// padded.
class Table {
 public:
  explicit Table(size_t pad) : pad_(pad) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  size_t size() const { return rows_.size(); }
  std::string Text() const;

 private:
  size_t pad_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace isthmus::cli
