// JSON and YAML, and what is read out of them before anybody is asked who sent it.
#include "config/validate.h"
#include "fuzz.h"
#include "inject/review.h"
#include "kubeapi/json.h"
#include "kubeapi/patch.h"
#include "kubeclient/config.h"

namespace isthmus::fuzz {
namespace {

using kubeapi::Json;

class DocumentTarget final : public Target {
 public:
  void Run(std::string_view input, Random&) override {
    if (const auto value = kubeapi::ParseJson(input); value.ok()) ThereAndBack(*value);
    const auto documents = kubeapi::ParseYamlStream(input);
    if (!documents.ok()) return;
    for (const Json& document : *documents) ThereAndBack(document);
    if (documents->size() == 2) Patch((*documents)[0], (*documents)[1]);
  }

 private:
  static void ThereAndBack(const Json& value) {
    // Bytes that are no UTF-8 are replaced by the first printing, so the second decides.
    const auto json = kubeapi::ParseJson(kubeapi::ToJson(value));
    Require(json.ok(), "what is printed as JSON is JSON");
    Require(kubeapi::ParseJson(kubeapi::ToJson(*json, 2)).ok() &&
                *kubeapi::ParseJson(kubeapi::ToJson(*json, 2)) == *json,
            "JSON survives printing");
    const std::string text = kubeapi::ToYaml(*json);
    const auto yaml = kubeapi::ParseYaml(text);
    if (yaml.ok() && *yaml == *json) return;
    Require(false, "YAML survives printing: " + (yaml.ok() ? text : yaml.status().message()));
  }

  static void Patch(const Json& target, const Json& patch) {
    (void)kubeapi::ApplyJsonPatch(target, patch);
    (void)kubeapi::ApplyStrategicPatch(target, patch, kubeapi::ListRules());
    const Json merge = kubeapi::DiffMergePatch(target, patch);
    (void)kubeapi::ApplyMergePatch(target, merge);
    const auto patched = kubeapi::ApplyJsonPatch(target, kubeapi::DiffJsonPatch(target, patch));
    Require(patched.ok() && *patched == patch, "a patch leads where it was made for");
  }
};

class KubeconfigTarget final : public Target {
 public:
  void Run(std::string_view input, Random& random) override {
    const auto config = kubeclient::ParseKubeconfig(input, random.OneIn(4) ? "other" : "",
                                                    kubeclient::KubeconfigTrust::kRemoteSecret);
    if (!config.ok()) {
      Require(!config.status().message().empty(), "a refusal says why");
      return;
    }
    Require(config->token_file.empty(), "a remote secret names no file");
    Require(config->server.starts_with("https://") || config->server.starts_with("http://"),
            "a kubeconfig has a server");
  }
};

class ReviewTarget final : public Target {
 public:
  void Run(std::string_view input, Random& random) override {
    const auto answer = inject::AnswerReview(
        random.OneIn(16) ? "text/plain" : "application/json", input,
        [](const inject::ReviewRequest& request) {
          const config::Validation found = config::Validate(request.object);
          return inject::ReviewAnswer{.allowed = found.ok(), .message = found.text()};
        });
    Require(answer.status == 200 || answer.status == 400 || answer.status == 415,
            "a review is answered or refused");
    if (answer.status == 200)
      Require(kubeapi::ParseJson(answer.body).ok(), "the answer to a review is JSON");
    // The object alone, too: most changes then hit it.
    if (const auto object = kubeapi::ParseYaml(input); object.ok()) (void)config::Validate(*object);
  }
};

}  // namespace

std::unique_ptr<Target> NewDocumentTarget() { return std::make_unique<DocumentTarget>(); }
std::unique_ptr<Target> NewKubeconfigTarget() { return std::make_unique<KubeconfigTarget>(); }
std::unique_ptr<Target> NewReviewTarget() { return std::make_unique<ReviewTarget>(); }

}  // namespace isthmus::fuzz
