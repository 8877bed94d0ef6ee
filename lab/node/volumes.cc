#include "lab/node/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/encoding.h"
#include "base/files.h"
#include "kubeapi/meta.h"
#include "lab/node/downward.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using Files = std::map<std::string, VolumeFile>;
namespace fs = std::filesystem;

// A path inside a volume must stay inside.
bool SafePath(const std::string& path) {
  if (path.empty() || path.front() == '/') return false;
  for (const auto& part : fs::path(path))
    if (part == ".." || part.empty()) return false;
  return true;
}

// Files out of a ConfigMap or Secret: all keys, or those of `items`.
base::Status AddKeys(const Json& projection, const Json* object, bool secret,
                     const std::string& what, uint32_t default_mode, Files& files) {
  const bool optional = kubeapi::BoolAt(projection, {"optional"});
  if (object == nullptr)
    return optional ? base::Status() : base::Error(base::Code::kNotFound, "{} not found", what);
  std::map<std::string, std::string> values;
  for (const char* field : {"data", "binaryData"}) {
    const Json* data = kubeapi::Find(*object, {field});
    if (data == nullptr || !data->is_object()) continue;
    const bool encoded = secret || std::string_view(field) == "binaryData";
    for (const auto& [key, value] : data->items()) {
      if (!value.is_string()) continue;
      auto decoded =
          encoded ? base::Base64Decode(value.get<std::string>()) : value.get<std::string>();
      if (decoded.ok()) values[key] = *decoded;
    }
  }
  const Json* items = kubeapi::Find(projection, {"items"});
  if (items == nullptr || !items->is_array() || items->empty()) {
    for (auto& [key, value] : values) files[key] = {std::move(value), default_mode};
    return {};
  }
  for (const Json& item : *items) {
    const std::string key = kubeapi::StringAt(item, {"key"}),
                      path = kubeapi::StringAt(item, {"path"});
    if (!SafePath(path))
      return base::Error(base::Code::kInvalidArgument, "items: path \"{}\" is not allowed", path);
    const auto found = values.find(key);
    if (found == values.end()) {
      if (optional) continue;
      return base::Error(base::Code::kNotFound, "{} has no key \"{}\"", what, key);
    }
    files[path] = {found->second,
                   static_cast<uint32_t>(kubeapi::IntAt(item, {"mode"}, default_mode))};
  }
  return {};
}

base::Status AddDownward(const Json& projection, const Json& pod, const std::string& pod_ip,
                         const NodeFacts& node, uint32_t default_mode, Files& files) {
  const Json* items = kubeapi::Find(projection, {"items"});
  if (items == nullptr || !items->is_array()) return {};
  for (const Json& item : *items) {
    const std::string path = kubeapi::StringAt(item, {"path"});
    if (!SafePath(path))
      return base::Error(base::Code::kInvalidArgument, "downwardAPI: path \"{}\" is not allowed",
                         path);
    std::string value;
    if (const Json* ref = kubeapi::Find(item, {"fieldRef"}); ref != nullptr) {
      ASSIGN_OR_RETURN(value, PodField(pod, kubeapi::StringAt(*ref, {"fieldPath"}), pod_ip, node),
                       "downwardAPI");
    } else if (const Json* ref = kubeapi::Find(item, {"resourceFieldRef"}); ref != nullptr) {
      const std::string wanted = kubeapi::StringAt(*ref, {"containerName"});
      for (const char* list : {"containers", "initContainers"}) {
        const Json* containers = kubeapi::Find(pod, {"spec", list});
        if (containers == nullptr || !containers->is_array()) continue;
        for (const Json& container : *containers) {
          if (kubeapi::StringAt(container, {"name"}) != wanted) continue;
          ASSIGN_OR_RETURN(value, ResourceField(container, *ref, node), "downwardAPI");
        }
      }
    }
    files[path] = {value, static_cast<uint32_t>(kubeapi::IntAt(item, {"mode"}, default_mode))};
  }
  return {};
}

base::Status GiveToGroup(const std::string& path, int64_t group, bool folder) {
  if (group < 0) return {};
  if (chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0)
    return base::Error(base::Code::kInternal, "giving {} to group {}: {}", path, group,
                       strerror(errno));
  if (folder) chmod(path.c_str(), 02777);
  return {};
}

bool SameFiles(const std::string& dir, const Files& files) {
  for (const auto& [path, file] : files) {
    auto text = base::ReadFile(dir + "/..data/" + path);
    if (!text.ok() || *text != file.content) return false;
  }
  // Nothing too many either.
  size_t count = 0;
  std::error_code error;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::canonical(dir + "/..data", error), error))
    count += entry.is_regular_file() ? 1 : 0;
  return !error && count == files.size();
}

}  // namespace

base::Status WriteVolume(const std::string& dir, const Files& files, int64_t group) {
  RETURN_IF_ERROR(base::MakeDirs(dir), "volume");
  std::error_code error;
  if (fs::exists(dir + "/..data", error) && SameFiles(dir, files)) return {};
  std::string fresh = dir + "/..data_XXXXXX";
  if (mkdtemp(fresh.data()) == nullptr)
    return base::Error(base::Code::kInternal, "{}: {}", fresh, strerror(errno));
  chmod(fresh.c_str(), 0755);
  RETURN_IF_ERROR(GiveToGroup(fresh, group, false), "volume");
  std::set<std::string> tops;
  for (const auto& [path, file] : files) {
    const std::string full = fresh + "/" + path;
    fs::create_directories(fs::path(full).parent_path(), error);
    RETURN_IF_ERROR(base::WriteFile(full, file.content, static_cast<int>(file.mode)), "volume");
    RETURN_IF_ERROR(GiveToGroup(full, group, false), "volume");
    // The group must be able to read what is given to it.
    if (group >= 0) chmod(full.c_str(), file.mode | ((file.mode & 0400) >> 3));
    tops.insert(path.substr(0, path.find('/')));
  }
  const std::string old = fs::read_symlink(dir + "/..data", error).string();
  const std::string link = dir + "/..data_link";
  fs::remove(link, error);
  fs::create_symlink(fs::path(fresh).filename(), link, error);
  if (rename(link.c_str(), (dir + "/..data").c_str()) != 0)
    return base::Error(base::Code::kInternal, "switching {}: {}", dir, strerror(errno));
  for (const std::string& top : tops)
    if (!fs::is_symlink(dir + "/" + top))
      fs::create_symlink("..data/" + top, dir + "/" + top, error);
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("..") && tops.count(name) == 0) fs::remove(entry.path(), error);
  }
  if (!old.empty()) fs::remove_all(dir + "/" + old, error);
  return {};
}

struct PodVolumes::Impl : std::enable_shared_from_this<PodVolumes::Impl> {
  Impl(base::Loop& loop_in, std::string dir_in, PodSource& source_in, const NodeFacts& node_in)
      : loop(loop_in), dir(std::move(dir_in)), source(source_in), node(node_in) {}

  // What a Refresh() under way still waits for.
  struct Round {
    Json pod;
    std::string pod_ip;
    std::function<void(base::Status)> done;
    int waiting = 1;
    base::Status status;
  };
  using RoundPtr = std::shared_ptr<Round>;
  struct Token {
    ServiceAccountToken token;
    base::Time renew;
  };

  void Refresh(RoundPtr round);
  void MakeVolume(const RoundPtr& round, const Json& volume);
  base::Status MakePlain(const RoundPtr& round, const Json& volume, const std::string& path);
  base::Status MakeProjected(const RoundPtr& round, const Json& projected, const std::string& path);
  void FetchTokens(const RoundPtr& round, const Json& projected);
  void Finish(const RoundPtr& round, base::Status status);
  void ScheduleRenewal(const RoundPtr& round);
  static std::string TokenKey(const Json& projection) {
    return kubeapi::StringAt(projection, {"audience"}) + "|" +
           std::to_string(kubeapi::IntAt(projection, {"expirationSeconds"}, 3600));
  }

  base::Loop& loop;
  const std::string dir;
  PodSource& source;
  const NodeFacts& node;
  std::map<std::string, Token> tokens;
  base::Timer renewal;
};

PodVolumes::PodVolumes(base::Loop& loop, std::string dir, PodSource& source, const NodeFacts& node)
    : impl_(std::make_shared<Impl>(loop, std::move(dir), source, node)) {}
PodVolumes::~PodVolumes() = default;

void PodVolumes::Refresh(const Json& pod, const std::string& pod_ip,
                         std::function<void(base::Status)> done) {
  auto round = std::make_shared<Impl::Round>();
  round->pod = pod;
  round->pod_ip = pod_ip;
  round->done = std::move(done);
  impl_->Refresh(std::move(round));
}

// First the tokens, which the API server must be asked for, then everything at once.
void PodVolumes::Impl::Refresh(RoundPtr round) {
  const Json* volumes = kubeapi::Find(round->pod, {"spec", "volumes"});
  if (volumes != nullptr && volumes->is_array())
    for (const Json& volume : *volumes)
      if (const Json* projected = kubeapi::Find(volume, {"projected"}); projected != nullptr)
        FetchTokens(round, *projected);
  Finish(round, {});
}

void PodVolumes::Impl::FetchTokens(const RoundPtr& round, const Json& projected) {
  const Json* sources = kubeapi::Find(projected, {"sources"});
  if (sources == nullptr || !sources->is_array()) return;
  for (const Json& entry : *sources) {
    const Json* wanted = kubeapi::Find(entry, {"serviceAccountToken"});
    if (wanted == nullptr) continue;
    const std::string key = TokenKey(*wanted);
    const auto have = tokens.find(key);
    if (have != tokens.end() && have->second.renew > base::SystemClock().Now()) continue;
    ++round->waiting;
    source.RequestToken(
        round->pod, kubeapi::StringAt(*wanted, {"audience"}),
        kubeapi::IntAt(*wanted, {"expirationSeconds"}, 3600),
        [weak = weak_from_this(), round, key](base::Result<ServiceAccountToken> token) {
          auto self = weak.lock();
          if (self == nullptr) return;
          if (!token.ok())
            return self->Finish(round, token.status().In("token of the service account"));
          const base::Time now = base::SystemClock().Now();
          // At four fifths of its life, or a day, as kubelets do.
          const auto life = std::min<base::Time::duration>((token->expires - now) * 4 / 5,
                                                           std::chrono::hours(24));
          self->tokens[key] = {*token, now + life};
          self->Finish(round, {});
        });
  }
}

void PodVolumes::Impl::Finish(const RoundPtr& round, base::Status status) {
  if (round->status.ok()) round->status = std::move(status);
  if (--round->waiting > 0) return;
  const Json* volumes = kubeapi::Find(round->pod, {"spec", "volumes"});
  if (round->status.ok() && volumes != nullptr && volumes->is_array())
    for (const Json& volume : *volumes) MakeVolume(round, volume);
  ScheduleRenewal(round);
  round->done(round->status);
}

void PodVolumes::Impl::ScheduleRenewal(const RoundPtr& round) {
  if (tokens.empty()) return;
  base::Time first = base::Time::max();
  for (const auto& [key, token] : tokens) first = std::min(first, token.renew);
  const auto delay =
      std::max<base::Time::duration>(first - base::SystemClock().Now(), std::chrono::seconds(1));
  renewal = base::Timer::After(loop, delay, [this, pod = round->pod, ip = round->pod_ip] {
    auto next = std::make_shared<Round>();
    next->pod = pod;
    next->pod_ip = ip;
    next->done = [](const base::Status&) {};
    Refresh(std::move(next));
  });
}

void PodVolumes::Impl::MakeVolume(const RoundPtr& round, const Json& volume) {
  const std::string name = kubeapi::StringAt(volume, {"name"});
  if (!kubeapi::IsDnsLabel(name)) {
    round->status = base::Error(base::Code::kInvalidArgument, "volume \"{}\": not a name", name);
    return;
  }
  const std::string path = dir + "/" + name;
  const Json* projected = kubeapi::Find(volume, {"projected"});
  base::Status status = projected != nullptr ? MakeProjected(round, *projected, path)
                                             : MakePlain(round, volume, path);
  if (!status.ok() && round->status.ok()) round->status = status.In("volume \"" + name + "\"");
}

base::Status PodVolumes::Impl::MakePlain(const RoundPtr& round, const Json& volume,
                                         const std::string& path) {
  const std::string ns = kubeapi::NamespaceOf(round->pod);
  const int64_t group = kubeapi::IntAt(round->pod, {"spec", "securityContext", "fsGroup"}, -1);
  Files files;
  if (const Json* config = kubeapi::Find(volume, {"configMap"}); config != nullptr) {
    const std::string name = kubeapi::StringAt(*config, {"name"});
    RETURN_IF_ERROR(
        AddKeys(*config, source.ConfigMap(ns, name), false, "configmap \"" + name + "\"",
                static_cast<uint32_t>(kubeapi::IntAt(*config, {"defaultMode"}, 0644)), files),
        "mount");
    return WriteVolume(path, files, group);
  }
  if (const Json* secret = kubeapi::Find(volume, {"secret"}); secret != nullptr) {
    const std::string name = kubeapi::StringAt(*secret, {"secretName"});
    RETURN_IF_ERROR(
        AddKeys(*secret, source.Secret(ns, name), true, "secret \"" + name + "\"",
                static_cast<uint32_t>(kubeapi::IntAt(*secret, {"defaultMode"}, 0644)), files),
        "mount");
    return WriteVolume(path, files, group);
  }
  if (const Json* downward = kubeapi::Find(volume, {"downwardAPI"}); downward != nullptr) {
    RETURN_IF_ERROR(
        AddDownward(*downward, round->pod, round->pod_ip, node,
                    static_cast<uint32_t>(kubeapi::IntAt(*downward, {"defaultMode"}, 0644)), files),
        "mount");
    return WriteVolume(path, files, group);
  }
  if (const Json* host = kubeapi::Find(volume, {"hostPath"}); host != nullptr) {
    const std::string source_path = kubeapi::StringAt(*host, {"path"});
    if (base::Exists(source_path)) return {};
    return base::Error(base::Code::kNotFound,
                       "hostPath {}: the machine has none, and the lab makes none there",
                       source_path);
  }
  if (volume.contains("emptyDir") || volume.contains("persistentVolumeClaim") ||
      volume.contains("ephemeral")) {
    if (base::Exists(path)) return {};
    RETURN_IF_ERROR(base::MakeDirs(path), "mount");
    chmod(path.c_str(), 0777);
    return GiveToGroup(path, group, true);
  }
  return base::Error(
      base::Code::kUnimplemented,
      "the lab knows emptyDir, configMap, secret, downwardAPI, projected, hostPath and "
      "persistentVolumeClaim volumes, not {}",
      volume.dump());
}

base::Status PodVolumes::Impl::MakeProjected(const RoundPtr& round, const Json& projected,
                                             const std::string& path) {
  const std::string ns = kubeapi::NamespaceOf(round->pod);
  const auto mode = static_cast<uint32_t>(kubeapi::IntAt(projected, {"defaultMode"}, 0644));
  Files files;
  const Json* sources = kubeapi::Find(projected, {"sources"});
  if (sources == nullptr || !sources->is_array()) return WriteVolume(path, files, -1);
  for (const Json& entry : *sources) {
    if (const Json* config = kubeapi::Find(entry, {"configMap"}); config != nullptr) {
      const std::string name = kubeapi::StringAt(*config, {"name"});
      RETURN_IF_ERROR(AddKeys(*config, source.ConfigMap(ns, name), false,
                              "configmap \"" + name + "\"", mode, files),
                      "mount");
    } else if (const Json* secret = kubeapi::Find(entry, {"secret"}); secret != nullptr) {
      const std::string name = kubeapi::StringAt(*secret, {"name"});
      RETURN_IF_ERROR(
          AddKeys(*secret, source.Secret(ns, name), true, "secret \"" + name + "\"", mode, files),
          "mount");
    } else if (const Json* downward = kubeapi::Find(entry, {"downwardAPI"}); downward != nullptr) {
      RETURN_IF_ERROR(AddDownward(*downward, round->pod, round->pod_ip, node, mode, files),
                      "mount");
    } else if (const Json* wanted = kubeapi::Find(entry, {"serviceAccountToken"});
               wanted != nullptr) {
      const std::string file = kubeapi::StringAt(*wanted, {"path"});
      const auto token = tokens.find(TokenKey(*wanted));
      if (!SafePath(file) || token == tokens.end())
        return base::Error(base::Code::kInvalidArgument,
                           "serviceAccountToken: path \"{}\" is not allowed", file);
      files[file] = {token->second.token.token, 0644};
    }
  }
  return WriteVolume(path, files,
                     kubeapi::IntAt(round->pod, {"spec", "securityContext", "fsGroup"}, -1));
}

base::Result<std::vector<Mount>> PodVolumes::MountsOf(const Json& pod, const Json& container,
                                                      const std::vector<std::string>& env) const {
  std::vector<Mount> mounts;
  const Json* list = kubeapi::Find(container, {"volumeMounts"});
  if (list == nullptr || !list->is_array()) return mounts;
  const Json* volumes = kubeapi::Find(pod, {"spec", "volumes"});
  for (const Json& entry : *list) {
    const std::string name = kubeapi::StringAt(entry, {"name"});
    const Json* volume = nullptr;
    if (volumes != nullptr && volumes->is_array())
      for (const Json& candidate : *volumes)
        if (kubeapi::StringAt(candidate, {"name"}) == name) volume = &candidate;
    if (volume == nullptr)
      return base::Error(base::Code::kInvalidArgument, "volumeMounts: no volume \"{}\"", name);
    const Json* host = kubeapi::Find(*volume, {"hostPath"});
    std::string source =
        host != nullptr ? kubeapi::StringAt(*host, {"path"}) : impl_->dir + "/" + name;
    std::string sub = kubeapi::StringAt(entry, {"subPath"});
    if (sub.empty()) sub = ExpandVariables(kubeapi::StringAt(entry, {"subPathExpr"}), env);
    if (!sub.empty()) {
      if (!SafePath(sub))
        return base::Error(base::Code::kInvalidArgument, "subPath \"{}\" is not allowed", sub);
      source += "/" + sub;
      std::error_code error;
      if (!fs::exists(source, error) && host == nullptr)
        RETURN_IF_ERROR(base::MakeDirs(source), "subPath");
      source = fs::canonical(source, error).string();
    }
    // The machine's own folders are never written to.
    mounts.push_back({source, kubeapi::StringAt(entry, {"mountPath"}),
                      kubeapi::BoolAt(entry, {"readOnly"}) || host != nullptr});
  }
  std::stable_sort(mounts.begin(), mounts.end(), [](const Mount& a, const Mount& b) {
    return std::count(a.target.begin(), a.target.end(), '/') <
           std::count(b.target.begin(), b.target.end(), '/');
  });
  return mounts;
}

}  // namespace isthmus::lab::node
