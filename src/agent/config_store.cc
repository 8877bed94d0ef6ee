#include "agent/config_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "base/log.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::agent {
namespace {

using base::Code;

// The file: a header, then records. A record is one length-delimited protobuf field whose number is
// its kind; inside, 1 is the transaction, 2 the type, 3 the name, 4 the serialised Resource.
constexpr std::string_view kHeader = "isthmus-xds-1\n";
constexpr uint32_t kPut = 1, kRemove = 2, kCommit = 3;
constexpr uint64_t kWorthCompacting = 1 << 20;

std::string Record(uint32_t kind, uint32_t transaction, std::string_view type_url,
                   std::string_view name, std::string_view resource) {
  std::string body;
  rpc::PutNumber(body, 1, transaction);
  if (!type_url.empty()) rpc::PutBytes(body, 2, type_url);
  if (!name.empty()) rpc::PutBytes(body, 3, name);
  // Last, so that its place is known from the record's end.
  if (!resource.empty()) rpc::PutBytes(body, 4, resource);
  std::string record;
  rpc::PutBytes(record, kind, body);
  return record;
}

bool WriteAll(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return true;
}

}  // namespace

ConfigStore::~ConfigStore() {
  if (fd_ >= 0) close(fd_);
}

base::Result<std::unique_ptr<ConfigStore>> ConfigStore::Open(const std::string& path) {
  std::unique_ptr<ConfigStore> store(new ConfigStore(path));
  RETURN_IF_ERROR(store->Load(), "configuration kept on disk");
  return store;
}

base::Status ConfigStore::Load() {
  if (const size_t slash = path_.rfind('/'); slash != std::string::npos)
    RETURN_IF_ERROR(base::MakeDirs(path_.substr(0, slash), 0750), "folder");
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) return base::Error(Code::kInternal, "{}: {}", path_, strerror(errno));
  base::Result<std::string> content = base::ReadFile(path_);
  std::string_view rest = content.ok() ? std::string_view(*content) : std::string_view();
  if (!rest.starts_with(kHeader)) {
    if (ftruncate(fd_, 0) != 0 || !WriteAll(fd_, kHeader, 0))
      return base::Error(Code::kInternal, "{}: {}", path_, strerror(errno));
    size_ = kHeader.size();
    return {};
  }
  rest.remove_prefix(kHeader.size());
  const char* const start = content->data();
  struct Pending {
    std::string type_url;
    std::vector<Change> changes;
  };
  std::map<uint32_t, Pending> pending;
  uint64_t good = kHeader.size();
  rpc::WireReader records(rest);
  while (records.Next()) {
    const std::string_view body = records.bytes();
    std::string_view type_url, name, resource;
    uint32_t transaction = 0;
    rpc::WireReader in(body);
    while (in.Next()) {
      if (in.field() == 1) transaction = static_cast<uint32_t>(in.number());
      if (in.field() == 2) type_url = in.bytes();
      if (in.field() == 3) name = in.bytes();
      if (in.field() == 4) resource = in.bytes();
    }
    if (!in.ok()) break;
    good = static_cast<uint64_t>(body.data() + body.size() - start);
    next_transaction_ = std::max(next_transaction_, transaction + 1);
    Pending& in_transaction = pending[transaction];
    if (records.field() == kCommit) {
      Apply(in_transaction.type_url, in_transaction.changes);
      pending.erase(transaction);
      continue;
    }
    in_transaction.type_url = type_url;
    Place place;
    if (records.field() == kPut) {
      place.offset = static_cast<uint64_t>(resource.data() - start);
      place.size = static_cast<uint32_t>(resource.size());
    }
    in_transaction.changes.push_back({std::string(name), place});
  }
  // What follows the last whole record was being written when the agent or the machine stopped.
  if (ftruncate(fd_, static_cast<off_t>(good)) != 0)
    return base::Error(Code::kInternal, "{}: {}", path_, strerror(errno));
  size_ = good;
  return {};
}

bool ConfigStore::Append(const std::string& bytes) {
  if (WriteAll(fd_, bytes, size_)) {
    size_ += bytes.size();
    failing_ = false;
    return true;
  }
  if (!failing_)
    LOG_ERROR(
        "xdsproxy",
        "{}: {}: an Envoy that restarts without a control plane would get older configuration",
        path_, strerror(errno));
  failing_ = true;
  return false;
}

void ConfigStore::Stage(const XdsResponse& response) {
  if (response.type_url == kSecretType || (response.resources.empty() && response.removed.empty()))
    return;
  Staged staged;
  staged.transaction = next_transaction_++;
  for (const XdsResource& resource : response.resources) {
    if (resource.whole.empty()) continue;
    if (!Append(Record(kPut, staged.transaction, response.type_url, resource.name, resource.whole)))
      return;
    staged.changes.push_back(
        {std::string(resource.name),
         {size_ - resource.whole.size(), static_cast<uint32_t>(resource.whole.size())}});
  }
  for (const std::string_view name : response.removed) {
    if (!Append(Record(kRemove, staged.transaction, response.type_url, name, {}))) return;
    staged.changes.push_back({std::string(name), {}});
  }
  staged_[{std::string(response.type_url), std::string(response.nonce)}] = std::move(staged);
}

void ConfigStore::Commit(std::string_view type_url, std::string_view nonce) {
  const auto at = staged_.find({std::string(type_url), std::string(nonce)});
  if (at == staged_.end()) return;
  const Staged staged = std::move(at->second);
  staged_.erase(at);
  if (!Append(Record(kCommit, staged.transaction, {}, {}, {}))) return;
  Apply(type_url, staged.changes);
  CompactIfWorthIt();
}

void ConfigStore::Drop(std::string_view type_url, std::string_view nonce) {
  staged_.erase({std::string(type_url), std::string(nonce)});
}

void ConfigStore::Apply(std::string_view type_url, const std::vector<Change>& changes) {
  if (changes.empty()) return;
  const auto type = index_.try_emplace(std::string(type_url)).first;
  Resources& resources = type->second;
  for (const Change& change : changes) {
    const auto old = resources.find(change.name);
    if (old != resources.end()) {
      live_ -= old->second.size;
      if (change.place.size == 0) {
        resources.erase(old);
        continue;
      }
    }
    if (change.place.size == 0) continue;
    live_ += change.place.size;
    resources[change.name] = change.place;
  }
  if (resources.empty()) index_.erase(type);
}

std::vector<std::string> ConfigStore::Names(std::string_view type_url) const {
  std::vector<std::string> names;
  if (const auto type = index_.find(type_url); type != index_.end())
    for (const auto& [name, place] : type->second) names.push_back(name);
  return names;
}

std::string ConfigStore::Read(std::string_view type_url, std::string_view name) const {
  const auto type = index_.find(type_url);
  if (type == index_.end()) return {};
  const auto at = type->second.find(name);
  if (at == type->second.end()) return {};
  std::string bytes(at->second.size, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = pread(fd_, bytes.data() + done, bytes.size() - done,
                                static_cast<off_t>(at->second.offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
    done += static_cast<size_t>(count);
  }
  return bytes;
}

void ConfigStore::CompactIfWorthIt() {
  // Staged changes know their places in the old file.
  if (size_ < kWorthCompacting || size_ < 3 * live_ || !staged_.empty()) return;
  if (base::Status status = Compact(); !status.ok())
    LOG_WARN("xdsproxy", "configuration kept on disk could not be made smaller: {}",
             status.message());
}

base::Status ConfigStore::Compact() {
  const std::string path = path_ + ".new";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return base::Error(Code::kInternal, "{}: {}", path, strerror(errno));
  uint64_t size = kHeader.size();
  bool ok = WriteAll(fd, kHeader, 0);
  std::map<std::string, Resources, std::less<>> index;
  uint32_t transaction = 0;
  for (const auto& [type_url, resources] : index_) {
    ++transaction;
    for (const auto& [name, place] : resources) {
      const std::string resource = Read(type_url, name);
      const std::string record = Record(kPut, transaction, type_url, name, resource);
      ok = ok && resource.size() == place.size && WriteAll(fd, record, size);
      size += record.size();
      index[type_url][name] = {size - place.size, place.size};
    }
    const std::string commit = Record(kCommit, transaction, {}, {}, {});
    ok = ok && WriteAll(fd, commit, size);
    size += commit.size();
  }
  if (!ok || rename(path.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    close(fd);
    unlink(path.c_str());
    return base::Error(Code::kInternal, "{}: {}", path, strerror(error));
  }
  close(fd_);
  fd_ = fd;
  size_ = size;
  next_transaction_ = transaction + 1;
  index_ = std::move(index);
  return {};
}

}  // namespace isthmus::agent
