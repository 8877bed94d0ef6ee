#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// One write on its way through admission.
struct Admission {
  KindPtr kind;
  const KindVersion* version = nullptr;  ///< Lives with `kind`.
  std::string operation;                 ///< CREATE UPDATE DELETE CONNECT
  std::string subresource;
  std::string ns;
  std::string name;
  User user;
  bool dry_run = false;
  Json object;      ///< Null for DELETE.
  Json old_object;  ///< Null for CREATE.
  Json options;
  std::vector<std::string> warnings;  ///< For Warning headers.
};

/// Asks the admission webhooks. `done` gets the refusal, or nothing when all agree; it may come
/// later.
class WebhookDispatcher {
 public:
  using Done = std::function<void(std::optional<kubeapi::ApiError>)>;
  virtual ~WebhookDispatcher() = default;
  /// Lets the mutating webhooks change admission->object.
  virtual void Mutate(std::shared_ptr<Admission> admission, Done done) = 0;
  virtual void Validate(std::shared_ptr<Admission> admission, Done done) = 0;
};

/// The built-in admission plugins: namespace lifecycle, service accounts, default tolerations,
/// priority. Changes admission->object; returns the refusal.
std::optional<kubeapi::ApiError> AdmitBuiltin(const Engine& engine, Admission* admission);

}  // namespace isthmus::lab::apiserver
