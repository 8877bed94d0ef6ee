#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "lab/apiserver/admission.h"

namespace isthmus::http {
class Client;
}

namespace isthmus::lab::apiserver {

/// Asks admission webhooks over HTTPS, by URL or by Service (whose endpoints it looks up itself, as
/// no kube-proxy is there to do it). Mutating hooks one after the other in order of configuration
/// and name, and once more those that want it when a later one changed the object; validating hooks
/// all at once. Lives on its loop.
class HttpWebhooks : public WebhookDispatcher {
 public:
  HttpWebhooks(base::Loop& loop, Engine& engine);
  ~HttpWebhooks() override;
  void Mutate(std::shared_ptr<Admission> admission, Done done) override;
  void Validate(std::shared_ptr<Admission> admission, Done done) override;

 private:
  struct Hook;
  struct Round;
  using HookPtr = std::shared_ptr<const Hook>;
  using Answer = std::function<void(base::Result<Json>)>;
  void Load();
  std::vector<HookPtr> Matching(const std::vector<HookPtr>& hooks,
                                const Admission& admission) const;
  bool Matches(const Hook& hook, const Admission& admission) const;
  void Call(const HookPtr& hook, const Admission& admission, Answer answer);
  base::Result<std::pair<std::string, std::string>> Target(const Hook& hook) const;
  void Step(std::shared_ptr<Round> round);
  /// Takes a hook's answer in; the refusal when it says no.
  std::optional<kubeapi::ApiError> Accept(const Hook& hook, Admission* admission,
                                          const base::Result<Json>& answer, bool mutating) const;

  base::Loop& loop_;
  Engine& engine_;
  bool stale_ = true;
  std::vector<HookPtr> mutating_;
  std::vector<HookPtr> validating_;
  std::map<std::string, std::shared_ptr<http::Client>> clients_;
  std::shared_ptr<void> subscription_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isthmus::lab::apiserver
