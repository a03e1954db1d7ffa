//! CORS at the endpoints (Fetch standard, "CORS protocol").
//!
//! Owns which endpoints scripts of other origins may call: token, revoke, device code, metadata and
//! keys, on errors too. Never `Access-Control-Allow-Credentials`: no cookie counts here.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::decide::policy::Endpoint;
use crate::serve::issuer::Issuer;

/// Fields that scripts may read besides the safelisted ones.
const EXPOSED: &str = "WWW-Authenticate, Retry-After, X-Request-Id";

/// Fields that scripts may send.
const HEADERS: &str = "Authorization, Content-Type";

/// Seconds that a browser may keep the answer to a preflight.
const MAX_AGE: &str = "600";

impl Issuer {
    /// The CORS fields of every answer to this request, a refusal of the gate included.
    pub(crate) fn cors_fields(
        &self,
        endpoint: Endpoint,
        method: &Method,
        request: &HeaderMap,
    ) -> Vec<(HeaderName, HeaderValue)> {
        if !endpoint.has_cors() {
            return Vec::new();
        }
        let mut fields = vec![(header::VARY, HeaderValue::from_static("Origin"))];
        let origin = request.get(header::ORIGIN).filter(|origin| self.allows(origin));
        let Some(origin) = origin else { return fields };
        fields.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        if method != Method::OPTIONS {
            let exposed = HeaderValue::from_static(EXPOSED);
            fields.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed));
            return fields;
        }
        let methods = endpoint.methods();
        let methods: Vec<_> = methods.allowed().map(Method::as_str).collect();
        let methods = HeaderValue::try_from(methods.join(", "));
        fields.extend(methods.map(|methods| (header::ACCESS_CONTROL_ALLOW_METHODS, methods)));
        let headers = HeaderValue::from_static(HEADERS);
        fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, headers));
        fields.push((header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE)));
        fields
    }

    /// Compared byte for byte with the configuration and with registered redirect URIs; `null` is
    /// in neither.
    fn allows(&self, origin: &HeaderValue) -> bool {
        let origin = origin.as_bytes();
        self.settings.load().origins.iter().any(|known| known.as_bytes() == origin)
            || self.live.load().is_origin(origin)
    }
}
