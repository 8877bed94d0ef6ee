#include <fmt/format.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/files.h"
#include "base/strings.h"
#include "base/version.h"
#include "cli/command.h"
#include "install/apply.h"
#include "install/operator.h"
#include "install/render.h"
#include "install/trust.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

/// What install, uninstall and manifest generate have in common.
struct InstallOptions {
  std::vector<std::string> files;
  std::vector<std::string> sets;
  std::string revision;
  std::string manifests;
  std::string readiness_timeout = "5m0s";
  std::string output;
  bool yes = false;
  bool dry_run = false;
  bool force = false;
  bool verify = false;
  bool purge = false;
  bool verbose = false;
  bool wait = true;
  bool cluster_specific = false;
};

Result<install::Installation> Resolve(Session& session, const InstallOptions& options) {
  install::OperatorInput input;
  for (size_t i = 0; i < options.files.size(); ++i) {
    const std::string& file = options.files[i];
    if (file == "-" && i + 1 != options.files.size())
      return Error(Code::kInvalidArgument, "-f -: standard input must be the last file");
    ASSIGN_OR_RETURN(std::string text, session.ReadInput(file), "reading the installation");
    input.files.push_back({file == "-" ? "standard input" : file, std::move(text)});
  }
  if (!options.manifests.empty())
    return Error(Code::kUnimplemented,
                 "--manifests {}: the manifests are built in and cannot be replaced",
                 options.manifests);
  input.sets = options.sets;
  input.revision = options.revision;
  input.force = options.force;
  return install::ResolveInstallation(input);
}

void Warn(Session& session, const install::Installation& installation) {
  for (const std::string& warning : installation.warnings)
    session.Err(fmt::format("! {}\n", warning));
}

/// A secret cacerts that istiod would refuse is told before anything is changed: with it no proxy
/// would ever get a certificate.
Status CheckPluggedCa(Session& session, const install::Installation& installation) {
  if (!installation.Enabled("pilot")) return {};
  const std::string& ns = session.globals.istio_ns;
  auto secret = session.Get(kSecrets, ns, "cacerts");
  if (!secret.ok())
    return secret.status().code() == Code::kUnavailable ? secret.status() : Status();
  return install::CheckOwnCaCerts(*secret, base::SystemClock()).In(fmt::format("namespace {}", ns));
}

int RunInstall(Session& session, const InstallOptions& options) {
  const auto timeout = base::ParseDuration(options.readiness_timeout);
  if (!timeout.ok()) return session.Fail(timeout.status().In("--readiness-timeout"));
  auto installation = Resolve(session, options);
  if (!installation.ok()) return session.Fail(installation.status());
  Warn(session, *installation);
  auto components = install::Render(*installation);
  if (!components.ok()) return session.Fail(components.status());
  if (options.dry_run) {
    for (const install::Component& component : *components)
      session.Err(fmt::format("- {}: {} objects would be applied\n", component.title,
                              component.objects.size()));
    return 0;
  }
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  if (const Status ca = CheckPluggedCa(session, *installation); !ca.ok()) return session.Fail(ca);
  if (!options.yes &&
      !session.Confirm(fmt::format(
          "This will install the Istio {} profile \"{}\" into the cluster. Proceed? (y/N) ",
          base::kVersion, installation->profile))) {
    session.Out("Cancelled.\n");
    return 1;
  }
  install::ApplyOptions apply;
  apply.readiness_timeout = *timeout;
  apply.wait = options.wait;
  const Status status = install::Apply(
      install::ClusterAccess(session.loop(), **client), *installation, *components, apply,
      [&session](std::string_view line) { session.Err(fmt::format("{}\n", line)); });
  return status.ok() ? 0 : session.Fail(status.In("failed to install manifests"));
}

int RunGenerate(Session& session, const InstallOptions& options) {
  auto installation = Resolve(session, options);
  if (!installation.ok()) return session.Fail(installation.status());
  Warn(session, *installation);
  auto components = install::Render(*installation);
  if (!components.ok()) return session.Fail(components.status());
  std::string text;
  for (const Json& object : install::ManifestOrder(*components))
    text += kubeapi::ToYaml(object) + "\n---\n";
  if (options.output.empty()) {
    session.Out(text);
    return 0;
  }
  const Status written = base::WriteFile(options.output, text);
  return written.ok() ? 0 : session.Fail(written);
}

/// What a dry run says would go; also tells whether a gateway is among it.
struct Removal {
  std::vector<std::string> lines;
  bool gateway = false;
};

Result<Removal> FindRemoval(Session& session, kubeclient::Client& client,
                            install::UninstallOptions what) {
  what.dry_run = true;
  Removal removal;
  const Status status = install::Uninstall(
      install::ClusterAccess(session.loop(), client), what, [&removal](std::string_view line) {
        removal.lines.emplace_back(line);
        if (line.find("Kind=Deployment/") != line.npos && line.find("gateway") != line.npos)
          removal.gateway = true;
      });
  if (!status.ok()) return status;
  return removal;
}

int RunUninstall(Session& session, const InstallOptions& options) {
  std::string revision = options.revision;
  for (const std::string& set : options.sets)
    if (const auto [path, value] = base::Cut(set, "="); base::Trim(path) == "revision")
      revision = base::Trim(value);
  if (options.files.empty() && !options.purge && revision.empty())
    return session.Fail(
        Error(Code::kInvalidArgument, "say what to remove: --purge, --revision or -f FILE"));
  install::UninstallOptions what;
  what.purge = options.purge;
  if (options.purge) {
    if (!options.files.empty() || !revision.empty())
      session.Err("! --purge removes everything; --revision and --filename are ignored\n");
  } else {
    what.revision = revision;
    if (!options.files.empty()) {
      auto installation = Resolve(session, options);
      if (!installation.ok()) return session.Fail(installation.status());
      what.owner_ns = installation->ns;
      if (installation->named) what.owner_name = installation->owner_name;
      if (what.revision.empty()) what.revision = installation->revision;
    }
  }
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  auto removal = FindRemoval(session, **client, what);
  if (!removal.ok()) return session.Fail(removal.status());
  if (options.purge) session.Out("All Istio resources will be pruned from the cluster\n");
  const bool anything = removal->lines.size() > 1;
  if (anything && !options.yes && !options.dry_run && (options.purge || removal->gateway)) {
    if (!options.purge) session.Out("Gateways would be removed; traffic through them will fail.\n");
    if (!session.Confirm("Proceed? (y/N) ")) {
      session.Out("Cancelled.\n");
      return 1;
    }
  }
  what.dry_run = options.dry_run;
  const Status status = install::Uninstall(
      install::ClusterAccess(session.loop(), **client), what,
      [&session](std::string_view line) { session.Out(fmt::format("{}\n", line)); });
  return status.ok() ? 0 : session.Fail(status);
}

void AddInputFlags(CLI::App* command, InstallOptions& options) {
  AddList(command, "-f,--filename", options.files,
          "File with an IstioOperator; \"-\" is standard input (repeat or a,b)")
      ->delimiter(',');
  AddList(command, "-s,--set", options.sets,
          "Sets one value, as in values.global.network=net1 (repeat)");
  command->add_option("-r,--revision", options.revision, "Revision of the control plane");
  command
      ->add_option("-d,--manifests,--charts", options.manifests,
                   "Folder of manifests (built in here)")
      ->group("");
  command->add_flag("--force", options.force, "Goes on in spite of unknown fields");
}

void AddInstall(CLI::App* parent, Commands& commands, const std::string& name,
                const std::vector<std::string>& aliases) {
  auto options = std::make_shared<InstallOptions>();
  CLI::App* command = AddCommand(
      parent, name, "Installs or reconfigures the control plane and its gateways",
      "  # The default profile\n  % install\n"
      "  # What a file says, into a named cluster, without asking\n"
      "  % install --context=cluster1 -y -f cluster1.yaml\n"
      "  # An east-west gateway\n"
      "  samples/multicluster/gen-eastwest-gateway.sh --network network1 | % install -y -f -\n",
      aliases);
  AddInputFlags(command, *options);
  command->add_flag("-y,--skip-confirmation", options->yes, "Does not ask");
  command
      ->add_option("--readiness-timeout", options->readiness_timeout,
                   "How long each component may take to be ready")
      ->capture_default_str();
  command->add_flag("--dry-run", options->dry_run, "Checks and renders, but changes nothing");
  command->add_flag("--verify", options->verify, "Accepted; the installation is always awaited");
  command->add_flag("-w,--wait", options->wait, "Waits until everything is ready (the default)");
  OnChosen(command, commands,
           [options](Session& session) { return RunInstall(session, *options); });
}

}  // namespace

void AddUninstallCommand(Commands& commands, CLI::App* parent) {
  auto options = std::make_shared<InstallOptions>();
  CLI::App* command = AddCommand(parent, "uninstall", "Removes what install has made",
                                 "  # Everything, definitions too\n  % uninstall --purge\n"
                                 "  # What one file installed\n  % uninstall -f cluster1.yaml\n");
  AddInputFlags(command, *options);
  command->add_flag("--purge", options->purge,
                    "Removes every Istio object of the cluster, of all revisions");
  command->add_flag("-y,--skip-confirmation", options->yes, "Does not ask");
  command->add_flag("--dry-run", options->dry_run, "Tells what would be removed");
  command->add_flag("-v,--verbose", options->verbose, "Accepted; each object is always told");
  OnChosen(command, commands,
           [options](Session& session) { return RunUninstall(session, *options); });
}

void AddInstallCommands(Commands& commands) {
  AddInstall(&commands.root, commands, "install", {"apply"});
  AddInstall(&commands.root, commands, "upgrade", {});
  AddUninstallCommand(commands, &commands.root);
  CLI::App* manifest = AddGroup(&commands.root, "manifest", "Manifests of an installation");
  AddInstall(manifest, commands, "install", {"apply"});
  auto options = std::make_shared<InstallOptions>();
  CLI::App* generate =
      AddCommand(manifest, "generate", "Prints the manifests of an installation",
                 "  % manifest generate -f cluster1.yaml > manifests.yaml\n"
                 "  % manifest generate --set profile=demo | kubectl apply -f -\n");
  AddInputFlags(generate, *options);
  generate->add_option("-o,--output", options->output,
                       "File to write to instead of standard output");
  generate->add_flag("--dry-run", options->dry_run, "Accepted; generating never changes a cluster");
  generate->add_flag("--cluster-specific", options->cluster_specific,
                     "Accepted; nothing here depends on the cluster");
  OnChosen(generate, commands,
           [options](Session& session) { return RunGenerate(session, *options); });
}

}  // namespace isthmus::cli
