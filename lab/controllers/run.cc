#include "lab/controllers/run.h"

#include <csignal>
#include <cstdio>
#include <functional>
#include <map>

#include "base/files.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/strings.h"
#include "kubeclient/config.h"
#include "lab/controllers/accounts.h"
#include "lab/controllers/daemon_sets.h"
#include "lab/controllers/deployments.h"
#include "lab/controllers/endpoint_slices.h"
#include "lab/controllers/garbage_collector.h"
#include "lab/controllers/jobs.h"
#include "lab/controllers/load_balancers.h"
#include "lab/controllers/manager.h"
#include "lab/controllers/replica_sets.h"
#include "lab/controllers/scheduler.h"
#include "lab/controllers/signing_requests.h"
#include "lab/controllers/stateful_sets.h"
#include "lab/controllers/statuses.h"

namespace isthmus::lab::controllers {
namespace {

constexpr char kUsage[] =
    "usage: isthmus-lab controllers --kubeconfig FILE (--pki-dir DIR | --ca-file FILE) "
    "[options]\n\n"
    "Runs the controllers of one cluster: workloads, endpoint slices, load balancers, accounts and "
    "tokens, certificates,\n"
    "placement of pods, garbage collection.\n\n"
    "  --kubeconfig FILE        how to reach the cluster as its administrator\n"
    "  --ca-file FILE           certificates of the cluster's CA\n"
    "  --ca-key-file FILE       its key; without it requests for certificates are not signed\n"
    "  --account-key-file FILE  RSA key of service-account tokens\n"
    "  --issuer URL             issuer of service-account tokens\n"
    "  --pki-dir DIR            all three of them: ca.crt, ca.key, sa.key\n"
    "  --lb-pool RANGE          addresses for load balancers, \"a.b.c.d\" or \"first-last\"; "
    "repeat for more\n"
    "  --lb-address NS/NAME=IP  the address of one service; repeat for more\n"
    "  --token-secrets          a token Secret for every service account, as before Kubernetes "
    "1.24\n\n"
    "example: isthmus-lab controllers --kubeconfig /tmp/c1/controllers.kubeconfig --pki-dir "
    "/tmp/c1/pki\n";

base::Status Parse(int argc, char** argv, Options& options) {
  const std::map<std::string, std::function<void(const std::string&)>> known = {
      {"--kubeconfig", [&](const std::string& value) { options.kubeconfig = value; }},
      {"--ca-file", [&](const std::string& value) { options.ca_file = value; }},
      {"--ca-key-file", [&](const std::string& value) { options.ca_key_file = value; }},
      {"--account-key-file", [&](const std::string& value) { options.account_key_file = value; }},
      {"--issuer", [&](const std::string& value) { options.issuer = value; }},
      {"--pki-dir",
       [&](const std::string& value) {
         options.ca_file = value + "/ca.crt";
         options.ca_key_file = value + "/ca.key";
         options.account_key_file = value + "/sa.key";
       }},
      {"--lb-pool", [&](const std::string& value) { options.load_balancer_pool.push_back(value); }},
      {"--lb-address",
       [&](const std::string& value) { options.load_balancer_fixed.push_back(value); }},
  };
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i], value;
    if (name == "--token-secrets") {
      options.token_secrets = true;
      continue;
    }
    if (size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < argc) {
      value = argv[++i];
    }
    auto option = known.find(name);
    if (option == known.end())
      return base::Error(base::Code::kInvalidArgument, "unknown option {}", name);
    option->second(value);
  }
  if (options.kubeconfig.empty() || options.ca_file.empty())
    return base::Error(base::Code::kInvalidArgument,
                       "--kubeconfig and --pki-dir (or --ca-file) are needed");
  return {};
}

using Controllers = std::vector<std::unique_ptr<Controller>>;

base::Result<AddressPool> ReadPool(const Options& options) {
  AddressPool pool;
  ASSIGN_OR_RETURN(pool.addresses, ExpandAddresses(options.load_balancer_pool),
                   "load-balancer pool");
  for (const std::string& fixed : options.load_balancer_fixed) {
    size_t equals = fixed.find('=');
    if (equals == std::string::npos)
      return base::Error(base::Code::kInvalidArgument,
                         "\"{}\" is not of the form namespace/service=address", fixed);
    pool.fixed[fixed.substr(0, equals)] = fixed.substr(equals + 1);
  }
  return pool;
}

base::Status AddAccounts(const Options& options, const std::string& root_pem,
                         Controllers& controllers) {
  controllers.push_back(std::make_unique<NamespaceDefaults>(root_pem));
  if (options.account_key_file.empty()) return {};
  ASSIGN_OR_RETURN(std::string pem, base::ReadFile(options.account_key_file),
                   "service-account key");
  ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::FromPem(pem), options.account_key_file);
  controllers.push_back(std::make_unique<TokenController>(
      TokenSettings{key, options.issuer, root_pem, options.token_secrets}));
  return {};
}

base::Status AddSigning(const Options& options, const std::string& root_pem,
                        const base::Clock& clock, Controllers& controllers) {
  if (options.ca_key_file.empty()) return {};
  ASSIGN_OR_RETURN(std::string key_pem, base::ReadFile(options.ca_key_file), "CA key");
  ASSIGN_OR_RETURN(pki::KeyCertificate pair, pki::KeyCertificate::FromPem(key_pem, root_pem),
                   options.ca_key_file);
  pki::TrustBundle roots({pair.chain.back()});
  pki::IssueLimits limits;
  limits.max_ttl = 3650 * pki::kDay;
  ASSIGN_OR_RETURN(pki::IssuingCa ca,
                   pki::IssuingCa::Create(std::move(pair), std::move(roots), clock, limits),
                   options.ca_file);
  controllers.push_back(std::make_unique<SigningController>(std::move(ca)));
  return {};
}

}  // namespace

base::Status RunControllers(const Options& options) {
  base::Loop loop;
  base::SystemClock clock;
  ASSIGN_OR_RETURN(kubeclient::RestConfig config,
                   kubeclient::LoadKubeconfig(options.kubeconfig, ""), "kubeconfig");
  ASSIGN_OR_RETURN(auto client, kubeclient::Client::Create(loop, std::move(config)), "kubeconfig");
  ASSIGN_OR_RETURN(std::string root_pem, base::ReadFile(options.ca_file), "CA certificates");
  ASSIGN_OR_RETURN(AddressPool pool, ReadPool(options), "options");
  Controllers controllers;
  RETURN_IF_ERROR(AddAccounts(options, root_pem, controllers), "options");
  RETURN_IF_ERROR(AddSigning(options, root_pem, clock, controllers), "options");
  controllers.push_back(std::make_unique<DeploymentController>());
  controllers.push_back(std::make_unique<ReplicaSetController>());
  controllers.push_back(std::make_unique<DaemonSetController>());
  controllers.push_back(std::make_unique<StatefulSetController>());
  controllers.push_back(std::make_unique<JobController>());
  controllers.push_back(std::make_unique<EndpointSliceController>());
  controllers.push_back(std::make_unique<LoadBalancerController>(std::move(pool)));
  controllers.push_back(std::make_unique<GarbageCollector>(Manager::Watched()));
  controllers.push_back(std::make_unique<Scheduler>());
  controllers.push_back(std::make_unique<DisruptionBudgetController>());
  controllers.push_back(std::make_unique<AutoscalerController>());
  controllers.push_back(std::make_unique<ClaimController>());
  controllers.push_back(std::make_unique<OrphanedPodController>());
  Manager manager(loop, *client, clock, std::move(controllers));
  manager.Start();
  base::Signals signals(loop, {SIGTERM, SIGINT}, [&loop](int) { loop.Stop(); });
  loop.Run();
  return {};
}

int Run(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--help" || std::string_view(argv[i]) == "-h")
      return std::fputs(kUsage, stdout), 0;
  Options options;
  if (base::Status status = Parse(argc, argv, options); !status.ok()) {
    std::fprintf(stderr, "isthmus-lab controllers: %s\n\n%s", status.message().c_str(), kUsage);
    return 2;
  }
  base::Status status = RunControllers(options);
  if (!status.ok()) std::fprintf(stderr, "isthmus-lab controllers: %s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace isthmus::lab::controllers
