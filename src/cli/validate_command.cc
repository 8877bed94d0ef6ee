#include <fmt/format.h>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/documents.h"
#include "config/kinds.h"
#include "config/validate.h"
#include "install/operator.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using kubeapi::StringAt;

struct ValidateOptions {
  std::vector<std::string> files;
};

/// What is wrong with one object, a sentence each; warnings apart.
struct Findings {
  std::vector<std::string> errors, warnings;
};

/// Service ports say their protocol by their name, or by appProtocol.
void CheckService(const Json& service, Findings& findings) {
  for (const Json& port : kubeapi::ItemsAt(service, {"spec", "ports"})) {
    if (!StringAt(port, {"appProtocol"}).empty()) continue;
    const std::string name = StringAt(port, {"name"});
    const std::string word = name.substr(0, name.find('-'));
    constexpr std::string_view kKnown =
        " http http2 https grpc grpc-web mongo mysql redis tcp tls udp ";
    if (kKnown.find(fmt::format(" {} ", word)) == kKnown.npos && name != "grpc-web")
      findings.warnings.push_back(
          fmt::format("port {} (\"{}\") does not say its protocol; name it like http-{}",
                      kubeapi::IntAt(port, {"port"}), name, name.empty() ? "NAME" : name));
  }
}

Findings Check(const Json& object) {
  Findings findings;
  const std::string kind = kubeapi::KindOf(object);
  const std::string api_version = kubeapi::ApiVersionOf(object);
  if (kind.empty() || api_version.empty()) {
    findings.errors.push_back("apiVersion and kind must be given");
    return findings;
  }
  if (kind == "IstioOperator") {
    install::OperatorInput input;
    input.files.push_back({kubeapi::NameOf(object), kubeapi::ToYaml(object)});
    auto installation = install::ResolveInstallation(input);
    if (!installation.ok())
      findings.errors.push_back(installation.status().message());
    else
      findings.warnings = installation->warnings;
    return findings;
  }
  if (kind == "Service" && api_version == "v1") CheckService(object, findings);
  const std::string group(kubeapi::GroupOf(api_version));
  if (!group.ends_with("istio.io")) return findings;
  const config::Kind* known = config::FindKind(group, kind);
  if (known == nullptr) {
    findings.errors.push_back(fmt::format("{} {} is no kind of Istio's", api_version, kind));
    return findings;
  }
  const config::Validation result = config::Validate(*known, object);
  for (const config::Issue& issue : result.errors) findings.errors.push_back(issue.text());
  for (const config::Issue& issue : result.warnings) findings.warnings.push_back(issue.text());
  return findings;
}

int RunValidate(Session& session, const ValidateOptions& options) {
  if (options.files.empty())
    return session.Fail(Error(Code::kInvalidArgument, "give files to check with -f"));
  std::vector<std::string> errors;
  for (const std::string& path : options.files) {
    auto files = ExpandPath(path);
    if (!files.ok()) return session.Fail(files.status());
    for (const std::string& file : *files) {
      auto text = session.ReadInput(file);
      if (!text.ok()) return session.Fail(text.status());
      auto documents = ReadDocuments(*text, file);
      if (!documents.ok()) {
        errors.push_back(documents.status().message());
        continue;
      }
      const size_t before = errors.size();
      for (const Document& document : *documents) {
        const std::string name = kubeapi::Describe(document.object);
        const Findings findings = Check(document.object);
        for (const std::string& warning : findings.warnings)
          session.Err(fmt::format("warning: {}: {}: {}\n", file, name, warning));
        for (const std::string& error : findings.errors)
          errors.push_back(fmt::format("{}: {}", name, error));
      }
      if (errors.size() == before)
        session.Out(file == "-" ? std::string("validation succeed\n")
                                : fmt::format("\"{}\" is valid\n", file));
    }
  }
  if (errors.empty()) return 0;
  std::string text =
      fmt::format("{} error{} occurred:", errors.size(), errors.size() == 1 ? "" : "s");
  for (const std::string& error : errors) text += "\n\t* " + error;
  return session.Fail(base::Status(Code::kInvalidArgument, text));
}

}  // namespace

void AddValidateCommand(Commands& commands) {
  auto options = std::make_shared<ValidateOptions>();
  CLI::App* command = AddCommand(
      &commands.root, "validate", "Checks files of Istio configuration without a cluster",
      "  % validate -f samples/bookinfo/networking/bookinfo-gateway.yaml\n"
      "  kubectl get services -o yaml | % validate -f -\n",
      {"v"});
  AddList(command, "-f,--filename", options->files, "File, folder or \"-\" (repeat)")
      ->delimiter(',');
  OnChosen(command, commands,
           [options](Session& session) { return RunValidate(session, *options); });
}

}  // namespace isthmus::cli
