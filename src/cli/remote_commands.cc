#include <fmt/format.h>

#include "cli/command.h"
#include "install/remote_secret.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;

struct RemoteSecretFlags {
  install::RemoteSecretOptions secret;
  std::string type = "remote";
  std::string auth_type = "bearer-token";
  std::string plugin_name;
  std::vector<std::string> plugin_config;
  std::string manifests;
  std::string output = "yaml";
  std::string old_name;
};

int RunCreateRemoteSecret(Session& session, RemoteSecretFlags& flags) {
  // Release 1.4 had the name as an argument.
  if (flags.secret.name.empty()) flags.secret.name = flags.old_name;
  if (flags.auth_type != "bearer-token")
    return session.Fail(
        Error(Code::kUnimplemented,
              "--auth-type {}: only bearer-token is supported; control planes refuse other plugins",
              flags.auth_type));
  if (!flags.secret.name.empty() && !kubeapi::IsDnsLabel(flags.secret.name))
    return session.Fail(Error(Code::kInvalidArgument,
                              "--name {}: a cluster name is made of lower-case letters, digits and "
                              "inner dashes, at most 63",
                              flags.secret.name));
  flags.secret.type = flags.type == "config" ? install::RemoteSecretOptions::Type::kConfig
                                             : install::RemoteSecretOptions::Type::kRemote;
  flags.secret.ns = session.globals.ns.empty() ? session.globals.istio_ns : session.globals.ns;
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  auto made =
      install::CreateRemoteSecret(install::ClusterAccess(session.loop(), **client), flags.secret);
  if (!made.ok()) return session.Fail(made.status());
  if (!made->warning.empty()) session.Err(fmt::format("warn: {}\n", made->warning));
  session.Out(flags.output == "json" ? Print(made->secret, "json")
                                     : install::PrintRemoteSecret(made->secret));
  return 0;
}

}  // namespace

void AddRemoteCommands(Commands& commands, CLI::App* group) {
  auto flags = std::make_shared<RemoteSecretFlags>();
  CLI::App* command =
      AddCommand(group, "create-remote-secret",
                 "Prints the secret by which other control planes read this cluster",
                 "  # Let cluster1's control plane see cluster2\n"
                 "  % create-remote-secret --context=cluster2 --name=cluster2 | kubectl apply "
                 "--context=cluster1 -f -\n");
  install::RemoteSecretOptions& secret = flags->secret;
  command->add_option("--name", secret.name,
                      "Name of the cluster; UID of namespace kube-system when absent");
  command->add_option("name", flags->old_name)->group("");
  command->add_option("--server", secret.server,
                      "API server's address as the other clusters reach it");
  command->add_option("--tls-server-name", secret.tls_server_name,
                      "Name to expect in the API server's certificate");
  command->add_option("--type", flags->type, "remote, or config for an external control plane")
      ->check(CLI::IsMember({"remote", "config"}))
      ->capture_default_str();
  command->add_option("--service-account", secret.service_account, "Account whose token is used");
  command
      ->add_option("--create-service-account", secret.create_service_account,
                   "Makes the account if it is missing")
      ->expected(0, 1)
      ->default_str("true");
  command->add_option("--secret-name", secret.secret_name,
                      "Which of the account's token secrets to use");
  command->add_option("--auth-type", flags->auth_type, "Kind of credentials")
      ->capture_default_str();
  command->add_option("--auth-plugin-name", flags->plugin_name)->group("");
  AddList(command, "--auth-plugin-config", flags->plugin_config, "")->group("");
  command->add_option("-d,--manifests", flags->manifests)->group("");
  AddOutput(command, flags->output, {"yaml", "json"});
  OnChosen(command, commands,
           [flags](Session& session) { return RunCreateRemoteSecret(session, *flags); });
}

}  // namespace isthmus::cli
