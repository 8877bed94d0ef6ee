#pragma once

#include <string>
#include <vector>

#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Says which template a pod of a stateful or daemon set was made from.
inline constexpr char kRevisionLabel[] = "controller-revision-hash";

/// Whether a pod counts: not being deleted and not ended.
bool IsActive(const Json& pod);
bool IsReady(const Json& pod);

/// A new pod from a template, controlled by `owner`. `name` empty: generated from the owner's.
Json PodFromTemplate(const Json& owner, const Json& pod_template, const std::string& name = "");

/// A short stable text that stands for another, of the letters that Kubernetes uses in generated
/// names.
std::string ShortHash(std::string_view text, int length);
/// The same for a template, as in pod-template-hash.
std::string TemplateHash(const Json& pod_template);

/// "25%" of `total`, or a number.
int64_t Portion(const Json& value, int64_t total, bool round_up);

/// Sets a condition; its transition time changes only with its status.
void SetCondition(Json& status, const std::string& type, bool is_true, const std::string& reason,
                  const std::string& message, base::Time now);

}  // namespace isthmus::lab::controllers
