#pragma once

#include <string>
#include <string_view>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// In which form the client wants objects: as they are, as a Table, or metadata only; JSON or YAML.
struct Output {
  enum class Form { kObject, kTable, kPartial };
  Form form = Form::kObject;
  bool yaml = false;
  std::string include = "Metadata";  ///< includeObject of tables.

  /// From Accept; 406 when nothing that is asked for can be given.
  static Outcome<Output> Negotiate(const Request& request);

  std::string content_type() const { return yaml ? "application/yaml" : "application/json"; }
  /// One stored object as JSON text in this form. `columns`: a Table brings its column definitions.
  std::string Render(const Engine& engine, const Kind& kind, const KindVersion& version,
                     std::string_view stored, bool columns = true) const;
  /// The same of an object at hand.
  Json Shape(const Engine& engine, const KindVersion& version, Json object,
             bool columns = true) const;
  /// A response with the text, turned into YAML if asked.
  Response Respond(int status, std::string json) const;
};

/// Stored text with apiVersion and kind in front.
std::string WithType(std::string_view api_version, std::string_view kind, std::string_view stored);

}  // namespace isthmus::lab::apiserver
