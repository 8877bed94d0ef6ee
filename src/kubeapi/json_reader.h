#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::kubeapi {

/// Reads the JSON that API servers write into the library's values, several times faster than the
/// library's own parser. Knows all of JSON but what is rare (text that is not ASCII, escapes beyond
/// ASCII, numbers out of range): it then fails without a reason, and the library has the word. What
/// it does read, it reads as the library does. A value; borrows the text.
class JsonReader {
 public:
  enum class Keep { kEverything, kNoManagedFields };

  /// With kNoManagedFields metadata.managedFields of the object is passed over.
  explicit JsonReader(std::string_view text, Keep keep = Keep::kEverything)
      : at_(text.data()), end_(text.data() + text.size()), keep_(keep) {}

  /// The whole text as one value.
  bool Read(Json& out) { return Value(out) && Over(); }
  /// A list without its items. `items` becomes the text between their brackets, or nothing when
  /// there is no list of them.
  bool ReadList(Json& rest, std::string_view& items);
  /// Calls with the text of each of the values that commas divide.
  bool EachElement(const std::function<bool(std::string_view)>& element);

 private:
  void SkipSpace();
  bool Take(char c);
  bool Over();
  bool Value(Json& out);
  bool Object(Json& out);
  bool Array(Json& out);
  bool String(std::string& out);
  bool Escape(std::string& out);
  bool Number(Json& out);
  bool Word(std::string_view word);
  /// Passes over a value by its brackets and quotes.
  bool SkipValue();
  bool SkipString();

  const char* at_;
  const char* const end_;
  const Keep keep_;
  int depth_ = 0;
  bool in_metadata_ = false;  ///< The next object is the metadata of the outermost.
};

/// A list as an API server sent it, read item by item: it is never a whole in memory. Borrows the
/// text.
struct ListText {
  Json rest;               ///< Everything but the items.
  std::string_view items;  ///< What is between their brackets.
};
base::Result<ListText> SplitList(std::string_view text);
base::Status EachItem(const ListText& list, JsonReader::Keep keep,
                      const std::function<void(Json)>& item);

}  // namespace isthmus::kubeapi
