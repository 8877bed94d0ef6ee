#include "kubeclient/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "base/encoding.h"
#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "kubeapi/json_reader.h"
#include "kubeapi/meta.h"
#include "kubeapi/status.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using http::UrlEncode;
using std::chrono::seconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr int kChunk = 500;
/// Answers of 429 and "try again" are followed so often before they are told to the caller.
constexpr int kMaxRetries = 6;
/// How long a token read from a file is believed. Kubelets renew well ahead of expiry.
constexpr auto kTokenAge = seconds(10);
/// A miss in discovery asks the server again only after this time (new CRDs appear now and then).
constexpr auto kDiscoveryAge = seconds(2);

std::string_view ContentTypeOf(PatchType type) {
  switch (type) {
    case PatchType::kJson:
      return "application/json-patch+json";
    case PatchType::kMerge:
      return "application/merge-patch+json";
    case PatchType::kStrategic:
      return "application/strategic-merge-patch+json";
    case PatchType::kApply:
      return "application/apply-patch+yaml";
  }
  return "";
}

std::string SystemRoots() {
  for (const char* path : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/cert.pem"})
    if (auto pem = base::ReadFile(path); pem.ok()) return *pem;
  return {};
}

/// "https://host" gets the scheme's port.
std::string WithPort(const std::string& server) {
  const size_t host = server.find("://") + 3;
  const size_t bracket = server.find(']', host);
  const size_t colon = server.find(':', bracket == server.npos ? host : bracket);
  if (colon != server.npos) return server;
  return server + (server.starts_with("https") ? ":443" : ":80");
}

Result<http::ClientOptions> MakeOptions(const RestConfig& config) {
  http::ClientOptions options;
  options.url = WithPort(config.server);
  options.proxy_url = config.proxy_url;
  // After a cut link a token review would wait for what the kernel sends again, half a minute
  // later.
  options.lost_after = std::chrono::seconds(10);
  if (!config.server.starts_with("https://")) return options;
  http::TlsClientOptions tls;
  tls.server_name = config.tls_server_name;
  if (!config.insecure_skip_tls_verify) {
    const std::string pem = config.ca_pem.empty() ? SystemRoots() : config.ca_pem;
    if (pem.empty())
      return Error(Code::kInvalidArgument,
                   "no certificate authority is given and the system has none");
    ASSIGN_OR_RETURN(auto roots, pki::TrustBundle::FromPem(pem), "certificate authority");
    tls.roots = std::make_shared<const pki::TrustBundle>(std::move(roots));
  }
  if (!config.client_certificate_pem.empty()) {
    ASSIGN_OR_RETURN(
        auto pair,
        pki::KeyCertificate::FromPem(config.client_key_pem, config.client_certificate_pem),
        "client certificate");
    auto shared = std::make_shared<const pki::KeyCertificate>(std::move(pair));
    tls.certificate = [shared] { return shared; };
  }
  options.tls = std::move(tls);
  return options;
}

/// Real servers leave kind and apiVersion out of list items; readers should not have to care.
void NameKind(Json& item, const Resource& resource) {
  if (!item.is_object()) return;
  if (!item.contains("kind")) item["kind"] = resource.kind;
  if (!item.contains("apiVersion")) item["apiVersion"] = resource.api_version();
}

/// An upgrade that was refused carries the answer's body in its message; the Status in it is what
/// users want to read.
Status InItsWords(const Status& refused) {
  const size_t brace = refused.message().find('{');
  if (brace == std::string::npos) return refused;
  const auto json = kubeapi::ParseJson(std::string_view(refused.message()).substr(brace));
  if (!json.ok() || kubeapi::StringAt(*json, {"kind"}) != "Status") return refused;
  return kubeapi::FromStatusObject(500, *json).ToStatus();
}

/// Names come from users; none of them may lead to another path.
std::string PathOf(const Resource& resource, std::string_view ns, std::string_view name = {}) {
  return resource.Path(UrlEncode(ns), UrlEncode(name));
}

void AddQuery(std::string& target, std::string_view name, std::string_view value) {
  target +=
      fmt::format("{}{}={}", target.find('?') == target.npos ? '?' : '&', name, UrlEncode(value));
}

}  // namespace

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  using ResponseDone = std::function<void(Result<http::Response>)>;

  Impl(base::Loop& l, RestConfig c, http::ClientOptions options)
      : loop(l),
        config(std::move(c)),
        http(l, options),
        authority(options.url.substr(options.url.find("://") + 3)) {}

  /// Completes a head with what every request carries.
  void Prepare(http::RequestHead& head) {
    head.authority = authority;
    head.target = config.path_prefix + head.target;
    head.headers.Set("user-agent", "isthmus");
    if (const std::string bearer = Token(); !bearer.empty()) {
      head.headers.Set("authorization", "Bearer " + bearer);
    } else if (!config.username.empty()) {
      head.headers.Set("authorization",
                       "Basic " + base::Base64Encode(config.username + ":" + config.password));
    }
    if (!config.impersonate_user.empty())
      head.headers.Set("impersonate-user", config.impersonate_user);
    for (const std::string& group : config.impersonate_groups)
      head.headers.Add("impersonate-group", group);
  }

  std::string Token() {
    if (config.token_file.empty()) return config.token;
    const auto now = std::chrono::steady_clock::now();
    if (file_token.empty() || now - token_read > kTokenAge) {
      if (auto text = base::ReadFile(config.token_file); text.ok()) {
        file_token = base::Trim(*text);
        token_read = now;
      } else if (file_token.empty()) {
        LOG_WARN("kubeclient", "reading the token of {}: {}", config.server,
                 text.status().message());
      }
    }
    return file_token.empty() ? config.token : file_token;
  }

  /// Sends, follows "try again later", and turns HTTP errors into statuses.
  void Send(http::Request request, base::Duration timeout, ResponseDone done, int retries = 0) {
    http::Request prepared = request;
    Prepare(prepared);
    const std::string what = fmt::format("{} {}{}", request.method, config.server, request.path());
    http.Fetch(
        std::move(prepared), timeout,
        [weak = weak_from_this(), request = std::move(request), timeout, done = std::move(done),
         retries, what](Result<http::Response> response) mutable {
          if (!response.ok()) return done(response.status().In(what));
          if (response->status < 300) return done(std::move(response));
          auto self = weak.lock();
          if (response->status == 429 && self != nullptr && retries < kMaxRetries)
            return self->Retry(std::move(request), timeout, std::move(done), retries, *response);
          const Status status = kubeapi::ParseApiError(response->status, response->body).ToStatus();
          done(status);
        });
  }

  void Retry(http::Request request, base::Duration timeout, ResponseDone done, int retries,
             const http::Response& response) {
    int64_t delay = 1;
    if (auto header = response.headers.Get("retry-after"))
      if (auto number = base::ParseInt(*header); number.ok()) delay = *number;
    delay = std::clamp<int64_t>(delay, 1, 10);
    const uint64_t id = next_retry++;
    retry_timers[id] =
        base::Timer::After(loop, seconds(delay),
                           [this, id, request = std::move(request), timeout, done = std::move(done),
                            retries]() mutable {
                             const base::Timer keep = std::move(retry_timers[id]);
                             retry_timers.erase(id);
                             Send(std::move(request), timeout, std::move(done), retries + 1);
                           });
  }

  void SendJson(http::Request request, Done done) {
    request.headers.Set("accept", "application/json");
    Send(std::move(request), config.request_timeout,
         [done = std::move(done)](Result<http::Response> response) {
           if (!response.ok()) return done(response.status());
           if (base::Trim(response->body).empty()) return done(Json::object());
           auto json = kubeapi::ParseJson(response->body);
           done(json.ok() ? std::move(json)
                          : Result<Json>(json.status().In("reading the server's answer")));
         });
  }

  void SendObject(std::string method, std::string target, const Json& object, Done done) {
    http::Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers.Set("content-type", "application/json");
    request.body = kubeapi::ToJson(object);
    SendJson(std::move(request), std::move(done));
  }

  /// One list under way.
  struct Listing {
    Resource resource;
    std::string ns;
    ListOptions options;
    std::function<void(Json)> item;
    std::function<void(Result<std::string>)> done;
    std::string continue_token;
    bool whole = false;  ///< Asks without chunks after a continue token has expired.
    bool over = false;

    void Finish(Result<std::string> version) {
      if (!std::exchange(over, true)) done(std::move(version));
    }
  };

  void ListChunk(std::shared_ptr<Listing> listing) {
    http::Request request;
    request.target = PathOf(listing->resource, listing->ns);
    if (!listing->options.label_selector.empty())
      AddQuery(request.target, "labelSelector", listing->options.label_selector);
    if (!listing->options.field_selector.empty())
      AddQuery(request.target, "fieldSelector", listing->options.field_selector);
    if (!listing->whole) AddQuery(request.target, "limit", std::to_string(kChunk));
    if (!listing->continue_token.empty())
      AddQuery(request.target, "continue", listing->continue_token);
    request.headers.Set("accept", "application/json");
    Send(std::move(request), config.request_timeout,
         [weak = weak_from_this(), listing](Result<http::Response> response) {
           auto self = weak.lock();
           if (listing->over) return;
           if (self == nullptr)
             return listing->Finish(Status(Code::kCancelled, "the client is gone"));
           if (response.ok()) return self->OnChunk(listing, response->body);
           if (response.status().code() != Code::kOutOfRange || listing->continue_token.empty())
             return listing->Finish(response.status());
           listing->continue_token.clear();
           listing->whole = true;
           self->ListChunk(listing);
         });
  }

  void OnChunk(const std::shared_ptr<Listing>& listing, std::string_view body) {
    constexpr std::string_view kReading = "reading the server's answer";
    const auto list = kubeapi::SplitList(body);
    if (!list.ok()) return listing->Finish(list.status().In(kReading));
    listing->continue_token = kubeapi::StringAt(list->rest, {"metadata", "continue"});
    const bool last = listing->continue_token.empty();
    // The server makes the next chunk while this one is read.
    if (!last) ListChunk(listing);
    using Keep = kubeapi::JsonReader::Keep;
    const Status read = kubeapi::EachItem(
        *list, listing->options.managed_fields ? Keep::kEverything : Keep::kNoManagedFields,
        [&listing](Json item) {
          NameKind(item, listing->resource);
          listing->item(std::move(item));
        });
    if (!read.ok()) return listing->Finish(read.In(kReading));
    if (last) listing->Finish(kubeapi::StringAt(list->rest, {"metadata", "resourceVersion"}));
  }

  base::Loop& loop;
  RestConfig config;
  http::Client http;
  std::string authority;
  std::string file_token;
  SteadyTime token_read;
  uint64_t next_retry = 0;
  std::map<uint64_t, base::Timer> retry_timers;
  struct Served {
    std::vector<Resource> resources;
    SteadyTime read;
  };
  std::map<std::string, Served, std::less<>> discovered;
};

Result<std::unique_ptr<Client>> Client::Create(base::Loop& loop, RestConfig config) {
  ASSIGN_OR_RETURN(http::ClientOptions options, MakeOptions(config),
                   fmt::format("API server {}", config.server));
  return std::unique_ptr<Client>(
      new Client(std::make_shared<Impl>(loop, std::move(config), std::move(options))));
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

const RestConfig& Client::config() const { return impl_->config; }

void Client::Get(const Resource& resource, std::string_view ns, std::string_view name, Done done) {
  http::Request request;
  request.target = PathOf(resource, ns, name);
  impl_->SendJson(std::move(request), std::move(done));
}

void Client::GetPath(std::string_view path, Done done) {
  http::Request request;
  request.target = path;
  impl_->SendJson(std::move(request), std::move(done));
}

void Client::ListEach(const Resource& resource, std::string_view ns, const ListOptions& options,
                      std::function<void(Json)> item,
                      std::function<void(Result<std::string>)> done) {
  auto listing = std::make_shared<Impl::Listing>();
  listing->resource = resource;
  listing->ns = ns;
  listing->options = options;
  listing->item = std::move(item);
  listing->done = std::move(done);
  impl_->ListChunk(std::move(listing));
}

void Client::List(const Resource& resource, std::string_view ns, const ListOptions& options,
                  Done done) {
  auto items = std::make_shared<Json>(Json::array());
  ListEach(
      resource, ns, options, [items](Json item) { items->push_back(std::move(item)); },
      [items, resource, done = std::move(done)](Result<std::string> version) {
        if (!version.ok()) return done(version.status());
        done(Json({{"apiVersion", resource.api_version()},
                   {"kind", resource.kind + "List"},
                   {"metadata", {{"resourceVersion", *version}}},
                   {"items", std::move(*items)}}));
      });
}

void Client::Create(const Resource& resource, std::string_view ns, const Json& object, Done done) {
  impl_->SendObject("POST", PathOf(resource, ns), object, std::move(done));
}

void Client::Update(const Resource& resource, std::string_view ns, std::string_view name,
                    const Json& object, Done done, std::string_view subresource) {
  std::string target = PathOf(resource, ns, name);
  if (!subresource.empty()) target += fmt::format("/{}", subresource);
  impl_->SendObject("PUT", std::move(target), object, std::move(done));
}

void Client::Patch(const Resource& resource, std::string_view ns, std::string_view name,
                   PatchType type, const Json& patch, Done done, std::string_view subresource,
                   std::string_view field_manager, bool force) {
  http::Request request;
  request.method = "PATCH";
  request.target = PathOf(resource, ns, name);
  if (!subresource.empty()) request.target += fmt::format("/{}", subresource);
  AddQuery(request.target, "fieldManager", field_manager);
  if (type == PatchType::kApply && force) AddQuery(request.target, "force", "true");
  request.headers.Set("content-type", ContentTypeOf(type));
  request.body = kubeapi::ToJson(patch);
  impl_->SendJson(std::move(request), std::move(done));
}

void Client::Delete(const Resource& resource, std::string_view ns, std::string_view name, Done done,
                    std::optional<int> grace_seconds) {
  Json options = {
      {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", "Background"}};
  if (grace_seconds) options["gracePeriodSeconds"] = *grace_seconds;
  impl_->SendObject("DELETE", PathOf(resource, ns, name), options, std::move(done));
}

void Client::CreateSub(const Resource& resource, std::string_view ns, std::string_view name,
                       std::string_view subresource, const Json& object, Done done) {
  impl_->SendObject("POST", fmt::format("{}/{}", PathOf(resource, ns, name), subresource), object,
                    std::move(done));
}

void Client::Raw(http::Request request, base::Duration timeout,
                 std::function<void(Result<http::Response>)> done) {
  impl_->Send(std::move(request), timeout, std::move(done));
}

std::shared_ptr<http::ClientStream> Client::Stream(http::RequestHead head,
                                                   http::ClientEvents events) {
  impl_->Prepare(head);
  return impl_->http.Open(std::move(head), true, std::move(events));
}

void Client::Upgrade(
    http::RequestHead head,
    std::function<void(Result<std::pair<http::ResponseHead, std::unique_ptr<http::ByteStream>>>)>
        done) {
  impl_->Prepare(head);
  impl_->http.Upgrade(std::move(head), [done = std::move(done)](auto upgraded) {
    done(upgraded.ok()
             ? std::move(upgraded)
             : base::Result<std::pair<http::ResponseHead, std::unique_ptr<http::ByteStream>>>(
                   InItsWords(upgraded.status())));
  });
}

void Client::Discover(std::string_view api_version, std::string_view kind,
                      std::function<void(Result<Resource>)> done) {
  const auto pick =
      [kind = std::string(kind)](const std::vector<Resource>& resources) -> const Resource* {
    for (const Resource& resource : resources)
      if (resource.kind == kind) return &resource;
    return nullptr;
  };
  const auto missing = Error(Code::kNotFound, "{} does not serve kind {} in {}",
                             impl_->config.server, kind, api_version);
  const auto known = impl_->discovered.find(api_version);
  if (known != impl_->discovered.end()) {
    if (const Resource* found = pick(known->second.resources); found != nullptr) {
      impl_->loop.Post([done = std::move(done), found = *found] { done(found); });
      return;
    }
    if (std::chrono::steady_clock::now() - known->second.read < kDiscoveryAge) {
      impl_->loop.Post([done = std::move(done), missing] { done(missing); });
      return;
    }
  }
  const std::string path = fmt::format(
      "/{}/{}", api_version.find('/') == api_version.npos ? "api" : "apis", api_version);
  GetPath(path, [weak = impl_->weak_from_this(), version = std::string(api_version), pick, missing,
                 done = std::move(done)](Result<Json> list) {
    if (!list.ok()) return done(list.status().code() == Code::kNotFound ? missing : list.status());
    Impl::Served served{{}, std::chrono::steady_clock::now()};
    for (const Json& item : kubeapi::ItemsAt(*list, {"resources"})) {
      Resource resource{std::string(kubeapi::GroupOf(version)),
                        std::string(kubeapi::VersionOf(version)), kubeapi::StringAt(item, {"name"}),
                        kubeapi::StringAt(item, {"kind"}), kubeapi::BoolAt(item, {"namespaced"})};
      if (resource.plural.find('/') == std::string::npos)
        served.resources.push_back(std::move(resource));
    }
    const Resource* found = pick(served.resources);
    const Result<Resource> answer =
        found != nullptr ? Result<Resource>(*found) : Result<Resource>(missing);
    if (auto self = weak.lock()) self->discovered[version] = std::move(served);
    done(answer);
  });
}

}  // namespace isthmus::kubeclient
