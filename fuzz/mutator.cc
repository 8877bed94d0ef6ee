#include "mutator.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace isthmus::fuzz {
namespace {

constexpr size_t kLargest = 64 * 1024;

std::vector<std::string> Words(const std::vector<std::string>& corpus) {
  std::set<std::string> words = {"0",
                                 "-1",
                                 "65536",
                                 "4294967296",
                                 "9223372036854775807",
                                 "-9223372036854775808",
                                 "1e999",
                                 "0x",
                                 "NaN",
                                 "null",
                                 "true",
                                 "%",
                                 "%00",
                                 "%zz",
                                 "..",
                                 "//",
                                 "\r\n",
                                 "\r\n\r\n",
                                 "\n",
                                 "{}",
                                 "[]",
                                 "{\"a\":",
                                 "[[[[[[[[",
                                 "\"",
                                 "'",
                                 "\\",
                                 "\\u0000",
                                 "\\ud800",
                                 "&a",
                                 "*a",
                                 "!!binary ",
                                 "<<: ",
                                 "---\n",
                                 "- ",
                                 ": ",
                                 "|",
                                 ">-",
                                 ",",
                                 ";",
                                 "=",
                                 "@",
                                 "[::1]",
                                 "255.255.255.255",
                                 ":"};
  words.insert({std::string(1, '\0'), std::string(4, '\0'), std::string(4, '\xff'), "\xef\xbb\xbf",
                "\xed\xa0\x80", "\xc0\x80", "\x7f\xff\xff\xff", "\x80", std::string("\0\0\0\1", 4),
                "\x7f", "\xff\xff"});
  for (const std::string& input : corpus) {
    std::string word;
    for (const char c : input + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.') {
        word += c;
        continue;
      }
      if (word.size() > 1 && word.size() < 40) words.insert(word);
      word.clear();
    }
  }
  return {words.begin(), words.end()};
}

std::string_view Piece(std::string_view text, Random& random, size_t longest) {
  if (text.empty()) return text;
  const size_t at = random.Below(text.size());
  return text.substr(at, 1 + random.Below(longest));
}

void SwapLines(std::string& input, Random& random) {
  std::vector<std::string> lines(1);
  for (const char c : input) {
    lines.back() += c;
    if (c == '\n') lines.emplace_back();
  }
  const size_t a = random.Below(lines.size()), b = random.Below(lines.size());
  const size_t what = random.Below(3);
  if (what == 0) std::swap(lines[a], lines[b]);
  if (what == 1) lines.insert(lines.begin() + static_cast<ptrdiff_t>(a), std::string(lines[b]));
  if (what == 2) lines.erase(lines.begin() + static_cast<ptrdiff_t>(a));
  input.clear();
  for (const std::string& line : lines) input += line;
}

}  // namespace

Mutator::Mutator(std::vector<std::string> corpus)
    : corpus_(std::move(corpus)), words_(Words(corpus_)) {}

std::string Mutator::Make(uint64_t round, Random& random) const {
  if (round < corpus_.size()) return corpus_[round];
  std::string input = corpus_[random.Below(corpus_.size())];
  const size_t changes = 1 + random.Below(random.OneIn(4) ? 24 : 4);
  for (size_t i = 0; i < changes; ++i) Mutate(input, random);
  if (input.size() > kLargest) input.resize(kLargest);
  return input;
}

void Mutator::PutWord(std::string& input, Random& random) const {
  const std::string& word = words_[random.Below(words_.size())];
  const size_t at = random.Below(input.size() + 1);
  input.replace(at, random.OneIn(2) ? 0 : random.Below(word.size() + 1), word);
}

void Mutator::PutPiece(std::string& input, Random& random) const {
  const std::string piece(Piece(corpus_[random.Below(corpus_.size())], random, 64));
  input.insert(random.Below(input.size() + 1), piece);
}

void Mutator::Mutate(std::string& input, Random& random) const {
  const size_t at = random.Below(input.size() + 1);
  switch (random.Below(9)) {
    case 0:
      if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << random.Below(8));
      return;
    case 1:
      if (at < input.size()) input[at] = static_cast<char>(random.Next());
      return;
    case 2:
      input.insert(at, 1 + random.Below(3), static_cast<char>(random.Next()));
      return;
    case 3:
      input.erase(at, 1 + random.Below(random.OneIn(8) ? 256 : 8));
      return;
    case 4:
      if (random.OneIn(4)) input.resize(at);
      return;
    case 5: {  // One piece many times: deep nesting, long lists, long names.
      const std::string piece(Piece(input, random, 6));
      const size_t times = random.OneIn(16) ? 4096 : 1 + random.Below(8);
      std::string repeated;
      for (size_t i = 0; i < times; ++i) repeated += piece;
      input.insert(at, repeated);
      return;
    }
    case 6:
      return PutWord(input, random);
    case 7:
      return PutPiece(input, random);
    default:
      return SwapLines(input, random);
  }
}

}  // namespace isthmus::fuzz
