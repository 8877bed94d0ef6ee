#include "lab/controllers/run.h"

#include <csignal>

#include "base/files.h"
#include "base/log.h"
#include "base/signals.h"
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

namespace isthmus::lab::controllers {
namespace {

using Controllers = std::vector<std::unique_ptr<Controller>>;

base::Result<AddressPool> ReadPool(const Options& options) {
  AddressPool pool;
  ASSIGN_OR_RETURN(pool.addresses, ExpandAddresses(options.load_balancer_pool), "load-balancer pool");
  for (const std::string& fixed : options.load_balancer_fixed) {
    size_t equals = fixed.find('=');
    if (equals == std::string::npos)
      return base::Error(base::Code::kInvalidArgument, "\"{}\" is not of the form namespace/service=address", fixed);
    pool.fixed[fixed.substr(0, equals)] = fixed.substr(equals + 1);
  }
  return pool;
}

base::Status AddAccounts(const Options& options, const std::string& root_pem, Controllers& controllers) {
  controllers.push_back(std::make_unique<NamespaceDefaults>(root_pem));
  if (options.account_key_file.empty()) return {};
  ASSIGN_OR_RETURN(std::string pem, base::ReadFile(options.account_key_file), "service-account key");
  ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::FromPem(pem), options.account_key_file);
  controllers.push_back(std::make_unique<TokenController>(TokenSettings{key, options.issuer, root_pem, options.token_secrets}));
  return {};
}

base::Status AddSigning(const Options& options, const std::string& root_pem, const base::Clock& clock, Controllers& controllers) {
  if (options.ca_key_file.empty()) return {};
  ASSIGN_OR_RETURN(std::string key_pem, base::ReadFile(options.ca_key_file), "CA key");
  ASSIGN_OR_RETURN(pki::KeyCertificate pair, pki::KeyCertificate::FromPem(key_pem, root_pem), options.ca_key_file);
  pki::TrustBundle roots({pair.chain.back()});
  pki::IssueLimits limits;
  limits.max_ttl = 3650 * pki::kDay;
  ASSIGN_OR_RETURN(pki::IssuingCa ca, pki::IssuingCa::Create(std::move(pair), std::move(roots), clock, limits), options.ca_file);
  controllers.push_back(std::make_unique<SigningController>(std::move(ca)));
  return {};
}

}  // namespace

base::Status Run(const Options& options) {
  base::Loop loop;
  base::SystemClock clock;
  ASSIGN_OR_RETURN(kubeclient::RestConfig config, kubeclient::LoadKubeconfig(options.kubeconfig, ""), "kubeconfig");
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
  Manager manager(loop, *client, clock, std::move(controllers));
  manager.Start();
  base::Signals signals(loop, {SIGTERM, SIGINT}, [&loop](int) { loop.Stop(); });
  loop.Run();
  return {};
}

}  // namespace isthmus::lab::controllers
