#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/strings.h"
#include "kubeapi/json.h"
#include "kubeapi/scalar.h"

namespace isthmus::kubeapi {
namespace {

/// Without aliases a text has fewer nodes than bytes; so many more may come from aliases, which can
/// blow a small text up.
constexpr size_t kMaxAliasNodes = 50'000;

/// Turns yaml-cpp's nodes into Json. Keeps the first error; after that it only unwinds.
class Converter {
 public:
  explicit Converter(size_t text_size) : limit_(text_size + kMaxAliasNodes) {}

  Json Convert(const YAML::Node& node, int depth) {
    if (!status_.ok()) return nullptr;
    if (depth > kMaxDepth)
      return Fail(node, fmt::format("nested deeper than {} levels", kMaxDepth));
    if (++nodes_ > limit_) return Fail(node, "too large (aliases count as often as they are used)");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return nullptr;
      case YAML::NodeType::Scalar:
        return Scalar(node);
      case YAML::NodeType::Sequence: {
        Json list = Json::array();
        for (const YAML::Node& item : node) list.push_back(Convert(item, depth + 1));
        return list;
      }
      case YAML::NodeType::Map:
        return Map(node, depth);
    }
    return nullptr;
  }

  const base::Status& status() const { return status_; }

 private:
  Json Scalar(const YAML::Node& node) {
    const std::string& tag = node.Tag();
    const std::string& text = node.Scalar();
    if (tag.empty() || tag == "?") return ResolveScalar(text);
    if (tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:float" ||
        tag == "tag:yaml.org,2002:bool" || tag == "tag:yaml.org,2002:null")
      return ResolveScalar(text);
    return text;
  }

  Json Map(const YAML::Node& node, int depth) {
    Json map = Json::object();
    std::set<std::string> merged;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Fail(entry.first, "a key must be a scalar");
      const std::string& key = entry.first.Scalar();
      if (key == "<<" && entry.first.Tag() != "!") {
        Merge(map, merged, Convert(entry.second, depth + 1), entry.second);
        continue;
      }
      if (map.contains(key) && merged.erase(key) == 0)
        return Fail(entry.first, fmt::format("key \"{}\" is given twice", key));
      map[key] = Convert(entry.second, depth + 1);
      if (!status_.ok()) return nullptr;
    }
    return map;
  }

  /// "<<": keys of the merged map that the map itself does not give.
  void Merge(Json& map, std::set<std::string>& merged, const Json& from, const YAML::Node& node) {
    if (!status_.ok()) return;
    if (from.is_array()) {
      for (const Json& part : from) Merge(map, merged, part, node);
      return;
    }
    if (!from.is_object()) {
      Fail(node, "\"<<\" needs a map");
      return;
    }
    for (const auto& [key, value] : from.items()) {
      if (map.contains(key)) continue;
      map[key] = value;
      merged.insert(key);
    }
  }

  Json Fail(const YAML::Node& node, std::string_view why) {
    if (status_.ok())
      status_ = base::Error(base::Code::kInvalidArgument, "invalid YAML at line {}, column {}: {}",
                            node.Mark().line + 1, node.Mark().column + 1, why);
    return nullptr;
  }

  const size_t limit_;
  size_t nodes_ = 0;
  base::Status status_;
};

/// Sees whether each document begins behind the one before. yaml-cpp stands still at a comma that
/// follows a whole document, as in "{}, a", and makes empty documents of it for ever.
class Progress final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (mark.pos <= last_) throw YAML::ParserException(mark, "unexpected text after a document");
    last_ = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  int last_ = -1;
};

/// Throws when the text has no end for yaml-cpp.
void CheckThatItEnds(const std::string& text) {
  // Only at a comma does it stand still.
  if (text.find(',') == text.npos) return;
  std::istringstream in(text);
  YAML::Parser parser(in);
  Progress progress;
  while (parser.HandleNextDocument(progress)) {
  }
}

bool IsBlank(const YAML::Node& node) { return !node.IsDefined() || node.IsNull(); }

// --- printing
// ---------------------------------------------------------------------------------------

/// Whether a string may stand without quotes and be read back as the same string.
bool IsPlain(std::string_view text) {
  if (text.empty() || !ResolveScalar(text).is_string()) return false;
  if (text == "=" || text == "<<" || text.starts_with("---") || text.starts_with("..."))
    return false;
  constexpr std::string_view kFirst = "-?:,[]{}#&*!|>'\"%@` \t";
  if (kFirst.find(text[0]) != kFirst.npos) {
    // "-x", "?x" and ":x" are plain; the indicator needs a space to count.
    const bool indicator = text[0] == '-' || text[0] == '?' || text[0] == ':';
    if (!indicator || text.size() == 1 || text[1] == ' ') return false;
  }
  if (text.back() == ' ' || text.back() == ':') return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) return false;
    if (text[i] == ':' && i + 1 < text.size() && text[i + 1] == ' ') return false;
    if (text[i] == '#' && i > 0 && text[i - 1] == ' ') return false;
  }
  // A time stamp is a string to us, but not to every reader.
  const bool dated =
      text.size() >= 10 && text[4] == '-' && text[7] == '-' && base::IsDigit(text[0]);
  const bool infinite = text == ".inf" || text == "-.inf" || text == "+.inf" || text == ".nan" ||
                        text == ".Inf" || text == "-.Inf" || text == ".NaN";
  return !dated && !infinite;
}

bool IsBlock(std::string_view text) {
  if (text.find('\n') == text.npos || text[0] == ' ' || text[0] == '\n') return false;
  for (const char c : text)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f) return false;
  return text.find(" \n") == text.npos;
}

std::string Quoted(const std::string& text) {
  const Json value = text;
  return ToJson(value);
}

class Printer {
 public:
  std::string Take() { return std::move(out_); }

  /// Prints after a key's colon or a list's dash, up to and with the end of line.
  void Value(const Json& value, int indent, bool in_list) {
    if (value.is_object() && !value.empty()) {
      if (!in_list) out_ += '\n';
      Map(value, indent, in_list);
    } else if (value.is_array() && !value.empty()) {
      if (in_list) {
        List(value, indent, true);
      } else {
        out_ += '\n';
        // Lists stand at their key's column.
        List(value, indent - 2, false);
      }
    } else {
      if (!in_list) out_ += ' ';
      Scalar(value, indent);
    }
  }

  void Map(const Json& map, int indent, bool first_inline) {
    for (const auto& [key, value] : map.items()) {
      if (!first_inline) out_.append(static_cast<size_t>(indent), ' ');
      first_inline = false;
      const std::string text = IsPlain(key) ? key : Quoted(key);
      // YAML has keys of up to 1024 characters; a longer one stands on a line of its own.
      if (text.size() > 1000)
        out_.append("? ").append(text).append("\n").append(static_cast<size_t>(indent), ' ');
      else
        out_ += text;
      out_ += ':';
      Value(value, indent + 2, false);
    }
  }

  void List(const Json& list, int indent, bool first_inline) {
    for (const Json& item : list) {
      if (!first_inline) out_.append(static_cast<size_t>(indent), ' ');
      first_inline = false;
      out_ += "- ";
      Value(item, indent + 2, true);
    }
  }

  void Scalar(const Json& value, int indent) {
    if (!value.is_string()) {
      out_ += ToJson(value) + "\n";
      return;
    }
    const std::string& text = value.get_ref<const std::string&>();
    if (IsBlock(text)) {
      Block(text, indent);
    } else {
      out_ += (IsPlain(text) ? text : Quoted(text)) + "\n";
    }
  }

 private:
  void Block(std::string_view text, int indent) {
    const bool newline = text.ends_with('\n');
    out_ += newline ? (text.ends_with("\n\n") ? "|+\n" : "|\n") : "|-\n";
    if (newline) text.remove_suffix(1);
    while (true) {
      const size_t end = text.find('\n');
      const std::string_view line = text.substr(0, end);
      if (!line.empty()) out_.append(static_cast<size_t>(std::max(indent, 2)), ' ').append(line);
      out_ += '\n';
      if (end == text.npos) break;
      text.remove_prefix(end + 1);
    }
  }

  std::string out_;
};

}  // namespace

base::Result<std::vector<Json>> ParseYamlStream(std::string_view text) {
  std::vector<Json> documents;
  try {
    const std::string input(text);
    CheckThatItEnds(input);
    for (const YAML::Node& node : YAML::LoadAll(input)) {
      if (IsBlank(node)) continue;
      Converter converter(text.size());
      Json value = converter.Convert(node, 0);
      if (!converter.status().ok()) return converter.status();
      documents.push_back(std::move(value));
    }
  } catch (const YAML::Exception& error) {
    return base::Error(base::Code::kInvalidArgument, "invalid YAML at line {}, column {}: {}",
                       error.mark.line + 1, error.mark.column + 1, error.msg);
  }
  return documents;
}

base::Result<Json> ParseYaml(std::string_view text) {
  ASSIGN_OR_RETURN(std::vector<Json> documents, ParseYamlStream(text), "reading YAML");
  if (documents.size() > 1)
    return base::Error(base::Code::kInvalidArgument, "expected one YAML document, found {}",
                       documents.size());
  return documents.empty() ? Json(nullptr) : std::move(documents[0]);
}

std::string ToYaml(const Json& value) {
  Printer printer;
  if (value.is_object() && !value.empty())
    printer.Map(value, 0, false);
  else if (value.is_array() && !value.empty())
    printer.List(value, 0, false);
  else
    printer.Scalar(value, 0);
  return printer.Take();
}

}  // namespace isthmus::kubeapi
