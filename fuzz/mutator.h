#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fuzz.h"

namespace isthmus::fuzz {

/// Makes new inputs of a corpus: bytes changed, taken out, put in and repeated, pieces and words of
/// other inputs, numbers at their limits, lines in another order. Pure but for `random`.
class Mutator {
 public:
  explicit Mutator(std::vector<std::string> corpus);
  /// The inputs of the corpus first, as they are; then mutations of them.
  std::string Make(uint64_t round, Random& random) const;

 private:
  void Mutate(std::string& input, Random& random) const;
  void PutWord(std::string& input, Random& random) const;
  void PutPiece(std::string& input, Random& random) const;

  std::vector<std::string> corpus_;
  std::vector<std::string> words_;  // Of the corpus, and some that parsers stumble over.
};

}  // namespace isthmus::fuzz
