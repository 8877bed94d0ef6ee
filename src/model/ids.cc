#include "model/ids.h"

namespace isthmus::model {

Locality Locality::Parse(const std::string& text) {
  const char separator = text.find('/') != std::string::npos ? '/' : '.';
  Locality locality;
  std::string* const parts[] = {&locality.region, &locality.zone, &locality.subzone};
  size_t begin = 0;
  for (size_t i = 0; i < 3 && begin <= text.size(); ++i) {
    size_t end = text.find(separator, begin);
    if (end == std::string::npos) end = text.size();
    parts[i]->assign(text, begin, end - begin);
    begin = end + 1;
  }
  return locality;
}

std::string Locality::text() const {
  std::string text = region;
  if (!zone.empty() || !subzone.empty()) text += "/" + zone;
  if (!subzone.empty()) text += "/" + subzone;
  return text;
}

}  // namespace isthmus::model
