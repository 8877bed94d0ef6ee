// The four services of bookinfo. productpage asks details and reviews; reviews v2 and v3 ask
// ratings.
#include <array>
#include <map>

#include "base/strings.h"
#include "http/client.h"
#include "kubeapi/json.h"
#include "lab/workloads/app.h"

namespace isthmus::lab::workloads {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

constexpr std::string_view kProduct =
    R"({"id":0,"title":"The Comedy of Errors","descriptionHtml":"A play about two pairs of twins and much mistaken identity."})";

// What ties the spans of one request together, and who asks.
constexpr std::array<std::string_view, 20> kPassedOn = {"x-request-id",
                                                        "x-b3-traceid",
                                                        "x-b3-spanid",
                                                        "x-b3-parentspanid",
                                                        "x-b3-sampled",
                                                        "x-b3-flags",
                                                        "b3",
                                                        "x-ot-span-context",
                                                        "x-datadog-trace-id",
                                                        "x-datadog-parent-id",
                                                        "x-datadog-sampling-priority",
                                                        "traceparent",
                                                        "tracestate",
                                                        "x-cloud-trace-context",
                                                        "grpc-trace-bin",
                                                        "sw8",
                                                        "end-user",
                                                        "user-agent",
                                                        "authorization",
                                                        "cookie"};

// "/reviews/7" gives "7"; empty when the path is not of that form.
std::string IdIn(const std::string& path, std::string_view prefix) {
  std::string_view rest = path;
  if (!base::ConsumePrefix(rest, prefix) || rest.empty() ||
      rest.find('/') != std::string_view::npos)
    return "";
  return std::string(rest);
}

// One of the other services, reached by its name.
class Upstream {
 public:
  Upstream(base::Loop& loop, const char* host_variable, const std::string& host,
           const char* port_variable)
      : name_(host) {
    std::string full = EnvOr(host_variable, host);
    if (const std::string domain = EnvOr("SERVICES_DOMAIN", ""); !domain.empty())
      full += "." + domain;
    authority_ = full + ":" + EnvOr(port_variable, "9080");
    client_ =
        std::make_shared<http::Client>(loop, http::ClientOptions{.url = "http://" + authority_});
  }

  /// `tries` as the sample does it: reviews are asked for twice.
  void Get(const Call& call, const std::string& target, base::Duration timeout, int tries,
           std::function<void(base::Result<std::string>)> done) const {
    http::Request request;
    request.target = target;
    request.authority = authority_;
    for (const std::string_view header : kPassedOn)
      if (auto value = call.head.headers.Get(header)) request.headers.Add(header, *value);
    Try(request, timeout, tries, std::move(done));
  }

 private:
  void Try(const http::Request& request, base::Duration timeout, int tries,
           std::function<void(base::Result<std::string>)> done) const {
    client_->Fetch(request, timeout, [=, this](base::Result<http::Response> response) {
      if (response.ok() && response->status == 200) return done(std::move(response->body));
      if (tries > 1) return Try(request, timeout, tries - 1, done);
      if (!response.ok()) return done(response.status().In("asking " + name_));
      done(base::Error(base::Code::kUnavailable, "{} answered {}", name_, response->status));
    });
  }

  std::string name_;
  std::string authority_;
  std::shared_ptr<http::Client> client_;
};

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

struct PageParts {
  base::Result<std::string> details = base::Error(base::Code::kUnknown, "not asked");
  base::Result<std::string> reviews = base::Error(base::Code::kUnknown, "not asked");
  int waiting = 2;
};

std::string DetailsHtml(const base::Result<std::string>& text) {
  auto json = text.ok() ? kubeapi::ParseJson(*text) : base::Result<Json>(text.status());
  if (!json.ok() || !json->is_object())
    return "<h4>Error fetching product details!</h4>\n<p>Sorry, product details are currently "
           "unavailable for this book.</p>\n";
  std::string out = "<h4>Book Details</h4>\n<dl>\n";
  for (const auto& [key, value] : json->items())
    out += fmt::format("<dt>{}:</dt><dd>{}</dd>\n", Escape(key),
                       Escape(value.is_string() ? value.get<std::string>() : value.dump()));
  return out + "</dl>\n";
}

std::string ReviewsHtml(const base::Result<std::string>& text) {
  auto json = text.ok() ? kubeapi::ParseJson(*text) : base::Result<Json>(text.status());
  const Json* reviews = json.ok() ? kubeapi::Find(*json, {"reviews"}) : nullptr;
  if (reviews == nullptr || !reviews->is_array())
    return "<h4>Error fetching product reviews!</h4>\n<p>Sorry, product reviews are currently "
           "unavailable for this book.</p>\n";
  std::string out = "<h4>Book Reviews</h4>\n";
  for (const Json& review : *reviews) {
    out += fmt::format("<blockquote><p>{}</p><small>{}</small>",
                       Escape(kubeapi::StringAt(review, {"text"})),
                       Escape(kubeapi::StringAt(review, {"reviewer"})));
    if (const Json* rating = kubeapi::Find(review, {"rating"});
        rating != nullptr && rating->contains("stars")) {
      const std::string color = kubeapi::StringAt(*rating, {"color"});
      out += fmt::format("<font color=\"{}\">", Escape(color));
      for (int64_t star = 0; star < 5; ++star)
        out += star < kubeapi::IntAt(*rating, {"stars"})
                   ? "<span class=\"glyphicon glyphicon-star\">&#9733;</span>"
                   : "<span class=\"glyphicon glyphicon-star-empty\">&#9734;</span>";
      out += "</font>";
    } else if (rating != nullptr) {
      out += "<p><i>" + Escape(kubeapi::StringAt(*rating, {"error"})) + "</i></p>";
    }
    out += "</blockquote>\n";
  }
  return out + fmt::format("<p>Reviews served by: <u>{}</u></p>\n",
                           Escape(kubeapi::StringAt(*json, {"podname"})));
}

std::string Page(const PageParts& parts) {
  return "<!DOCTYPE html>\n<html>\n<head><title>Simple Bookstore "
         "App</title></head>\n<body>\n<h1>BookInfo Sample</h1>\n"
         "<h3>The Comedy of Errors</h3>\n<p>A play about two pairs of twins and much mistaken "
         "identity.</p>\n" +
         DetailsHtml(parts.details) + ReviewsHtml(parts.reviews) +
         fmt::format("<p>Page served by: <u>{}</u></p>\n</body>\n</html>\n", Hostname());
}

struct Upstreams {
  explicit Upstreams(base::Loop& loop)
      : details(loop, "DETAILS_HOSTNAME", "details", "DETAILS_SERVICE_PORT"),
        reviews(loop, "REVIEWS_HOSTNAME", "reviews", "REVIEWS_SERVICE_PORT"),
        ratings(loop, "RATINGS_HOSTNAME", "ratings", "RATINGS_SERVICE_PORT") {}
  Upstream details, reviews, ratings;
};

void ShowPage(const Upstreams& upstreams, const std::shared_ptr<const Call>& call,
              const Reply& reply) {
  auto parts = std::make_shared<PageParts>();
  auto finish = [parts, reply] {
    if (--parts->waiting == 0) reply(Text(Page(*parts)));
  };
  upstreams.details.Get(*call, "/details/0", 3s, 1,
                        [parts, finish](base::Result<std::string> text) {
                          parts->details = std::move(text);
                          finish();
                        });
  upstreams.reviews.Get(*call, "/reviews/0", 3s, 2,
                        [parts, finish](base::Result<std::string> text) {
                          parts->reviews = std::move(text);
                          finish();
                        });
}

// /api/v1/products..., which hands on what the other services say.
bool ServeApi(const Upstreams& upstreams, const std::shared_ptr<const Call>& call,
              const std::string& path, const Reply& reply) {
  if (path == "/api/v1/products") return reply(JsonAnswer("[" + std::string(kProduct) + "]")), true;
  std::string_view rest = path;
  if (!base::ConsumePrefix(rest, "/api/v1/products/")) return false;
  const auto [id, what] = base::Cut(rest, "/");
  const Upstream* upstream = what.empty()        ? &upstreams.details
                             : what == "reviews" ? &upstreams.reviews
                             : what == "ratings" ? &upstreams.ratings
                                                 : nullptr;
  if (upstream == nullptr) return false;
  const std::string kind = what.empty() ? "details" : std::string(what);
  upstream->Get(*call, "/" + kind + "/" + std::string(id), 3s, 1,
                [reply, kind](base::Result<std::string> text) {
                  if (text.ok()) return reply(JsonAnswer(*text));
                  reply(JsonAnswer(Json{{"error", "Sorry, product " + kind +
                                                      " are currently unavailable for this book."}}
                                       .dump(),
                                   503));
                });
  return true;
}

}  // namespace

Application Details() {
  return [](const std::shared_ptr<const Call>& call, const Reply& reply) {
    const std::string path = call->head.path();
    if (path == "/health") return reply(JsonAnswer(R"({"status":"Details is healthy"})"));
    const std::string id = IdIn(path, "/details/");
    if (id.empty()) return reply(NotFound());
    auto number = base::ParseInt(id);
    if (!number.ok())
      return reply(JsonAnswer(R"({"error":"please provide numeric product id"})", 400));
    reply(JsonAnswer(Json{{"id", *number},
                          {"author", "William Shakespeare"},
                          {"year", 1595},
                          {"type", "paperback"},
                          {"pages", 200},
                          {"publisher", "PublisherA"},
                          {"language", "English"},
                          {"ISBN-10", "1234567890"},
                          {"ISBN-13", "123-1234567890"}}
                         .dump()));
  };
}

Application Ratings() {
  auto posted = std::make_shared<std::map<int64_t, Json>>();
  return [posted](const std::shared_ptr<const Call>& call, const Reply& reply) {
    const std::string path = call->head.path();
    if (path == "/health") return reply(JsonAnswer(R"({"status":"Ratings is healthy"})"));
    const std::string id = IdIn(path, "/ratings/");
    if (id.empty()) return reply(NotFound());
    auto number = base::ParseInt(id);
    if (!number.ok())
      return reply(JsonAnswer(R"({"error":"please provide numeric product ID"})", 400));
    if (call->head.method == "POST") {
      auto ratings = kubeapi::ParseJson(call->body);
      if (!ratings.ok() || !ratings->is_object())
        return reply(JsonAnswer(R"({"error":"please provide valid ratings JSON"})", 400));
      if (posted->size() < 1000) (*posted)[*number] = *ratings;
      return reply(JsonAnswer(Json{{"id", *number}, {"ratings", *ratings}}.dump()));
    }
    const auto found = posted->find(*number);
    const Json ratings =
        found != posted->end() ? found->second : Json{{"Reviewer1", 5}, {"Reviewer2", 4}};
    reply(JsonAnswer(Json{{"id", *number}, {"ratings", ratings}}.dump()));
  };
}

Application Reviews(base::Loop& loop) {
  const bool with_ratings = EnvOr("ENABLE_RATINGS", "false") == "true";
  const std::string color = EnvOr("STAR_COLOR", "black");
  auto upstreams = std::make_shared<Upstreams>(loop);
  auto answer = [color, with_ratings](const std::string& id,
                                      const base::Result<std::string>& ratings) {
    auto json = ratings.ok() ? kubeapi::ParseJson(*ratings) : base::Result<Json>(ratings.status());
    Json reviews = Json::array();
    const std::pair<const char*, const char*> texts[] = {
        {"Reviewer1", "An extremely entertaining play. The slapstick humour is refreshing!"},
        {"Reviewer2",
         "Absolutely fun and entertaining. The play lacks thematic depth when compared to other "
         "plays."}};
    for (const auto& [reviewer, text] : texts) {
      Json review = {{"reviewer", reviewer}, {"text", text}};
      if (with_ratings && json.ok())
        review["rating"] = {{"stars", kubeapi::IntAt(*json, {"ratings", reviewer}, -1)},
                            {"color", color}};
      else if (with_ratings)
        review["rating"] = {{"error", "Ratings service is currently unavailable"}};
      reviews.push_back(std::move(review));
    }
    return JsonAnswer(Json{
        {"id", id},
        {"podname", Hostname()},
        {"clustername", EnvOr("CLUSTER_NAME", "null")},
        {"reviews",
         reviews}}.dump());
  };
  return [=](const std::shared_ptr<const Call>& call, const Reply& reply) {
    const std::string path = call->head.path();
    if (path == "/health") return reply(JsonAnswer(R"({"status": "Reviews is healthy"})"));
    const std::string id = IdIn(path, "/reviews/");
    if (id.empty()) return reply(NotFound());
    if (!with_ratings) return reply(answer(id, base::Error(base::Code::kUnknown, "not asked")));
    // The sample waits longer for black stars than for red ones.
    const base::Duration timeout = color == "black" ? base::Duration(10s) : base::Duration(2500ms);
    upstreams->ratings.Get(
        *call, "/ratings/" + id, timeout, 1,
        [=](const base::Result<std::string>& ratings) { reply(answer(id, ratings)); });
  };
}

Application ProductPage(base::Loop& loop) {
  auto upstreams = std::make_shared<Upstreams>(loop);
  return [upstreams](const std::shared_ptr<const Call>& call, const Reply& reply) {
    const std::string path = call->head.path();
    if (path == "/productpage") return ShowPage(*upstreams, call, reply);
    if (path == "/health") return reply(Text("Product page is healthy"));
    if (path == "/" || path == "/index.html")
      return reply(
          Text("<!DOCTYPE html>\n<html><head><title>Simple Bookstore App</title></head>\n"
               "<body><a href=\"/productpage\">Product page</a></body></html>\n"));
    if (path == "/login" || path == "/logout")
      return reply(Answer{.status = 302, .body = "", .headers = {{"location", "/productpage"}}});
    if (path.starts_with("/static/"))
      return reply({.content_type = "text/css", .body = "body { font-family: sans-serif }\n"});
    if (!ServeApi(*upstreams, call, path, reply)) reply(NotFound());
  };
}

}  // namespace isthmus::lab::workloads
