#include <fmt/format.h>

#include <map>
#include <set>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/table.h"
#include "install/cluster_access.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using kubeapi::ItemsAt;
using kubeapi::LabelOf;
using kubeapi::StringAt;

constexpr char kTag[] = "istio.io/tag";
constexpr char kRevision[] = "istio.io/rev";

struct TagOptions {
  std::string tag;
  std::string revision;
  std::string webhook_name;
  std::string manifests;
  std::string output = "table";
  bool overwrite = false;
  bool yes = false;
  bool auto_inject = false;
};

/// The webhook that install made for a revision; tags' own copies are left out.
Result<Json> CanonicalWebhook(Session& session, const std::string& revision) {
  ASSIGN_OR_RETURN(std::vector<Json> found,
                   session.List(kMutatingWebhooks, "", std::string(kRevision) + "=" + revision),
                   "webhooks");
  std::erase_if(found, [](const Json& webhook) { return !LabelOf(webhook, kTag).empty(); });
  if (found.empty())
    return Error(Code::kNotFound,
                 "revision \"{}\" is not installed: no injection webhook has the label {}={}",
                 revision, kRevision, revision);
  if (found.size() > 1)
    return Error(Code::kFailedPrecondition,
                 "revision \"{}\" has {} injection webhooks; delete those that are not its own",
                 revision, found.size());
  return std::move(found.front());
}

/// What a tag's objects have of the canonical ones: no owner, so that no installation prunes them.
Json TagObject(const char* api_version, const char* kind, const std::string& name,
               const TagOptions& options) {
  return {{"apiVersion", api_version},
          {"kind", kind},
          {"metadata",
           {{"name", name}, {"labels", {{kTag, options.tag}, {kRevision, options.revision}}}}}};
}

Json Requirement(const char* key, const char* op, Json values = nullptr) {
  Json requirement = {{"key", key}, {"operator", op}};
  if (!values.is_null()) requirement["values"] = std::move(values);
  return requirement;
}

/// The webhook of a tag: that of its revision, asked for by the tag's name.
Json TagWebhook(const Json& canonical, const TagOptions& options) {
  Json webhook = TagObject(
      "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration",
      options.webhook_name.empty() ? "istio-revision-tag-" + options.tag : options.webhook_name,
      options);
  webhook["webhooks"] = Json::array();
  const Json* model = nullptr;
  for (const Json& entry : ItemsAt(canonical, {"webhooks"})) {
    if (!StringAt(entry, {"name"}).starts_with("rev.")) continue;
    model = &entry;
    Json copy = entry;
    for (const char* selector : {"namespaceSelector", "objectSelector"})
      if (Json* list = kubeapi::FindMutable(copy, {selector, "matchExpressions"}); list != nullptr)
        for (Json& requirement : *list)
          if (StringAt(requirement, {"key"}) == kRevision &&
              StringAt(requirement, {"operator"}) == "In")
            requirement["values"] = Json::array({options.tag});
    webhook["webhooks"].push_back(std::move(copy));
  }
  if (options.tag != "default" || model == nullptr) return webhook;
  // The default tag serves what names no revision.
  const auto add = [&](const char* name, Json in_namespace, Json in_object) {
    Json entry = *model;
    entry["name"] = std::string(name) + "sidecar-injector.istio.io";
    entry["namespaceSelector"] = {{"matchExpressions", std::move(in_namespace)}};
    entry["objectSelector"] = {{"matchExpressions", std::move(in_object)}};
    webhook["webhooks"].push_back(std::move(entry));
  };
  const Json no_label = Requirement("istio-injection", "DoesNotExist");
  const Json no_rev = Requirement(kRevision, "DoesNotExist");
  const char* pod = "sidecar.istio.io/inject";
  add("namespace.", Json::array({Requirement("istio-injection", "In", Json::array({"enabled"}))}),
      Json::array({Requirement(pod, "NotIn", Json::array({"false"}))}));
  add("object.", Json::array({no_label, no_rev}),
      Json::array({Requirement(pod, "In", Json::array({"true"})), no_rev}));
  return webhook;
}

/// The service by which proxies of the tag find the control plane of its revision.
Result<Json> TagService(Session& session, const TagOptions& options) {
  const std::string name = options.revision == "default" ? "istiod" : "istiod-" + options.revision;
  ASSIGN_OR_RETURN(const Json istiod, session.Get(kServices, session.globals.istio_ns, name),
                   "service of revision " + options.revision);
  Json service = TagObject("v1", "Service", "istiod-revision-tag-" + options.tag, options);
  service["metadata"]["namespace"] = session.globals.istio_ns;
  service["spec"]["selector"] = istiod["spec"]["selector"];
  for (Json port : ItemsAt(istiod, {"spec", "ports"})) {
    port.erase("nodePort");
    service["spec"]["ports"].push_back(std::move(port));
  }
  return service;
}

Result<std::vector<Json>> MakeTag(Session& session, const TagOptions& options) {
  if (!kubeapi::IsDnsLabel(options.tag))
    return Error(Code::kInvalidArgument,
                 "tag \"{}\": a tag is made of lower-case letters, digits and inner dashes",
                 options.tag);
  if (options.revision.empty())
    return Error(Code::kInvalidArgument, "--revision is required: which one the tag points at");
  ASSIGN_OR_RETURN(const Json canonical, CanonicalWebhook(session, options.revision), "");
  ASSIGN_OR_RETURN(const std::vector<Json> same,
                   session.List(kMutatingWebhooks, "", std::string(kRevision) + "=" + options.tag),
                   "webhooks");
  for (const Json& webhook : same)
    if (LabelOf(webhook, kTag).empty())
      return Error(
          Code::kAlreadyExists,
          "\"{}\" is the name of an installed revision, which namespaces already mean by it; "
          "choose another tag",
          options.tag);
  ASSIGN_OR_RETURN(const std::vector<Json> tags,
                   session.List(kMutatingWebhooks, "", std::string(kTag) + "=" + options.tag),
                   "webhooks");
  if (!tags.empty() && !options.overwrite)
    return Error(Code::kAlreadyExists,
                 "tag \"{}\" exists and points at revision {}; use --overwrite to move it",
                 options.tag, LabelOf(tags.front(), kRevision));
  ASSIGN_OR_RETURN(Json service, TagService(session, options), "");
  return std::vector<Json>{TagWebhook(canonical, options), std::move(service)};
}

int SetTag(Session& session, const TagOptions& options) {
  auto objects = MakeTag(session, options);
  if (!objects.ok()) return session.Fail(objects.status());
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  install::ClusterAccess access(session.loop(), **client);
  if (const Status status = access.ApplyAll(*objects, session.globals.istio_ns); !status.ok())
    return session.Fail(status.In("setting tag " + options.tag));
  session.Out(fmt::format(
      "Revision tag \"{}\" created, referencing control plane revision \"{}\". To enable injection "
      "using this\nrevision tag, use 'kubectl label namespace <NAMESPACE> istio.io/rev={}'\n",
      options.tag, options.revision, options.tag));
  return 0;
}

int GenerateTag(Session& session, TagOptions options) {
  options.overwrite = true;
  auto objects = MakeTag(session, options);
  if (!objects.ok()) return session.Fail(objects.status());
  for (const Json& object : *objects) session.Out(kubeapi::ToYaml(object) + "---\n");
  return 0;
}

Result<std::vector<std::string>> NamespacesOf(Session& session, const std::string& tag) {
  ASSIGN_OR_RETURN(const std::vector<Json> namespaces,
                   session.List(kNamespaces, "", std::string(kRevision) + "=" + tag), "namespaces");
  std::vector<std::string> names;
  for (const Json& ns : namespaces) names.push_back(kubeapi::NameOf(ns));
  return names;
}

int ListTags(Session& session, const TagOptions& options) {
  auto webhooks = session.List(kMutatingWebhooks, "", kTag);
  if (!webhooks.ok()) return session.Fail(webhooks.status());
  Table table(1);
  table.Add({"TAG", "REVISION", "NAMESPACES"});
  Json list = Json::array();
  for (const Json& webhook : *webhooks) {
    const std::string tag = LabelOf(webhook, kTag);
    auto namespaces = NamespacesOf(session, tag);
    if (!namespaces.ok()) return session.Fail(namespaces.status());
    table.Add({tag, LabelOf(webhook, kRevision), base::Join(*namespaces, ",")});
    list.push_back(
        {{"tag", tag}, {"revision", LabelOf(webhook, kRevision)}, {"namespaces", *namespaces}});
  }
  if (options.output != "table")
    session.Out(Print(list, options.output));
  else if (table.size() == 1)
    session.Out("No Istio revision tags found.\n");
  else
    session.Out(table.Text());
  return 0;
}

int RemoveTag(Session& session, const TagOptions& options) {
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  auto webhooks = session.List(kMutatingWebhooks, "", std::string(kTag) + "=" + options.tag);
  if (!webhooks.ok()) return session.Fail(webhooks.status());
  if (webhooks->empty())
    return session.Fail(
        Error(Code::kNotFound, "there is no tag \"{}\"; see them with tag list", options.tag));
  auto namespaces = NamespacesOf(session, options.tag);
  if (!namespaces.ok()) return session.Fail(namespaces.status());
  if (!namespaces->empty() && !options.yes &&
      !session.Confirm(fmt::format("Namespaces {} use the tag; their new pods would get no proxy. "
                                   "Proceed? (y/N) ",
                                   base::Join(*namespaces, ", ")))) {
    session.Out("Cancelled.\n");
    return 1;
  }
  install::ClusterAccess access(session.loop(), **client);
  for (const Json& webhook : *webhooks)
    if (const Status gone = access.Delete(kMutatingWebhooks, "", kubeapi::NameOf(webhook));
        !gone.ok())
      return session.Fail(gone);
  if (const Status gone =
          access.Delete(kServices, session.globals.istio_ns, "istiod-revision-tag-" + options.tag);
      !gone.ok())
    return session.Fail(gone);
  session.Out(fmt::format("Revision tag {} removed\n", options.tag));
  return 0;
}

CLI::App* AddOne(CLI::App* group, Commands& commands, const char* name, const char* what,
                 const char* example, std::shared_ptr<TagOptions> options,
                 int (*run)(Session&, const TagOptions&), std::vector<std::string> aliases = {}) {
  CLI::App* command = AddCommand(group, name, what, example, aliases);
  OnChosen(command, commands, [options, run](Session& session) { return run(session, *options); });
  return command;
}

}  // namespace

void AddTagCommands(Commands& commands, CLI::App* parent) {
  CLI::App* group = AddGroup(parent, "tag", "Names that point at revisions of the control plane");
  const auto options = std::make_shared<TagOptions>();
  CLI::App* set =
      AddOne(group, commands, "set", "Makes a tag, or moves it to another revision",
             "  % tag set prod --revision 1-2-3\n  % tag set prod -r 1-3-0 --overwrite\n", options,
             SetTag);
  CLI::App* generate = AddCommand(group, "generate", "Prints the objects of a tag",
                                  "  % tag generate prod --revision 1-2-3 | kubectl apply -f -\n");
  OnChosen(generate, commands,
           [options](Session& session) { return GenerateTag(session, *options); });
  for (CLI::App* command : {set, generate}) {
    command->add_option("tag", options->tag, "Name of the tag")->required();
    command->add_option("-r,--revision", options->revision, "Revision that it points at");
    command->add_flag("--overwrite", options->overwrite, "Moves a tag that exists");
    command->add_option("--webhook-name", options->webhook_name, "Name of the webhook object");
    command->add_flag("--auto-inject-namespaces", options->auto_inject)->group("");
    command->add_option("-d,--manifests", options->manifests)->group("");
    command->add_flag("-y,--skip-confirmation", options->yes, "Does not ask");
  }
  CLI::App* list =
      AddOne(group, commands, "list", "Lists the tags, and the namespaces that use them",
             "  % tag list\n", options, ListTags, {"show"});
  AddOutput(list, options->output, {"table", "json", "yaml"});
  CLI::App* remove = AddOne(group, commands, "remove", "Removes a tag", "  % tag remove prod\n",
                            options, RemoveTag, {"delete"});
  remove->add_option("tag", options->tag, "Name of the tag")->required();
  remove->add_flag("-y,--skip-confirmation", options->yes, "Does not ask");
}

}  // namespace isthmus::cli
