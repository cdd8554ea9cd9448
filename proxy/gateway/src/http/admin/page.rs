//! The dashboard, for people with a browser: three files as they are. They ask this API alone, and nothing of another place
//! may be in them.

use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

use super::super::{Answer, with_type};

/// Nothing but our own script, style and answers; nobody may frame the page. What names and errors of the mesh say is never
/// a script, whatever is in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether a browser asks, and not somebody at a terminal.
pub(super) fn is_wanted(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The page.
pub(super) fn page() -> Answer {
    own("text/html; charset=utf-8", include_str!("page/page.html"))
}

/// Its style.
pub(super) fn style() -> Answer {
    own("text/css; charset=utf-8", include_str!("page/page.css"))
}

/// Its script.
pub(super) fn script() -> Answer {
    own(
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    )
}

fn own(content_type: &'static str, text: &'static str) -> Answer {
    let mut answer = with_type(StatusCode::OK, content_type, text);
    let mut set = |name: HeaderName, value: &'static str| {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    // The next version's script may ask for what this one does not have.
    set(header::CACHE_CONTROL, "no-store");
    set(header::VARY, "accept");
    answer
}
