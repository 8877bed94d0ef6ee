#include "ads/payload.h"

#include <algorithm>

#include "ads/type_url.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::ads {
namespace {

// Field numbers of DiscoveryResponse and DeltaDiscoveryResponse; both call their resources 2.
constexpr uint32_t kVersionField = 1;
constexpr uint32_t kResourcesField = 2;
constexpr uint32_t kTypeUrlField = 4;
constexpr uint32_t kNonceField = 5;
constexpr uint32_t kRemovedField = 6;
uint32_t ControlPlaneField(Protocol protocol) { return protocol == Protocol::kSotw ? 6 : 7; }
// Of the Resource message that wraps each one in delta.
constexpr uint32_t kResourceAny = 2;
constexpr uint32_t kResourceName = 3;

// Up to here copying a resource into the frames costs less than a slice of its own.
constexpr size_t kCopied = 160;
// With more resources than this the whole payload is laid out anew in one piece. It is remembered,
// so that all streams which want the same share that piece: each then queues one slice, where
// thousands would cost more time and memory a stream than the bytes themselves.
constexpr size_t kMaxShared = 64;

size_t FrameSize(Protocol protocol, const model::Resource& resource) {
  const size_t any = resource.any.size();
  if (protocol == Protocol::kSotw) return rpc::HeadSize(kResourcesField, any);
  const size_t inner = rpc::HeadSize(kResourceName, resource.name.size()) + resource.name.size() +
                       rpc::HeadSize(kResourceAny, any);
  return rpc::HeadSize(kResourcesField, inner + any) + inner;
}

void PutFrame(Protocol protocol, const model::Resource& resource, std::string& out) {
  const size_t any = resource.any.size();
  if (protocol == Protocol::kSotw) return rpc::PutHead(out, kResourcesField, any);
  const size_t inner = rpc::HeadSize(kResourceName, resource.name.size()) + resource.name.size() +
                       rpc::HeadSize(kResourceAny, any);
  rpc::PutHead(out, kResourcesField, inner + any);
  rpc::PutBytes(out, kResourceName, resource.name);
  rpc::PutHead(out, kResourceAny, any);
}

std::vector<ResourcePtr> WantedOf(const SetPtr& set, const Interest& interest) {
  std::vector<ResourcePtr> wanted;
  if (set == nullptr) return wanted;
  if (interest.wildcard) return set->all();
  // Walk whichever is shorter.
  if (interest.names->size() < set->all().size() / 4) {
    for (size_t i = 0; i < interest.names->size(); ++i)
      if (const ResourcePtr* found = set->Find(interest.names->at(i))) wanted.push_back(*found);
    return wanted;
  }
  for (const ResourcePtr& resource : set->all())
    if (interest.names->Has(resource->name)) wanted.push_back(resource);
  return wanted;
}

size_t Entries(const Sets& sets) {
  size_t entries = 0;
  for (const SetPtr& set : sets) entries += set == nullptr ? 0 : set->all().size();
  return entries;
}

bool Share(const model::ResourceSet& a, const model::ResourceSet& b) {
  const model::ResourceSet& few = a.all().size() < b.all().size() ? a : b;
  const model::ResourceSet& many = &few == &a ? b : a;
  for (const ResourcePtr& resource : few.all())
    if (many.Find(resource->name) != nullptr) return true;
  return false;
}

// What a client gets of a name that does not exist. It waits for an answer before it uses the
// cluster or listener that named it, so endpoints and routes are answered with empty ones; null for
// other types.
ResourcePtr Placeholder(std::string_view type_url, std::string_view name) {
  constexpr uint32_t kName = 1;  // Of ClusterLoadAssignment and RouteConfiguration alike.
  constexpr uint32_t kValidateClusters = 7;  // A BoolValue; empty means false.
  if (type_url != kEndpointType && type_url != kRouteType) return nullptr;
  std::string message;
  rpc::PutBytes(message, kName, name);
  if (type_url == kRouteType) rpc::PutBytes(message, kValidateClusters, {});
  std::string any;
  rpc::PutBytes(any, 1, type_url);
  rpc::PutBytes(any, 2, message);
  auto resource = std::make_shared<model::Resource>();
  resource->name = name;
  resource->any = base::Slice(std::move(any));
  return resource;
}

}  // namespace

void Payload::Append(const Payload& other) {
  parts.insert(parts.end(), other.parts.begin(), other.parts.end());
  bytes += other.bytes;
  resources += other.resources;
  removed += other.removed;
}

ResourcePtr FindIn(const Sets& sets, std::string_view name) {
  for (const SetPtr& set : sets) {
    if (set == nullptr) continue;
    if (const ResourcePtr* found = set->Find(name)) return *found;
  }
  return nullptr;
}

Payload Frame(Protocol protocol, std::span<const ResourcePtr> resources,
              std::span<const std::string> removed) {
  Payload out;
  size_t frames_size = 0;
  size_t shared = 0;
  size_t shared_size = 0;
  for (const ResourcePtr& resource : resources) {
    frames_size += FrameSize(protocol, *resource);
    if (resource->any.size() <= kCopied) {
      frames_size += resource->any.size();
    } else {
      ++shared;
      shared_size += resource->any.size();
    }
  }
  if (protocol == Protocol::kDelta)
    for (const std::string& name : removed)
      frames_size += rpc::HeadSize(kRemovedField, name.size()) + name.size();
  if (frames_size == 0) return out;

  // All frames lie in one piece of memory; `cuts` says after which byte of it a shared resource
  // follows.
  const bool in_one_piece = shared > kMaxShared;
  std::string frames;
  frames.reserve(frames_size + (in_one_piece ? shared_size : 0));
  std::vector<std::pair<size_t, const model::Resource*>> cuts;
  for (const ResourcePtr& resource : resources) {
    PutFrame(protocol, *resource, frames);
    if (in_one_piece || resource->any.size() <= kCopied)
      frames.append(resource->any.view());
    else
      cuts.emplace_back(frames.size(), resource.get());
  }
  if (protocol == Protocol::kDelta) {
    for (const std::string& name : removed) rpc::PutBytes(frames, kRemovedField, name);
    out.removed = removed.size();
  }
  out.resources = resources.size();
  out.bytes = frames_size + shared_size;
  const base::Slice whole(std::move(frames));
  out.parts.reserve(cuts.size() * 2 + 1);
  size_t from = 0;
  for (const auto& [at, resource] : cuts) {
    out.parts.push_back(whole.Sub(from, at - from));
    out.parts.push_back(resource->any);
    from = at;
  }
  if (from < whole.size()) out.parts.push_back(whole.Sub(from));
  return out;
}

bool PayloadMaker::Overlap(const Sets& sets) {
  for (size_t i = 1; i < sets.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (sets[i] == nullptr || sets[j] == nullptr) continue;
      auto [at, fresh] = overlaps_.try_emplace({sets[j], sets[i]}, false);
      if (fresh) at->second = Share(*sets[j], *sets[i]);
      if (at->second) return true;
    }
  }
  return false;
}

const Payload& PayloadMaker::WholeSet(Protocol protocol, const SetPtr& set,
                                      const Interest& interest) {
  auto key = std::make_tuple(protocol, set, interest.wildcard ? nullptr : interest.names);
  auto found = whole_.find(key);
  if (found == whole_.end())
    found = whole_.emplace(std::move(key), Frame(protocol, WantedOf(set, interest), {})).first;
  return found->second;
}

Payload PayloadMaker::Whole(Protocol protocol, std::string_view type_url, const Sets& sets,
                            const Interest& interest) {
  Payload out;
  if (!Overlap(sets)) {
    for (const SetPtr& set : sets)
      if (set != nullptr && !set->all().empty()) out.Append(WholeSet(protocol, set, interest));
    if (interest.wildcard || out.resources == interest.names->size()) return out;
  }
  // Some names are in two sets or in none: look at each.
  NameList names;
  if (interest.wildcard) {
    names.reserve(Entries(sets));
    std::unordered_set<std::string_view> seen;
    for (const SetPtr& set : sets) {
      if (set == nullptr) continue;
      for (const ResourcePtr& resource : set->all())
        if (seen.insert(resource->name).second) names.push_back(resource->name);
    }
  } else {
    for (std::string_view name : interest.names->all()) names.emplace_back(name);
  }
  return Named(protocol, type_url, sets, names);
}

Payload PayloadMaker::Named(Protocol protocol, std::string_view type_url, const Sets& sets,
                            std::span<const std::string> names) {
  std::vector<ResourcePtr> resources;
  NameList removed;
  for (const std::string& name : names) {
    if (ResourcePtr found = FindIn(sets, name))
      resources.push_back(std::move(found));
    else if (ResourcePtr empty = Placeholder(type_url, name))
      resources.push_back(std::move(empty));
    else if (type_url != kExtensionType)  // An extension is never withdrawn, only replaced.
      removed.push_back(name);
  }
  return Frame(protocol, resources, removed);
}

const NameList& PayloadMaker::DifferingIn(const SetPtr& before, const SetPtr& now) {
  SetPair key(before, now);
  auto found = differences_.find(key);
  if (found != differences_.end()) return found->second;
  NameList names;
  if (now != nullptr) {
    for (const ResourcePtr& resource : now->all()) {
      const ResourcePtr* old = before == nullptr ? nullptr : before->Find(resource->name);
      if (old == nullptr || (*old != resource && (*old)->hash != resource->hash))
        names.push_back(resource->name);
    }
  }
  if (before != nullptr) {
    for (const ResourcePtr& resource : before->all())
      if (now == nullptr || now->Find(resource->name) == nullptr) names.push_back(resource->name);
  }
  return differences_.emplace(std::move(key), std::move(names)).first->second;
}

NameList PayloadMaker::Differing(const Sets& before, const Sets& now, const Interest& interest) {
  NameList names;
  const size_t count = std::max(before.size(), now.size());
  bool several = false;
  for (size_t i = 0; i < count; ++i) {
    const SetPtr old = i < before.size() ? before[i] : nullptr;
    const SetPtr fresh = i < now.size() ? now[i] : nullptr;
    if (old == fresh) continue;
    for (const std::string& name : DifferingIn(old, fresh)) {
      if (!interest.Wants(name)) continue;
      // A change behind a set that comes earlier is not seen, nor one that another set makes up
      // for.
      if (count > 1) {
        const ResourcePtr was = FindIn(before, name);
        const ResourcePtr is = FindIn(now, name);
        if (was == is || (was != nullptr && is != nullptr && was->hash == is->hash)) continue;
      }
      names.push_back(name);
    }
    several = true;
  }
  if (several) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
  }
  return names;
}

const PayloadMaker::Update& PayloadMaker::Changes(Protocol protocol, std::string_view type_url,
                                                  const Sets& before, const Sets& now,
                                                  const Interest& interest) {
  auto [at, fresh] = updates_.try_emplace(
      {protocol, std::string(type_url), before, now, interest.wildcard ? nullptr : interest.names});
  Update& update = at->second;
  if (!fresh) return update;
  update.names = Differing(before, now, interest);
  if (update.names.empty()) return update;
  // State of the world has no other way to say that one of all is gone.
  update.payload = protocol == Protocol::kSotw && interest.wildcard
                       ? Whole(protocol, type_url, now, interest)
                       : Named(protocol, type_url, now, update.names);
  return update;
}

void PayloadMaker::Forget() {
  updates_.clear();
  overlaps_.clear();
  differences_.clear();
  whole_.clear();
}

base::Slice ResponseHead(Protocol protocol, std::string_view version, std::string_view type_url,
                         std::string_view control_plane) {
  std::string out;
  rpc::PutBytes(out, kVersionField, version);
  rpc::PutBytes(out, kTypeUrlField, type_url);
  if (!control_plane.empty()) {
    std::string message;
    rpc::PutBytes(message, 1, control_plane);
    rpc::PutBytes(out, ControlPlaneField(protocol), message);
  }
  return base::Slice(std::move(out));
}

base::Slice ResponseTail(Protocol protocol, std::string_view nonce) {
  std::string out;
  rpc::PutBytes(out, kNonceField, nonce);
  return base::Slice(std::move(out));
}

}  // namespace isthmus::ads
