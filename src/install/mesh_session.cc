#include "install/mesh_session.h"

#include <fmt/ranges.h>

#include <thread>

namespace isthmus::install {

/// The loop must outlive the client that lives on it.
struct MeshSession::Member {
  base::Loop loop;
  std::unique_ptr<kubeclient::Client> client;
  std::unique_ptr<ClusterAccess> access;
};

MeshSession::MeshSession(const Topology& topology, ClusterLine report)
    : topology_(topology), report_(std::move(report)) {}

MeshSession::~MeshSession() = default;

base::Status MeshSession::Connect(const std::string& name, const std::string& context,
                                  const std::string& kubeconfig) {
  auto member = std::make_unique<Member>();
  ASSIGN_OR_RETURN(kubeclient::RestConfig config, kubeclient::LoadKubeconfig(kubeconfig, context),
                   "cluster " + name);
  ASSIGN_OR_RETURN(member->client, kubeclient::Client::Create(member->loop, std::move(config)),
                   "cluster " + name);
  member->access = std::make_unique<ClusterAccess>(member->loop, *member->client);
  members_[name] = std::move(member);
  return {};
}

base::Result<std::unique_ptr<MeshSession>> MeshSession::Open(const Topology& topology,
                                                             const std::string& kubeconfig,
                                                             ClusterLine report, Options options) {
  std::unique_ptr<MeshSession> session(new MeshSession(topology, std::move(report)));
  for (const TopologyCluster& cluster : topology.clusters)
    if (!options.absent.contains(cluster.name))
      RETURN_IF_ERROR(session->Connect(cluster.name, cluster.context, kubeconfig), "");
  for (const TopologyHost& host : topology.hosts) {
    if (options.absent.contains(host.name)) continue;
    const base::Status status = session->Connect(host.name, host.context, kubeconfig);
    if (!status.ok() && options.with_hosts) return status;
  }
  const auto reach = [](ClusterAccess& access) {
    return access.Get(kNamespaces, "", "kube-system").status();
  };
  RETURN_IF_ERROR(
      session->OnAll([&](const TopologyCluster&, ClusterAccess& access) { return reach(access); }),
      "reaching the API servers");
  for (const TopologyHost& host : topology.hosts) {
    if (!session->has(host.name)) continue;
    const base::Status status = reach(session->access(host.name));
    if (!status.ok() && options.with_hosts) return status.In("reaching cluster " + host.name);
    if (!status.ok()) session->members_.erase(host.name);
  }
  return session;
}

base::Status MeshSession::OnHosts(const HostWork& work) {
  for (const TopologyHost& host : topology_.hosts)
    if (has(host.name)) RETURN_IF_ERROR(work(host, access(host.name)), "cluster " + host.name);
  return {};
}

base::Status MeshSession::OnEach(const std::vector<const TopologyCluster*>& clusters,
                                 const Work& work) {
  std::vector<base::Status> results(clusters.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < clusters.size(); ++i)
    threads.emplace_back([&, i] { results[i] = work(*clusters[i], access(clusters[i]->name)); });
  for (std::thread& thread : threads) thread.join();
  std::vector<std::string> messages;
  base::Code code = base::Code::kOk;
  for (size_t i = 0; i < clusters.size(); ++i) {
    if (results[i].ok()) continue;
    if (code == base::Code::kOk) code = results[i].code();
    messages.push_back(clusters[i]->name + ": " + results[i].message());
  }
  return messages.empty() ? base::Status()
                          : base::Status(code, fmt::format("{}", fmt::join(messages, "\n")));
}

base::Status MeshSession::OnAll(const Work& work) {
  std::vector<const TopologyCluster*> all;
  for (const TopologyCluster& cluster : topology_.clusters)
    if (has(cluster.name)) all.push_back(&cluster);
  return OnEach(all, work);
}

ClusterAccess& MeshSession::access(const std::string& cluster) {
  return *members_.at(cluster)->access;
}

void MeshSession::Report(std::string_view cluster, std::string_view line) {
  std::lock_guard lock(reporting_);
  report_(cluster, line);
}

}  // namespace isthmus::install
