#include "monarch/serving/http_error.h"

#include <nlohmann/json.hpp>

#include "monarch/base/log.h"

namespace monarch::serving {
namespace {

ErrorCode code_of(int status) {
  if (status == 404) return ErrorCode::kNotFound;
  return status < 500 ? ErrorCode::kInvalidArgument : ErrorCode::kUnsupported;
}

}  // namespace

HttpError::HttpError(int status, const std::string& message,
                     std::optional<std::chrono::seconds> retry_after)
    : Error(code_of(status), message), status_(status), retry_after_(retry_after) {}

std::string_view status_text(int status) {
  switch (status) {
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 302: return "Found";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 421: return "Misdirected Request";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return status < 500 ? "Error" : "Server Error";
  }
}

std::string error_body(int status, std::string_view message) {
  const char* type = status == 401 || status == 403 ? "authentication_error"
                     : status == 429                ? "rate_limit_error"
                     : status < 500                 ? "invalid_request_error"
                                                    : "server_error";
  const nlohmann::json body{{"error", {{"message", message}, {"type", type}, {"code", status}}}};
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

HttpError translate_exception() {
  try {
    throw;
  } catch (const HttpError& error) {
    return error;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalidArgument) return {400, error.what()};
    log_warning("request failed: ", error.what());
    if (error.code() == ErrorCode::kOutOfMemory) {
      return {503, "the server is out of memory; try again later", std::chrono::seconds(10)};
    }
  } catch (const std::bad_alloc&) {
    return {503, "the server is out of memory; try again later", std::chrono::seconds(10)};
  } catch (const std::exception& error) {
    log_warning("request failed: ", error.what());
  } catch (...) {
    log_warning("request failed with an unknown exception");
  }
  return {500, "the server could not do this; its log says why"};
}

}  // namespace monarch::serving
