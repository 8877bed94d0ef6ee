#include "lab/node/image_table.h"

#include "kubeapi/json.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;

// Programs without a slash are looked up by the node: those of this project, envoy, and the rest in
// PATH.
constexpr char kBuiltIn[] = R"(
images:
- pattern: busybox
  command: [sh]
- pattern: alpine
  command: [sh]
- pattern: debian
  command: [bash]
- pattern: ubuntu
  command: [bash]
- pattern: "*curl*"
  command: [sh]
- pattern: pause
  programs: {/pause: isthmus-lab}
  entrypoint: [/pause, workload, sleep]
- pattern: pilot
  programs: {/usr/local/bin/pilot-discovery: isthmusd, /usr/local/bin/isthmusd: isthmusd}
  entrypoint: [/usr/local/bin/pilot-discovery]
  folders: [{path: /etc/istio, user: 1337}, {path: /var/lib/istio, user: 1337}, {path: /var/lib/isthmus-state, user: 1337}]
  user: 1337
- pattern: isthmusd
  programs: {/usr/local/bin/pilot-discovery: isthmusd, /usr/local/bin/isthmusd: isthmusd}
  entrypoint: [/usr/local/bin/isthmusd]
  folders: [{path: /etc/istio, user: 1337}, {path: /var/lib/istio, user: 1337}, {path: /var/lib/isthmus-state, user: 1337}]
  user: 1337
- pattern: "*proxyv2*"
  programs: {/usr/local/bin/pilot-agent: isthmus-agent, /usr/local/bin/envoy: envoy}
  entrypoint: [/usr/local/bin/pilot-agent]
  folders: [{path: /etc/istio, user: 1337}, {path: /etc/istio/proxy, user: 1337}, {path: /var/lib/istio, user: 1337}]
- pattern: isthmus-agent
  programs: {/usr/local/bin/pilot-agent: isthmus-agent, /usr/local/bin/envoy: envoy}
  entrypoint: [/usr/local/bin/pilot-agent]
  folders: [{path: /etc/istio, user: 1337}, {path: /etc/istio/proxy, user: 1337}, {path: /var/lib/istio, user: 1337}]
- pattern: openzipkin/zipkin*
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, zipkin]
- pattern: envoyproxy/envoy*
  programs: {/usr/local/bin/envoy: envoy}
  command: [envoy, -c, /etc/envoy/envoy.yaml]
- pattern: envoydummy
  programs: {/usr/local/bin/envoy: envoy}
  command: [envoy, -c, /etc/envoy/envoy.yaml]
- pattern: examples-helloworld-v1
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, helloworld]
  env: {SERVICE_VERSION: v1}
- pattern: examples-helloworld-v2
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, helloworld]
  env: {SERVICE_VERSION: v2}
- pattern: examples-bookinfo-productpage-v*
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, productpage]
- pattern: examples-bookinfo-details-v*
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, details]
- pattern: examples-bookinfo-ratings-v*
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, ratings]
- pattern: examples-bookinfo-reviews-v1
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, reviews]
  env: {SERVICE_VERSION: v1, ENABLE_RATINGS: "false"}
- pattern: examples-bookinfo-reviews-v2
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, reviews]
  env: {SERVICE_VERSION: v2, ENABLE_RATINGS: "true", STAR_COLOR: black}
- pattern: examples-bookinfo-reviews-v3
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, reviews]
  env: {SERVICE_VERSION: v3, ENABLE_RATINGS: "true", STAR_COLOR: red}
- pattern: "*httpbin"
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, httpbin, --port, "80"]
- pattern: "*go-httpbin"
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, httpbin, --port, "8080"]
- pattern: nginx
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, web, --port, "80"]
- pattern: httpd
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, web, --port, "80"]
- pattern: sentinel-rls-server
  programs: {/usr/local/bin/isthmus-lab: isthmus-lab}
  command: [isthmus-lab, workload, web, --port, "10245"]
)";

std::vector<std::string> Strings(const Json& entry, const char* key) {
  std::vector<std::string> out;
  const Json* list = kubeapi::Find(entry, {key});
  if (list == nullptr || !list->is_array()) return out;
  for (const Json& item : *list)
    out.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  return out;
}

base::Result<Image> ParseImage(const Json& entry, const std::string& where) {
  Image image;
  image.pattern = kubeapi::StringAt(entry, {"pattern"});
  if (image.pattern.empty())
    return base::Error(base::Code::kInvalidArgument, "{}.pattern: required, such as \"nginx\"",
                       where);
  if (const Json* programs = kubeapi::Find(entry, {"programs"}); programs != nullptr) {
    if (!programs->is_object())
      return base::Error(base::Code::kInvalidArgument,
                         "{}.programs: must map a path in the image to a program", where);
    for (const auto& [path, program] : programs->items()) {
      if (!program.is_string() || !path.starts_with('/'))
        return base::Error(base::Code::kInvalidArgument,
                           "{}.programs[{}]: must map an absolute path to a program", where, path);
      image.programs.push_back({program.get<std::string>(), path, true});
    }
  }
  image.entrypoint = Strings(entry, "entrypoint");
  image.command = Strings(entry, "command");
  if (const Json* env = kubeapi::Find(entry, {"env"}); env != nullptr && env->is_object())
    for (const auto& [name, value] : env->items())
      image.env.push_back(name + "=" +
                          (value.is_string() ? value.get<std::string>() : value.dump()));
  if (const Json* folders = kubeapi::Find(entry, {"folders"});
      folders != nullptr && folders->is_array())
    for (const Json& folder : *folders)
      image.folders.push_back({kubeapi::StringAt(folder, {"path"}),
                               static_cast<uint32_t>(kubeapi::IntAt(folder, {"user"})), 0755});
  if (std::string dir = kubeapi::StringAt(entry, {"workingDir"}); !dir.empty())
    image.working_dir = dir;
  image.uid = static_cast<uint32_t>(kubeapi::IntAt(entry, {"user"}));
  image.gid = static_cast<uint32_t>(kubeapi::IntAt(entry, {"group"}, image.uid));
  return image;
}

}  // namespace

std::string_view RepositoryOf(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const size_t slash = image.rfind('/');
  const size_t colon = image.rfind(':');
  // A colon before the last slash is a registry's port.
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash))
    image = image.substr(0, colon);
  return image;
}

bool GlobMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

ImageTable ImageTable::BuiltIn() {
  ImageTable table;
  (void)table.Add(kBuiltIn);  // A test holds it to be well formed.
  return table;
}

base::Status ImageTable::Add(std::string_view yaml) {
  ASSIGN_OR_RETURN(const Json document, kubeapi::ParseYaml(yaml), "image table");
  const Json* images = kubeapi::Find(document, {"images"});
  if (images == nullptr || !images->is_array())
    return base::Error(base::Code::kInvalidArgument, "image table: images: required, a list");
  std::vector<Image> added;
  for (size_t i = 0; i < images->size(); ++i) {
    ASSIGN_OR_RETURN(Image image, ParseImage((*images)[i], fmt::format("images[{}]", i)),
                     "image table");
    added.push_back(std::move(image));
  }
  images_.insert(images_.end(), added.begin(), added.end());
  return {};
}

base::Result<Image> ImageTable::Find(std::string_view image) const {
  const std::string_view repository = RepositoryOf(image);
  for (auto entry = images_.rbegin(); entry != images_.rend(); ++entry)
    if (GlobMatches(entry->pattern, repository) || GlobMatches("*/" + entry->pattern, repository))
      return *entry;
  return base::Error(
      base::Code::kNotFound,
      "the lab has no program for image \"{}\": it pulls nothing, but runs programs of this "
      "machine "
      "by its image table; add an entry with pattern \"{}\" to a file given by `images:` of the "
      "lab's topology (see docs/lab.md)",
      image, repository.substr(repository.rfind('/') + 1));
}

}  // namespace isthmus::lab::node
