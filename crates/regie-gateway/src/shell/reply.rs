//! An answer before it is written, and the answers that the gateway gives itself.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::body::OutBody;
use super::record::Record;

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: OutBody,
    /// Whether the connection is of no further use.
    pub(crate) close: bool,
    /// The line of the access log, written when this is dropped.
    pub(crate) record: Option<Box<Record>>,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, body: OutBody) -> Self {
        Self { status, headers: HeaderMap::new(), body, close: false, record: None }
    }

    pub(crate) fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A page that says what happened, as HTML or, when the client prefers it, as JSON. `detail` is shown in
    /// development only: it may name files and addresses.
    pub(crate) fn error(
        status: StatusCode,
        asked: &HeaderMap,
        request_id: &str,
        detail: Option<&str>,
    ) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let (media, text) = if prefers_json(asked) {
            ("application/json", json_page(status, title, request_id, detail))
        } else {
            ("text/html; charset=utf-8", html_page(status, title, request_id, detail))
        };
        Self::new(status, OutBody::Full(Bytes::from(text)))
            .with(header::CONTENT_TYPE, HeaderValue::from_static(media))
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }
}

fn prefers_json(asked: &HeaderMap) -> bool {
    asked.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| {
        let json = accept.find("json");
        let html = accept.find("html");
        json.is_some_and(|json| html.is_none_or(|html| json < html))
    })
}

/// What a visitor can make of it.
fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request could not be understood.",
        403 => "Access to this address is not allowed.",
        404 => "There is nothing at this address.",
        410 => "What was at this address has been taken away.",
        405 => "This address does not take such requests.",
        408 => "The request took too long to arrive.",
        413 => "What was sent is larger than this site accepts.",
        416 => "The requested part lies outside the file.",
        421 => "This site is not served here.",
        502 => "The application stopped before it had answered.",
        503 => "The site is busy. Please try again in a moment.",
        504 => "The application took too long to answer.",
        _ => "The request could not be answered.",
    }
}

fn html_page(status: StatusCode, title: &str, request_id: &str, detail: Option<&str>) -> String {
    let code = status.as_u16();
    let advice = advice(status);
    let detail = detail.map(|text| format!("<pre>{}</pre>", escape_html(text))).unwrap_or_default();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{code} {title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;\
         margin:15vh auto;max-width:36rem;padding:0 1rem;color:#222}}small{{color:#777}}@media(prefers-color-scheme:\
         dark){{body{{background:#16181c;color:#ddd}}}}</style><h1>{code} {title}</h1><p>{advice}</p>{detail}\
         <small>request {}</small></html>\n",
        escape_html(request_id)
    )
}

fn json_page(status: StatusCode, title: &str, request_id: &str, detail: Option<&str>) -> String {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace(char::is_control, " ");
    let detail = detail.map(|text| format!(",\"detail\":\"{}\"", quote(text))).unwrap_or_default();
    format!(
        "{{\"status\":{},\"title\":\"{title}\",\"message\":\"{}\",\"request_id\":\"{}\"{detail}}}\n",
        status.as_u16(),
        advice(status),
        quote(request_id)
    )
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_suit_the_client_and_escape_what_they_show() {
        for (accept, json) in [
            ("text/html,application/json;q=0.9", false),
            ("application/json", true),
            ("application/vnd.api+json, text/html", true),
            ("*/*", false),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(header::ACCEPT, HeaderValue::from_static(accept));
            let reply = Reply::error(StatusCode::NOT_FOUND, &asked, "a\"<b", Some("x<y\n\"z\""));
            let OutBody::Full(body) = reply.body else { panic!("an error page is whole") };
            let body = std::str::from_utf8(&body).unwrap();
            assert_eq!(body.starts_with('{'), json, "{accept}");
            assert!(json || !body.contains("<b"), "{body}");
            assert!(!body.contains("x<y\n"), "{body}");
        }
    }
}
